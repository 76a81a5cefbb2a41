"""What Prometheus reads off a running daemon, and the files we give to it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rig import (
    Daemon,
    Listener,
    Mosquitto,
    Player,
    Site,
    closing,
    free_port,
    recording,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
RULES = ROOT / "edge" / "prometheus"
DASHBOARD = ROOT / "edge" / "grafana" / "offbeat.json"
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed; .ci/run installs it"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The metrics of a daemon that has raised an alert."""
    folder, port = tmp_path_factory.mktemp("metrics"), free_port()
    broker = Mosquitto(folder / "broker").start()
    site = Site(folder, broker.port, more=f"[metrics]\nport = {port}")
    listener, player = Listener(broker.port), Player(broker.port)
    daemon = Daemon(site).start().ready()
    with closing(player, listener, daemon, broker):
        player.play(recording(seed=4, seconds=60, assets=2, faults=2))
        wait_for(lambda: bool(listener.alerts), "an alert")
        wait_for(lambda: value(read(port), "offbeat_alerts_total") > 0, "its count")
        yield read(port)


def read(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def value(page: str, name: str) -> float:
    found = [
        s.value for f in text_string_to_metric_families(page) for s in f.samples if s.name == name
    ]
    return sum(found)


def names(page: str) -> set[str]:
    return {
        sample.name for family in text_string_to_metric_families(page) for sample in family.samples
    }


def test_counts_are_those_of_the_daemon(page: str) -> None:
    assert value(page, "offbeat_samples_total") == 120
    assert value(page, "offbeat_assets") == 2
    assert value(page, "offbeat_mqtt_connected") == 1
    assert value(page, "offbeat_commit_seconds_count") > 0


def test_no_label_is_an_assets_name(page: str) -> None:
    assert not re.search(r'="p[01]"', page)


@needs_promtool
def test_promtool_has_nothing_against_the_page(page: str) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_promtool
@pytest.mark.parametrize(
    ("what", "file"), [("config", "prometheus.yml"), ("rules", "offbeat.rules.yml")]
)
def test_promtool_takes_our_files(what: str, file: str) -> None:
    subprocess.run(["promtool", "check", what, RULES / file], capture_output=True, check=True)


def test_rules_and_dashboard_name_only_what_there_is(page: str) -> None:
    known = names(page) | {"offbeat_spool_dropped_total", "offbeat_rejects_total"}
    known |= {"offbeat_lag_seconds", "offbeat_mqtt_probe_seconds"}
    for text in ((RULES / "offbeat.rules.yml").read_text(), DASHBOARD.read_text()):
        assert set(re.findall(r"\boffbeat_[a-z0-9_]+", text)) <= known


def test_the_dashboard_is_json_with_a_query_in_every_panel() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert all(panel["targets"][0]["expr"] for panel in dashboard["panels"])


def test_every_metric_stands_in_the_docs_and_no_other(page: str) -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    told = set(re.findall(r"^\| `(offbeat_[a-z0-9_]+)`", text, re.MULTILINE))
    families = {
        f.name for f in text_string_to_metric_families(page) if f.name.startswith("offbeat_")
    }
    shown = {name + "_total" if f"{name}_total" in page else name for name in families}
    shown = {name for name in shown if not name.endswith("_created")}
    optional = {"offbeat_mqtt_probe_seconds"}  # until the first has come back
    assert shown | optional == told | optional
