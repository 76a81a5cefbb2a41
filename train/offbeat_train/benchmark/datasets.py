"""Readers of the public benchmarks, in the formats their authors publish.

Rules: DIR is the dataset's own folder or the folder that holds it; only the
protocol is fixed here (which rows train, which count), nothing about models.

>>> [len(name) > 0 for name in DATASETS]
[True, True, True, True, True, True, True]
"""

from __future__ import annotations

import ast
import csv
import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from offbeat_train.benchmark.series import Rows, Series, even_times, head, tail, without
from offbeat_train.errors import HistoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Reader = Callable[[Path], Iterator[Series]]

SKAB_TRAIN = 400  # rows of each file, by the leaderboard
NAB_SHARE, NAB_MOST = 0.15, 750  # the probation of a file: a share of its rows, at most so many
UCR_NAME = re.compile(r"^\d+_UCR_Anomaly_.+_(\d+)_(\d+)_(\d+)$")


def skab(folder: Path) -> Iterator[Series]:
    """Water circulation rig: fresh model for each of 34 files, trained on its first 400 rows."""
    root = _inside(folder, "skab", "valve1")
    files = [p for part in ("valve1", "valve2", "other") for p in (root / part).glob("*.csv")]
    for path in sorted(files, key=_natural):
        table = pd.read_csv(path, sep=";")
        sensors = [c for c in table.columns if c not in ("datetime", "anomaly", "changepoint")]
        rows = Rows(times_ms=_times(table["datetime"]), values=_numbers(table[sensors]))
        yield Series(
            name=f"{path.parent.name}/{path.stem}", path=path, sensors=tuple(sensors),
            train=head(rows, SKAB_TRAIN), stream=rows, first=SKAB_TRAIN,
            labels=table["anomaly"].to_numpy() > 0, has_time=True,
        )  # fmt: skip


def smap(folder: Path) -> Iterator[Series]:
    """NASA's SMAP satellite: 54 channels, each with rows to train on and rows to test."""
    return _nasa(folder, "SMAP")


def msl(folder: Path) -> Iterator[Series]:
    """NASA's rover Curiosity: 27 channels."""
    return _nasa(folder, "MSL")


def ucr(folder: Path) -> Iterator[Series]:
    """UCR anomaly archive: one sensor, one anomaly a series; the file's name says where."""
    root = folder / "ucr" if (folder / "ucr").is_dir() else folder
    files = [p for p in root.glob("*_UCR_Anomaly_*") if p.suffix in (".npz", ".txt")]
    if not files:
        raise HistoryError("expected *_UCR_Anomaly_*.txt or .npz, got none", path=root)
    for path in sorted(files, key=_natural):
        found = UCR_NAME.match(path.stem)
        if found is None:
            raise HistoryError("expected a name ending in _TRAIN_BEGIN_END", path=path)
        train, begin, end = (int(text) for text in found.groups())
        values = _ucr_values(path)
        labels = np.zeros(len(values), dtype=bool)
        labels[begin - 1 : end] = True  # the archive counts from 1
        rows = Rows(times_ms=even_times(len(values)), values=values)
        yield Series(
            name=path.stem, path=path, sensors=("value",), train=head(rows, train), stream=rows,
            labels=labels, first=train, has_time=False,
        )  # fmt: skip


def gecco(folder: Path) -> Iterator[Series]:
    """Drinking water of 2018: the first half trains, without its events; the second is tested."""
    root = folder / "gecco2018" if (folder / "gecco2018").is_dir() else folder
    files = [*root.glob("geccoIC2018Train.csv*"), *root.glob("1_gecco2018_water_quality.csv")]
    if not files:
        raise HistoryError("expected geccoIC2018Train.csv or .csv.gz, got neither", path=root)
    table = pd.read_csv(files[0])
    sensors = [c for c in table.columns if c in GECCO_SENSORS]
    events = table["EVENT"].astype(str).str.lower().isin(("true", "1")).to_numpy()
    rows = Rows(times_ms=_times(table["Time"]), values=_numbers(table[sensors]))
    half = len(table) // 2
    yield Series(
        name="gecco2018", path=files[0], sensors=tuple(sensors),
        train=without(head(rows, half), events[:half]),
        stream=tail(rows, half),
        labels=events[half:], first=0, has_time=True,
    )  # fmt: skip


GECCO_SENSORS = ("Tp", "Cl", "pH", "Redox", "Leit", "Trueb", "Cl_2", "Fm", "Fm_2")


def nab(folder: Path) -> Iterator[Series]:
    """Numenta's 58 series: only the probation (15 %, at most 750 rows) trains, and is not scored.

    Rows inside the labelled windows count as anomalous.
    """
    root = _inside(folder, "nab", "labels")
    windows = json.loads((root / "labels" / "combined_windows.json").read_text())
    for name in sorted(windows):
        path = root / "data" / name
        table = pd.read_csv(path)
        times = _times(table["timestamp"])
        labels = np.zeros(len(table), dtype=bool)
        for begin, end in windows[name]:
            edges = _times(pd.Series([begin, end]))
            # Times may repeat; the benchmark means the first of them.
            first, last = (int(np.flatnonzero(times == edge)[0]) for edge in edges)
            labels[first : last + 1] = True
        rows = Rows(times_ms=times, values=_numbers(table[["value"]]))
        probation = min(int(NAB_SHARE * len(table)), NAB_MOST)
        yield Series(
            name=name.removesuffix(".csv"), path=path, sensors=("value",),
            train=head(rows, probation), stream=rows, labels=labels, first=probation, has_time=True,
        )  # fmt: skip


def tsb_ad(folder: Path) -> Iterator[Series]:
    """TSB-AD's multivariate series that can be rebuilt from NASA's and GECCO's files.

    The prefix trains; every row counts, the prefix too.
    """
    root = _inside(folder, "tsb_ad", "multivariate_index.csv")
    for about in _tsb_index(root / "multivariate_index.csv"):
        found = _tsb_source(root.parent, about["dataset"], about["source"])
        if found is None:
            continue
        path, values, labels = found
        if len(values) != int(about["length"]):
            raise HistoryError(
                f"expected {about['length']} rows for {about['tsb_file']}, got {len(values)}",
                path=path,
            )
        rows = Rows(times_ms=even_times(len(values)), values=values)
        yield Series(
            name=about["tsb_file"].removesuffix(".csv"), path=path,
            sensors=tuple(f"c{i}" for i in range(values.shape[1])),
            train=head(rows, int(about["train_prefix"])), stream=rows, labels=labels, first=0,
            has_time=False,
        )  # fmt: skip


DATASETS: dict[str, Reader] = {
    "skab": skab, "smap": smap, "msl": msl, "nab": nab, "ucr": ucr, "gecco": gecco,
    "tsb-ad": tsb_ad,
}  # fmt: skip


def _nasa(folder: Path, spacecraft: str) -> Iterator[Series]:
    root = _inside(folder, "smap_msl", "labeled_anomalies.csv")
    for channel, ranges in _nasa_labels(root, spacecraft).items():
        path, train, test = _nasa_channel(root, channel)
        yield Series(
            name=channel, path=path, sensors=tuple(f"c{i}" for i in range(test.shape[1])),
            train=Rows(times_ms=even_times(len(train)), values=train),
            stream=Rows(times_ms=even_times(len(test)), values=test),
            labels=_marked(len(test), ranges), first=0, has_time=False,
        )  # fmt: skip


def _nasa_labels(root: Path, spacecraft: str) -> dict[str, list[tuple[int, int]]]:
    """Give each channel's ranges of rows, ends included; one channel has two lines."""
    table = pd.read_csv(root / "labeled_anomalies.csv")
    table = table[table["spacecraft"] == spacecraft]
    ranges: dict[str, list[tuple[int, int]]] = {}
    for channel, text in zip(table["chan_id"], table["anomaly_sequences"], strict=True):
        ranges.setdefault(channel, []).extend(ast.literal_eval(text))
    return ranges


def _nasa_channel(root: Path, channel: str) -> tuple[Path, Floats, Floats]:
    """Read one file that holds both parts, or the two that NASA publishes."""
    both = root / f"{channel}.npz"
    if both.exists():
        with np.load(both) as parts:
            return both, parts["train"].astype(np.float64), parts["test"].astype(np.float64)
    path = root / "train" / f"{channel}.npy"
    if not path.exists():
        raise HistoryError(f"expected {both.name} or train/{path.name}, got neither", path=root)
    test = np.load(root / "test" / path.name)
    return path, np.load(path).astype(np.float64), test.astype(np.float64)


def _tsb_index(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _tsb_source(folder: Path, dataset: str, source: str) -> tuple[Path, Floats, Bools] | None:
    if dataset in ("SMAP", "MSL"):
        root = _inside(folder, "smap_msl", "labeled_anomalies.csv")
        path, _, test = _nasa_channel(root, source)
        return path, test, _marked(len(test), _nasa_labels(root, dataset)[source])
    if dataset != "GECCO":
        return None
    (whole,) = gecco(folder)
    table = pd.read_csv(whole.path).dropna()
    events = table["EVENT"].astype(str).str.lower().isin(("true", "1")).to_numpy()
    return whole.path, _numbers(table[list(whole.sensors)]), events


def _marked(count: int, ranges: list[tuple[int, int]]) -> Bools:
    labels = np.zeros(count, dtype=bool)
    for begin, end in ranges:
        labels[begin : end + 1] = True
    return labels


def _ucr_values(path: Path) -> Floats:
    if path.suffix == ".npz":
        with np.load(path) as parts:
            return np.asarray(parts["values"], dtype=np.float64).reshape(-1, 1)
    # Most files hold a number a line, a few one line of numbers.
    return np.array(path.read_text().split(), dtype=np.float64)[:, None]


def _inside(folder: Path, name: str, landmark: str) -> Path:
    """Find the dataset's folder by something that is always in it."""
    for root in (folder / name, folder):
        if (root / landmark).exists():
            return root
    raise HistoryError(f"expected {landmark} or {name}/{landmark}, got neither", path=folder)


def _times(column: pd.Series[str]) -> NDArray[np.int64]:
    """Read ISO 8601 without a zone into epoch ms."""
    stamps = pd.to_datetime(column).to_numpy().astype("datetime64[ms]")
    return np.asarray(stamps.astype(np.int64), dtype=np.int64)


def _numbers(table: pd.DataFrame) -> Floats:
    values = table.to_numpy(dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _natural(path: Path) -> tuple[str, int, str]:
    """Sort ``2.csv`` before ``10.csv``."""
    number = re.match(r"\d+", path.stem)
    return path.parent.name, int(number.group()) if number else 0, path.name
