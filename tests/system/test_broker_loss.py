"""A broker that loses its queue: the loss is shown, and the rest is told truly."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest
from proxy import Proxy
from rig import Daemon, Listener, Mosquitto, Player, Site, closing, recording, wait_for
from tap import Tap

if TYPE_CHECKING:
    from pathlib import Path

FORGETFUL = "autosave_on_changes false\nautosave_interval 1800"


@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed")
def test_after_a_broker_forgot_its_queue_alerts_equal_the_replay_of_what_was_delivered(
    tmp_path: Path,
) -> None:
    broker = Mosquitto(tmp_path / "broker", extra=FORGETFUL).start()
    tap = Tap()
    proxy = Proxy(broker.port, tap=tap)
    site = Site(tmp_path, proxy.port)
    readings = recording(seed=31, seconds=300, faults=8)
    player, daemon = Player(broker.port), Daemon(site)
    with closing(player, daemon, broker):
        daemon.start().ready()
        player.play(readings[:200])
        # What is cut off between proxy and daemon, this broker forgets as well.
        wait_for(lambda: tap.acknowledged >= 200, "the first part")
        proxy.refusing = True
        proxy.cut()
        daemon.wait_event("disconnected")
        player.play(readings[200:320])  # these wait in the broker
        broker.kill()
        broker.start()
        proxy.refusing = False
        daemon.wait_event("session_lost")
        daemon.ready()
        listener = Listener(broker.port)
        with closing(listener):
            player.play(readings[320:])
            wait_for(lambda: readings[-1] in tap.delivered, "the last part")
            assert len({*tap.delivered}) < len(readings), "the broker lost nothing: a poor trial"
            expected = {event.id for event in site.replay(tap.delivered)}
            wait_for(lambda: expected <= tap.published, "all alerts")
            time.sleep(1.5)  # what should not come would come now
            assert tap.published == expected
            wait_for(lambda: listener.health().get("gaps", []) != [], "health to show the hole")
            health = listener.health()
        assert health["mqtt"]["sessions_lost"] == 1
        assert any("lost our session" in reason for reason in health["degraded"])
    proxy.close()
