"""Many models on a Ray cluster of several nodes on this machine; `make fleet` runs it.

A node is killed while it trains: the models it had are trained elsewhere,
the one that cannot be trained fails alone, and the registry holds the rest.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from retrain_parts import OPTIONS, SENSORS, plant_rows

from offbeat_train.lake import Writer, open_lake
from offbeat_train.lake.rows import Rows
from offbeat_train.retrain import fleet
from offbeat_train.retrain.shelf import Shelf

cluster_utils = pytest.importorskip("ray.cluster_utils")

if TYPE_CHECKING:
    from collections.abc import Iterator

PUMPS = 3
NOW_MS = 1_800_000_000_000
# Ray's own processes leave sockets behind in this one.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def lake(tmp_path: Path) -> str:
    """Three pumps' history, and an asset with too little of it."""
    uri = str(tmp_path / "lake")
    writer = Writer(open_lake(uri).store)
    for asset, (times, values) in plant_rows(pumps=PUMPS, days=4).items():
        writer.rows("0000000000000001-a", asset, Rows(times, values, SENSORS))
        if asset == "pump1":
            short = Rows(times[:20], values[:20], SENSORS)
            writer.rows("0000000000000001-a", "young", short)
    return uri


@pytest.fixture
def cluster() -> Iterator[object]:
    made = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    yield made
    made.shutdown()


def test_a_killed_node_costs_a_retry_and_not_the_job(
    lake: str, tmp_path: Path, cluster: cluster_utils.Cluster
) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    registry = tmp_path / "registry"
    options = msgspec.structs.replace(OPTIONS, epochs=1)
    orders = [
        fleet.Order(lake=lake, registry=str(registry), model=asset, now_ms=NOW_MS,
                    options=msgspec.structs.replace(options, assets=(asset,)))
        for asset in open_lake(lake).assets()
    ]  # fmt: skip
    with fleet.running(address=cluster.address, jobs=None):
        ends = fleet.work(orders)
        gone = kill_when_at_work(cluster, nodes, registry)
        found = {end.model: end for end in ends}
    assert gone
    assert set(found) == {"pump1", "pump2", "pump3", "young"}
    assert {name for name, end in found.items() if end.failed} == {"young"}
    assert "expected at least" in found["young"].failed
    for pump in ("pump1", "pump2", "pump3"):
        shelf = Shelf(registry, pump)
        assert [version.name for version in shelf.versions()] == [found[pump].version]
        assert shelf.job() is None
        assert shelf.versions()[0].verdict.is_file()


def kill_when_at_work(cluster: cluster_utils.Cluster, nodes: list[object], registry: Path) -> bool:
    """Kill a node once two models are being made; raylet and workers with it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if len(list(registry.glob("pump*/.draft.*"))) == len(nodes):
            cluster.remove_node(nodes[0], allow_graceful=False)
            return True
        time.sleep(0.1)
    return False
