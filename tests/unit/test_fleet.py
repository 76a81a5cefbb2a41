"""What a configuration means for a model: the lateness that its sources call for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from offbeat_edge.config import Config, Gateway, Model, Source
from offbeat_edge.fleet import lateness_ms

if TYPE_CHECKING:
    from offbeat_edge.manifest import Manifest

CADENCE_MS = 1000  # of both sensors of the model, flow and heat


def lateness(manifest: Manifest, *sources: Source, lateness_s: float | None = None) -> int:
    entry = Model(bundle="b", lateness_s=lateness_s)
    config = Config(gateway=Gateway(id="gw"), sources=sources, models=(entry,))
    return lateness_ms(config, entry, manifest)


WHOLE = [
    Source(topic="plant/{asset}"),
    Source(topic="plant/{asset}", values={"flow": "a", "heat": "b"}),
    Source(topic="plant/{asset}", values={"flow": "a", "heat": "b", "spare": "c"}),
    Source(topic="plant/{asset}", values={"speed": "of another model"}),
]
PARTS = [
    Source(topic="plant/{asset}/{sensor}"),
    Source(topic="plant/{asset...}/{sensor}"),
    Source(topic="telegraf/{asset}", format="influx"),
    Source(topic="telegraf/{asset}", format="influx", values={"flow": "f", "heat": "h"}),
    Source(topic="plant/{asset}", values={"heat": "b"}),
]


@pytest.mark.parametrize("source", WHOLE)
def test_an_object_for_each_asset_waits_for_nobody(manifest: Manifest, source: Source) -> None:
    assert lateness(manifest, source) == 0


@pytest.mark.parametrize("source", PARTS)
def test_sensors_that_come_in_parts_are_waited_for(manifest: Manifest, source: Source) -> None:
    assert lateness(manifest, source) == CADENCE_MS


def test_one_source_in_parts_is_enough(manifest: Manifest) -> None:
    assert lateness(manifest, WHOLE[0], PARTS[-1]) == CADENCE_MS


@pytest.mark.parametrize("given", [0.0, 2.5])
def test_what_is_configured_counts(manifest: Manifest, given: float) -> None:
    assert lateness(manifest, PARTS[0], lateness_s=given) == round(given * 1000)
