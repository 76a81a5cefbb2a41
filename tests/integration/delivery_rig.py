"""A publisher's folder beside a real broker, driven by the commands people use."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from rig import WAIT_S

from offbeat_edge.cli import main
from offbeat_edge.delivery import wire

if TYPE_CHECKING:
    from pathlib import Path


class Fleet:
    """A publisher's folder and what a subscriber sees."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.repository = folder / "repository"
        self.passphrase = folder / "pass"
        self.passphrase.write_text("correct horse battery\n")
        self.passphrase.chmod(0o600)
        self.mqtt = folder / "mqtt.toml"
        self.mqtt.write_text(f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n')
        self.port = port

    def offbeat(self, *words: str) -> int:
        return main([*words, "--passphrase-file", str(self.passphrase)])

    def publish(self, *words: str) -> int:
        return self.offbeat("publish", *words, *self._where())

    def rollback(self, digest: str) -> int:
        return self.offbeat("rollback", "tiny", "--to", digest, *self._where())

    def _where(self) -> tuple[str, ...]:
        return ("--repository", str(self.repository), "--mqtt", str(self.mqtt))

    def say(self, messages: dict[str, bytes]) -> None:
        """Have the broker retain what somebody without keys wants it to."""
        client = Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        for topic, payload in messages.items():
            client.publish(topic, payload, qos=1, retain=True).wait_for_publish(WAIT_S)
        client.disconnect()
        client.loop_stop()

    def retained(self) -> dict[str, bytes]:
        """What a new subscriber is given."""
        found: dict[str, bytes] = {}
        done = threading.Event()
        client = Client(CallbackAPIVersion.VERSION2)

        def heard(_client: Client, _data: object, message: object) -> None:
            topic, payload = message.topic, message.payload  # type: ignore[attr-defined]
            if topic == "test/done":
                done.set()
            else:
                found[topic] = payload

        client.on_message = heard
        client.on_connect = lambda c, *_: c.subscribe([(f"{wire.ROOT}/#", 1), ("test/done", 1)])
        client.on_subscribe = lambda c, *_: c.publish("test/done", b"-", qos=1)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        assert done.wait(WAIT_S)
        client.loop_stop()
        client.disconnect()
        return found
