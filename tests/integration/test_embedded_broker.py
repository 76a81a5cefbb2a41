"""The embedded broker, talked to by other people's clients."""

from __future__ import annotations

import gc
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from offbeat_broker import embedded
from offbeat_broker.broker_command import read_users
from offbeat_edge.errors import ConfigError, LinkError

if TYPE_CHECKING:
    from pathlib import Path

WAIT = 60.0  # seconds for anything to arrive; a hang, not a measurement


class Client:
    """A paho client that keeps what arrives."""

    def __init__(self, port: int, *, name: str = "", clean: bool = True, user: str = "") -> None:
        self.got: list[tuple[str, bytes]] = []
        self.code: str | None = None
        self._changed = threading.Condition()
        self.paho = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=clean)
        if user:
            self.paho.username_pw_set(user, "secret")
        self.paho.on_message = lambda _c, _u, m: self._note(self.got.append, (m.topic, m.payload))
        self.paho.on_connect = lambda _c, _u, _f, code, _p: self._note(self._connected, str(code))
        self.paho.on_subscribe = lambda *_: self._note(setattr, self, "subscribed", True)
        self.subscribed = False
        self.paho.connect("127.0.0.1", port)
        self.paho.loop_start()
        self.until(lambda: self.code is not None)

    def _connected(self, code: str) -> None:
        self.code = code

    def _note(self, act, *args: object) -> None:  # noqa: ANN001
        with self._changed:
            act(*args)
            self._changed.notify_all()

    def subscribe(self, topic: str) -> None:
        self.paho.subscribe(topic, qos=1)
        self.until(lambda: self.subscribed)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.paho.publish(topic, payload, qos=1, retain=retain).wait_for_publish(WAIT)

    def until(self, met) -> None:  # noqa: ANN001
        with self._changed:
            assert self._changed.wait_for(met, WAIT), f"got {self.got} and {self.code}"

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()


def test_messages_arrive_in_order_at_qos_1() -> None:
    with embedded.running() as port:
        reader, writer = Client(port), Client(port)
        reader.subscribe("plant/#")
        sent = [(f"plant/pump{i % 3}", str(i).encode()) for i in range(500)]
        for topic, payload in sent:
            writer.publish(topic, payload)
        reader.until(lambda: len(reader.got) == len(sent))
        writer.close()
        reader.close()
    assert reader.got == sent


def test_a_retained_message_meets_the_late_subscriber() -> None:
    with embedded.running() as port:
        writer = Client(port)
        writer.publish("offbeat/gw/status", b"online", retain=True)
        reader = Client(port)
        reader.subscribe("offbeat/+/status")
        reader.until(lambda: reader.got)
        writer.close()
        reader.close()
    assert reader.got == [("offbeat/gw/status", b"online")]


def test_a_named_user_keeps_its_queue_while_away() -> None:
    with embedded.running() as port:
        reader = Client(port, name="gw", clean=False, user="gw")
        reader.subscribe("plant/#")
        reader.close()
        writer = Client(port)
        writer.publish("plant/pump1", b"while away")
        back = Client(port, name="gw", clean=False, user="gw")
        back.until(lambda: back.got)
        back.close()
        writer.close()
    assert back.got == [("plant/pump1", b"while away")]


def test_with_users_nobody_else_gets_in() -> None:
    with embedded.running(users={"gw": "secret"}) as port:
        known, stranger, nobody = Client(port, user="gw"), Client(port, user="x"), Client(port)
        codes = [client.code for client in (known, stranger, nobody)]
        for client in (known, stranger, nobody):
            client.close()
    assert codes[0] == "Success"
    assert "Success" not in codes[1:]


def test_the_port_is_free_again_after_it() -> None:
    with embedded.running() as port:
        client = Client(port)
    with embedded.running(port=port) as again:
        assert again == port
    client.close()


def test_it_closes_what_it_was_accepting_when_it_stopped() -> None:
    def knock(port: int, gone: threading.Event) -> None:
        with suppress(OSError):
            while not gone.is_set():
                socket.create_connection(("127.0.0.1", port), WAIT).close()

    for _ in range(20):
        gone = threading.Event()
        with embedded.running() as port:
            knocking = threading.Thread(target=knock, args=(port, gone))
            knocking.start()
        gone.set()
        knocking.join(WAIT)
    gc.collect()  # what is unclosed says so now: an error, as every warning


def test_a_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LinkError, match=f"bind 127.0.0.1:{port}"), embedded.running(port=port):
            pass


def test_an_open_address_without_users_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected users"), embedded.running(host="0.0.0.0"):  # noqa: S104
        pass


def test_bytes_that_are_not_mqtt_do_not_disturb_others() -> None:
    with embedded.running() as port:
        reader = Client(port)
        reader.subscribe("a")
        with socket.create_connection(("127.0.0.1", port)) as noise:
            noise.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        writer = Client(port)
        writer.publish("a", b"1")
        reader.until(lambda: reader.got)
        writer.close()
        reader.close()
    assert reader.got == [("a", b"1")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_and_stops_cleanly(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "offbeat_edge.cli", "broker", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        line = it.stdout.readline()
        port = int(line.split(":")[1].split()[0])
        client = Client(port)
        client.subscribe("x")
        it.send_signal(number)
        out, err = it.communicate(timeout=WAIT)
        client.close()
    assert it.returncode == 0
    assert out == ""
    assert err == ""


def test_the_command_refuses_an_open_address_without_users() -> None:
    command = [sys.executable, "-m", "offbeat_edge.cli", "broker", "--host", "0.0.0.0"]  # noqa: S104
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78
    assert "expected users" in done.stderr


def test_the_command_warns_loudly_when_others_can_reach_it(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text("# who may come in\n\ngw:secret\n")
    command = [sys.executable, "-m", "offbeat_edge.cli", "broker", "--host", "0.0.0.0",  # noqa: S104
               "--port", "0", "--users", str(users)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        port = int(it.stdout.readline().split(":")[1].split()[0])
        client = Client(port, user="gw")
        it.terminate()
        _, err = it.communicate(timeout=WAIT)
        client.close()
    assert client.code == "Success"
    assert "WARNING" in err


def test_a_broken_users_file_is_told_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("gw:secret\nnobody\n:x\n")
    with pytest.raises(ConfigError) as caught:
        read_users(path)
    assert [problem.split(":")[1] for problem in caught.value.problems] == ["2", "3"]
