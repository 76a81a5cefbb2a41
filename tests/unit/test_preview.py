"""`offbeat replay --report`: one history under several thresholds, and the page of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from bundle_parts import answered

from offbeat_edge import bundle
from offbeat_edge.cli import main
from offbeat_edge.follow import FollowSpec
from offbeat_edge.model import Model
from offbeat_edge.replay import samples
from offbeat_edge.schema import AlertEvent
from offbeat_train.calibration import WEEK_MS, Curve, Tail
from offbeat_train.errors import DataError
from offbeat_train.explain import run_again
from offbeat_train.history import Recording
from offbeat_train.preview.incidents import fold
from offbeat_train.preview.levels import Level, Once, by_budget, by_times, reach
from offbeat_train.preview.page import Preview, around

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from offbeat_edge.manifest import Manifest

START_MS = 1_760_000_000_000
TAILS = (Tail(1.5, 0.2),)


def knowing(manifest: Manifest, *, supported: float = 0.1) -> Manifest:
    """The manifest of a bundle whose threshold stands for one false alarm a week."""
    curve = Curve(tails=TAILS, block_ms=4000, supported_per_week=supported)
    (own,) = curve.thresholds(1.0)
    known = msgspec.to_builtins(curve) | {"expected_per_week": 1.0}
    return msgspec.structs.replace(manifest, threshold=own, calibration=known)


def at_work(manifest: Manifest) -> Model:
    return Model(manifest=manifest, digest="d" * 64, config_digest="", interpreter=Counting())


class Counting:
    """Expects every sensor at its center, and counts what it was asked."""

    asked = 0

    def reconstruct(self, windows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        self.asked += len(windows)
        return np.zeros_like(windows)


def test_a_rarer_budget_is_a_higher_threshold_and_the_bundles_own_comes_first(
    manifest: Manifest,
) -> None:
    levels = by_budget(at_work(knowing(manifest)), [7.0, 0.5, 1.0])
    assert [level.said for level in levels] == ["as it is: 1 a week", "0.5 a week", "7 a week"]
    own, strict, loose = [level.times[0] for level in levels]
    assert loose < own == 1.0 < strict
    assert levels[2].model.manifest.threshold == pytest.approx(TAILS[0].level(
        every=WEEK_MS / (7.0 * 4000)))  # fmt: skip


def test_budgets_beyond_the_held_out_rows_are_one_level_and_said(manifest: Manifest) -> None:
    known = knowing(manifest, supported=1.0)
    assert len(by_budget(at_work(known), [0.1, 0.5, 1.0])) == 1
    assert "no rarer rate than 1 a week: 0.1, 0.5" in str(reach(known, [0.1, 0.5, 1.0]))
    assert reach(known, [1.0, 3.0]) is None


def test_a_bundle_that_does_not_know_its_budgets_says_so(model: Model) -> None:
    with pytest.raises(DataError, match="--thresholds"):
        by_budget(model, [1.0])
    assert [level.times for level in by_times(model, [2.0, 1.0])] == [(1.0,), (2.0,)]


def test_levels_share_each_windows_reconstruction() -> None:
    counting = Counting()
    once = Once(counting)
    first, second = np.ones((3, 4, 2)), np.zeros((5, 4, 2))
    for windows in (first, first.copy(), second, second.copy()):
        assert once.reconstruct(windows).shape == windows.shape
    assert counting.asked == len(first) + len(second)


def event(
    alert: str, kind: str, start_s: int, end_s: int | None, *, peak: float = 2.0
) -> AlertEvent:
    plain = {
        "schema": "1.2", "id": f"{alert}/0", "alert": alert, "seq": 0, "type": "new", "kind": kind,
        "severity": "warning", "site": "s", "gateway": "g", "asset": "p1", "start": "",
        "start_ms": start_s * 1000, "end": None, "end_ms": None if end_s is None else end_s * 1000,
        "time": "", "time_ms": start_s * 1000, "score": peak, "peak": peak, "message": alert,
        "contributions": [], "model": None,
    }  # fmt: skip
    return msgspec.convert(plain, AlertEvent)


def test_alerts_that_overlap_under_any_threshold_are_one_incident() -> None:
    loose = [event("a", "anomaly", 10, 100), event("b", "anomaly", 200, None)]
    strict = [event("c", "anomaly", 20, 30), event("d", "anomaly", 60, 90)]
    fault = [event("e", "sensor_fault", 20, 30)]
    found = fold([strict, [*loose, *fault]], until={"p1": 300_000})
    assert [(i.kind, i.start_ms, i.end_ms, i.levels) for i in found] == [
        ("anomaly", 10_000, 100_000, {0, 1}),
        ("sensor_fault", 20_000, 30_000, {1}),
        ("anomaly", 200_000, 300_000, {1}),
    ]
    assert [alert.first.alert for alert in found[0].alerts] == ["c", "d", "a"]


def test_a_picture_shows_the_scores_that_the_whole_history_gives(manifest: Manifest) -> None:
    """Its threshold has followed the same scores, long before the picture begins."""
    rows = np.random.default_rng(0).normal([11.9, 20.0], 0.02, size=(2000, 2))
    rows[1500:1560, 0] += 9.0
    found = Recording(times_ms=START_MS + 1000 * np.arange(2000), values=rows, row=np.arange(2000))
    spec = FollowSpec(windows=300, factor=1.5, most=2.0)
    model = at_work(msgspec.structs.replace(manifest, follow=spec))
    stream = samples("p1", found.times_ms, found.values, ("flow", "heat"))
    scores, events = run_again(stream, model, site="", gateway="")
    preview = Preview(
        levels=[Level("as it is", (1.0,), model)], events=[list(events.values())],
        scores={"p1": scores}, recordings={"p1": found}, sensors=("flow", "heat"), notes=[],
    )  # fmt: skip
    incident = max(preview.incidents(), key=lambda one: one.start_ms)
    drawn, _ = around(preview, incident)
    assert max(score.threshold for score in drawn) > 1.0
    assert drawn == [s for s in scores if drawn[0].time_ms <= s.time_ms <= drawn[-1].time_ms]


@pytest.fixture
def recorded(tmp_path: Path, manifest: Manifest) -> tuple[Path, Path]:
    """A bundle, and four minutes of which one is far off."""
    known, members = answered(knowing(manifest))
    bundle.write(tmp_path / "tiny.offbeat", known, members)
    rng = np.random.default_rng(0)
    rows = rng.normal([10.0, 20.0], 0.1, size=(240, 2))
    rows[120:180, 0] += 9.0
    lines = [f"{START_MS + n * 1000},{a:.3f},{b:.3f}" for n, (a, b) in enumerate(rows.tolist())]
    history = tmp_path / "pump.csv"
    history.write_text("\n".join(["ts,flow,heat", *lines]) + "\n")
    return tmp_path / "tiny.offbeat", history


def test_the_page_needs_nothing_else_and_shows_every_threshold_and_alert(
    recorded: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plain = tmp_path / "before.html", tmp_path / "a.jsonl"
    words = [str(path) for path in recorded]
    assert main(["replay", *words, "--report", str(out), "--budgets", "0.5,7"]) == 0
    said = capsys.readouterr().out
    assert all(text in said for text in ("as it is: 1 a week", "0.5 a week", "7 a week"))
    page = out.read_text()
    assert not re.search(r'(src|href)="(?!#)|@import|<script', page)
    assert page.count("<article>") == page.count("told at</dt>") >= 1
    assert "as expected" in page
    assert "flow" in page
    assert main(["replay", *words, "--alerts", str(plain)]) == 0
    events = [msgspec.json.decode(line) for line in plain.read_text().splitlines()]
    told = [e for e in events if e["kind"] == "anomaly" and e["type"] != "end"]
    loudest = max(told, key=lambda e: e["peak"])
    assert loudest["message"] in page
    assert re.search(r"in alert 2\d% of the time", page)


def test_budgets_and_thresholds_are_not_compared_at_once(recorded: tuple[Path, Path]) -> None:
    words = ["replay", *map(str, recorded), "--budgets", "1", "--thresholds", "2"]
    with pytest.raises(SystemExit, match="2"):
        main(words)
