"""An alert that a real daemon raised comes out the same from what the recorder kept."""

from __future__ import annotations

import math
import random
import re
import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest
from record_parts import Recording, recorded, recorder
from rig import (
    START_MS,
    Daemon,
    Listener,
    Mosquitto,
    Player,
    closing,
    make_bundle,
    recording,
    wait_for,
)

from offbeat_edge import bundle, cli
from offbeat_edge.control import Maintenance
from offbeat_edge.engine import Engine
from offbeat_edge.errors import BundleError
from offbeat_edge.model import open_model
from offbeat_edge.schema import Sample
from offbeat_train.explain import explain, find
from offbeat_train.lake import Writer, open_lake
from offbeat_train.lake.events import ALERTS
from offbeat_train.lake.rows import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from offbeat_train.explain import Explained


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    """A lake that a recorder wrote beside a daemon."""
    folder = tmp_path_factory.mktemp("site")
    mosquitto = Mosquitto(folder / "broker").start()
    site = Recording(folder, mosquitto.port)
    readings = recording(seed=11, seconds=400, assets=2)
    expected = [event for event in site.replay(readings) if event.kind != "stale"]
    listener, player = Listener(mosquitto.port), Player(mosquitto.port)
    keeper, daemon = recorder(site).start(), Daemon(site).start()
    with closing(listener, player, daemon, keeper, mosquitto):
        keeper.ready()
        daemon.ready()
        wait_for(lambda: b'"subscribed":4' in listener.retained.get(
            "offbeat/record-gw1/health", b""), "the recorder's subscriptions")  # fmt: skip
        player.play(readings)
        listener.wait_alerts([event.id for event in expected])
        wait_for(lambda: len(open_lake(str(site.lake)).alerts()) >= len(expected), "the lake")
        assert daemon.stop() == 0
        assert keeper.stop() == 0
        yield site


def explained(site: Recording, name: str) -> Explained:
    lake = open_lake(str(site.lake))
    return explain(find(lake, name), lake, lambda _: bundle.load(site.bundle), config=None)


def names(site: Recording) -> list[str]:
    lake = open_lake(str(site.lake))
    return sorted({e.alert for e in lake.alerts() if e.kind != "stale"})


def test_every_alert_comes_out_the_same_to_the_digit(site: Recording) -> None:
    assert len(names(site)) >= 6
    for name in names(site):
        found = explained(site, name)
        assert found.equal, [item for item in found.events if not item.equal]
        assert all(item.same_event and item.peak == item.event.peak for item in found.events)
        assert {item.event.type for item in found.events} >= {"new", "end"}


def test_the_command_says_so_and_draws_one_page_that_needs_nothing_else(
    site: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, picture = tmp_path / "alert.html", tmp_path / "alert.png"
    words = ["explain", names(site)[0], "--lake", str(site.lake), "--bundle", str(site.bundle)]
    assert cli.main([*words, "--config", str(site.path), "--out", str(page)]) == 0
    assert cli.main([*words, "--out", str(picture)]) == 0
    assert "to the digit" in capsys.readouterr().out
    text = page.read_text()
    assert "<svg" in text
    assert not re.search(r"(src|href)=\"(?!#)", text)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_asset_that_was_adapted_to_is_judged_so_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance, path = random.Random(1), tmp_path / "model.offbeat"
    make_bundle(path)
    model = open_model(bundle.load(path), config_digest="", warmup_ms=60_000)
    stream = [
        Sample("p0", START_MS + 1000 * k, {
            "flow": 10.4 + chance.gauss(0, 0.1) + 5.0 * (900 <= k < 910),
            "heat": 20.0 + chance.gauss(0, 0.1),
        })
        for k in range(1000)
    ]  # fmt: skip
    engine = Engine(site="s", gateway="g", route=lambda _: model)
    events = [event for event in engine.feed(stream).events if event.start_ms > START_MS + 880_000]
    assert {event.adaptation and event.adaptation.stage for event in events} == {"adapted"}
    lake = tmp_path / "lake"
    writer = Writer(open_lake(str(lake)).store)
    writer.events("1-r", ALERTS, events)
    writer.rows("1-r", "p0", rows_of([(s.time_ms, s.values) for s in stream]))
    words = ["explain", events[0].alert, "--lake", str(lake), "--bundle", str(path)]
    assert cli.main(words) == 0
    assert "adapted to the asset: flow +0." in capsys.readouterr().out

    untold = [msgspec.structs.replace(e, schema="1.2", adaptation=None) for e in events]
    Writer(open_lake(str(tmp_path / "old")).store).events("1-r", ALERTS, untold)
    shutil.copytree(lake / "samples", tmp_path / "old" / "samples")
    assert cli.main([*words[:3], str(tmp_path / "old"), *words[4:]]) == 1
    assert "do not say whether the asset was adapted to" in capsys.readouterr().out


@pytest.mark.parametrize("begun", [600, 885])
def test_an_event_is_measured_by_the_threshold_it_tells(tmp_path: Path, begun: int) -> None:
    """A device that began later has followed other scores than the lake holds."""
    chance, path = random.Random(1), tmp_path / "model.offbeat"
    make_bundle(path)
    stream = [
        Sample("p0", START_MS + 1000 * k, {
            "flow": 11.6 + chance.gauss(0, 0.05) + 5.0 * (900 <= k < 910),
            "heat": 20.0 + chance.gauss(0, 0.05),
        })
        for k in range(1000)
    ]  # fmt: skip
    model = open_model(bundle.load(path), config_digest="")
    engine = Engine(site="s", gateway="g", route=lambda _: model)
    events = engine.feed(stream[begun:]).events
    alert = next(event.alert for event in events if event.start_ms >= START_MS + 900_000)
    writer = Writer(open_lake(str(tmp_path / "lake")).store)
    writer.events("1-r", ALERTS, events)
    writer.rows("1-r", "p0", rows_of([(s.time_ms, s.values) for s in stream]))
    lake = open_lake(str(tmp_path / "lake"))
    found = explain(find(lake, alert), lake, lambda _: bundle.load(path), config=None)
    assert found.equal
    followed = {s.time_ms: s.threshold for s in found.scores}
    agree = all(followed[i.event.time_ms] == i.event.threshold for i in found.events)
    assert agree == (begun == 600)
    assert max(followed.values()) > 1.0


def test_an_alert_that_announced_work_has_ended_is_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.offbeat"
    make_bundle(path)
    model = open_model(bundle.load(path), config_digest="")
    chance = random.Random(1)
    stream = [
        Sample("p0", START_MS + 1000 * k, {
            "flow": 10.0 + chance.gauss(0, 0.1) + 5.0 * (k >= 900),
            "heat": 20.0 + chance.gauss(0, 0.1),
        })
        for k in range(930)
    ]  # fmt: skip
    engine = Engine(site="s", gateway="g", route=lambda _: model)
    work = (START_MS + 910_000, START_MS + 920_000)
    events = engine.feed(stream[:905]).events
    engine.control(
        Maintenance(id="1", asset="p0", start_ms=work[0], end_ms=work[1], time_ms=work[0])
    )
    events += engine.feed(stream[905:]).events
    ended = next(event for event in events if event.reason == "maintenance")
    writer = Writer(open_lake(str(tmp_path / "lake")).store)
    writer.events("1-r", ALERTS, events)
    writer.rows("1-r", "p0", rows_of([(s.time_ms, s.values) for s in stream]))
    words = ["--lake", str(tmp_path / "lake"), "--bundle", str(path)]
    assert cli.main(["explain", ended.alert, *words]) == 0
    assert re.search(f"end    {ended.time}  same\n +ended by +maintenance", capsys.readouterr().out)
    assert cli.main(["explain", ended.id, *words]) != 0
    assert "ended by maintenance, no window led to it" in capsys.readouterr().err


def test_one_event_can_be_named_and_an_unknown_one_is_told(
    site: Recording, capsys: pytest.CaptureFixture[str]
) -> None:
    (only,) = explained(site, f"{names(site)[0]}/0").events
    assert only.event.type == "new"
    words = ["--lake", str(site.lake), "--bundle", str(site.bundle)]
    assert cli.main(["explain", "0" * 32, *words]) == 65
    assert "expected the id of an alert" in capsys.readouterr().err


def test_a_figure_off_by_one_digit_is_a_difference(
    site: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = open_lake(str(site.lake))
    name = names(site)[0]
    events = find(lake, name)
    score = events[0].score
    assert score is not None
    events[0] = msgspec.structs.replace(events[0], score=math.nextafter(score, math.inf))
    other = open_lake(str(tmp_path / "lake"))
    Writer(other.store).events("1-r", ALERTS, events)
    Writer(other.store).rows("1-r", events[0].asset, lake.rows(events[0].asset))
    words = ["--lake", str(tmp_path / "lake"), "--bundle", str(site.bundle)]
    assert cli.main(["explain", name, *words]) == 1
    assert "DIFFERENT" in capsys.readouterr().out


def test_the_registry_is_searched_by_digest_and_another_bundle_is_refused(
    site: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = tmp_path / "registry"
    for version in ("1", "2"):
        (registry / "tiny" / version).mkdir(parents=True)
    make_bundle(registry / "tiny" / "1" / "bundle.offbeat", threshold=2.0)  # another digest
    words = ["explain", names(site)[0], "--lake", str(site.lake)]
    assert cli.main([*words, "--registry", str(registry)]) == BundleError.exit_code
    one = str(registry / "tiny" / "1" / "bundle.offbeat")
    assert cli.main([*words, "--bundle", one]) == BundleError.exit_code
    (registry / "tiny" / "2" / "bundle.offbeat").write_bytes(site.bundle.read_bytes())
    assert cli.main([*words, "--registry", str(registry)]) == 0
    assert capsys.readouterr().out


def test_rows_and_alerts_lie_side_by_side(site: Recording) -> None:
    assert {name: len(rows) for name, rows in recorded(site).items()} == {"p0": 400, "p1": 400}
