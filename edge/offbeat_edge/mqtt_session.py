"""One MQTT connection, from CONNECT to its end, driven by the caller's thread.

Rules: paho runs without a thread of its own; its callbacks only write down
what happened.  A session is used once: after a loss a new one is made, so
that message ids and unfinished publishes of an old connection can never
touch a new one.  Whatever paho raises ends the session with a reason, never
the caller.
"""

from __future__ import annotations

import contextlib
import select
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from offbeat_edge.mqtt_intake import FITS, LARGEST, Message, Packets, Reader

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from paho.mqtt.client import ConnectFlags, DisconnectFlags
    from paho.mqtt.reasoncodes import ReasonCode

AnyClient = TypeVar("AnyClient", bound=Client)

SESSION_EXPIRY_S = 7 * 86_400  # the broker keeps our queue for a week
CONNECT_TIMEOUT_S = 5.0  # TCP and TLS
TURN = 4096  # packets read at most, messages or not, before all else has its turn
UNSUPPORTED_VERSION = 0x84  # MQTT 5 reason code
TAKEN_OVER = 0x8E
# A broker that gathers small packets (Nagle) holds a message back until the last one was
# acknowledged, for which Linux takes 40 ms unless told anew after each read.
QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class Broker(NamedTuple):
    """Where the broker is and who we are there."""

    host: str
    port: int
    client_id: str
    username: str | None
    password: str | None
    keepalive_s: int
    receive_maximum: int
    max_packet_bytes: int


class Will(NamedTuple):
    """What the broker says for us when we vanish."""

    topic: str
    payload: bytes
    retain: bool = True


class Session:
    """One connection.

    Parameters
    ----------
    broker : address, identity and limits.
    version : "5" or "3.1.1".
    tls : context of the connection, or None for a clear one.
    will : last will, QoS 1, or None.
    generation : number of this connection, copied into its messages.
    lasting : the broker is to keep our subscriptions and queue when we are away.
    intake : plain publishes, and acknowledgements, pass by paho (``mqtt_intake``).
    """

    def __init__(
        self,
        *,
        broker: Broker,
        version: str,
        tls: ssl.SSLContext | None,
        will: Will | None,
        generation: int,
        lasting: bool = True,
        intake: bool = FITS,
    ) -> None:
        self.version = version
        self.generation = generation
        self.sent = False  # the broker was reached, CONNECT is under way
        self.accepted = False  # CONNACK said yes
        self.session_present = False
        self.window = 20  # unacknowledged publishes the broker takes
        self.ended: str | None = None  # why it is over
        self.reason_code = 0  # of a refusal or a disconnect, MQTT 5
        self.inbox: list[Message] = []
        self.acknowledged: list[tuple[int, str | None]] = []  # mid, why it was refused
        self.granted: dict[int, list[str | None]] = {}  # SUBACK: mid → refusal per filter
        self.released: list[int] = []  # UNSUBACK: mids
        self._broker = broker
        self._lasting = lasting
        self._poll = select.poll()
        self._dry = True  # the last read left nothing
        self._unseen = False  # paho has seen nothing of late
        self._packets = Packets(five=version == "5", generation=generation)
        self._reader = self._make_client(Reader, tls, will) if intake else None
        self._client = self._reader or self._make_client(Client, tls, will)

    def connect(self) -> None:
        """Open the socket and send CONNECT; ``ended`` says when that failed."""
        broker = self._broker
        try:
            self._client.connect_timeout = CONNECT_TIMEOUT_S
            if self.version == "5":
                self._client.connect(
                    broker.host,
                    broker.port,
                    broker.keepalive_s,
                    clean_start=not self._lasting,
                    properties=_connect_properties(broker, lasting=self._lasting),
                )
            else:
                self._client.connect(broker.host, broker.port, broker.keepalive_s)
            self._poll.register(self._socket(), select.POLLIN)
            self._hurry(socket.TCP_NODELAY)
            self.sent = True
        except (OSError, ValueError, TypeError) as error:
            self._end(f"{type(error).__name__}: {error}")

    def wait(self, timeout_s: float) -> None:
        """Sleep until bytes can be read, or written if any are due."""
        sock = self._socket()
        if sock is None or sock.fileno() < 0:
            self._end("connection closed")
            return
        if not self._dry or _tls_pending(sock):
            return
        mask = select.POLLIN | (select.POLLOUT if self._client.want_write() else 0)
        self._poll.modify(sock, mask)
        self._poll.poll(max(0, round(timeout_s * 1000)))

    def read(self, limit: int) -> bool:
        """Read up to ``limit`` messages into the inbox; true when nothing is left."""
        reader = self._reader
        self._dry = self._read_by_paho(limit) if reader is None else self._read(reader, limit)
        if QUICKACK is not None:
            self._hurry(QUICKACK)
        return self._dry

    def _read(self, reader: Reader, limit: int) -> bool:
        packets = self._packets
        for _ in range(TURN):
            if self.ended is not None or len(self.inbox) >= limit:
                break
            message = None if self._unseen else packets.publish()
            if message is not None:
                self.inbox.append(message)
            elif (packet := packets.whole()) is not None:
                self._unseen = False
                self._guard("read", partial(reader.hand, packet))
            elif not self._receive(reader):
                self._show_life(reader)
                return True
        return False

    def _show_life(self, reader: Reader) -> None:
        """Let paho see that a packet is on its way that takes longer than a keep-alive."""
        if self._unseen and (part := self._packets.begun()):
            self._guard("read", partial(reader.hand, part))

    def _receive(self, reader: Reader) -> bool:
        """Take what the socket has; false when it has nothing now, or nothing we take."""
        if (awaited := self._packets.awaited) > LARGEST:
            self._end(f"expected packets of at most {LARGEST} bytes, got one of {awaited}")
            return False
        try:
            self._packets.add(reader.receive())
        except BlockingIOError:
            return False
        except OSError as error:
            self._guard("read", partial(reader.hand, error))
        return True

    def _read_by_paho(self, limit: int) -> bool:
        for _ in range(TURN):
            if self.ended is not None or len(self.inbox) >= limit:
                break
            before = len(self.inbox)
            self._guard("read", self._client.loop_read)
            if len(self.inbox) == before and not self._readable():
                return True
        return False

    def flush(self) -> None:
        """Write what is due as far as the socket takes it."""
        if self.ended is None and self._client.want_write():
            self._guard("write", self._client.loop_write)

    def keep_alive(self) -> None:
        """Send pings; notice a broker that no longer answers.

        The next packet, or what is there of it, goes to paho, so that it knows
        of this second's life.
        """
        self._unseen = True
        if self.ended is None:
            self._guard("keep-alive", self._client.loop_misc)

    def subscribe(self, filters: Sequence[tuple[str, int]]) -> int:
        """Ask for filters with their QoS; return the id its SUBACK will have."""
        if self.version == "5":
            options = [(name, SubscribeOptions(qos=qos)) for name, qos in filters]
            return self._client.subscribe(options)[1] or 0
        return self._client.subscribe(list(filters))[1] or 0

    def unsubscribe(self, filters: Sequence[str]) -> int:
        """Let go of filters; return the id the UNSUBACK will have."""
        return self._client.unsubscribe(list(filters))[1] or 0

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> int:
        """Queue a publish; return its message id."""
        return self._client.publish(topic, payload, qos=qos, retain=retain).mid

    def acknowledge(self, mids: Sequence[int]) -> None:
        """Queue the PUBACKs of messages that arrived, in this order."""
        if self._reader is not None and mids:
            self._reader.acknowledge(mids)
            return
        for mid in mids:
            self._client.ack(mid, 1)

    def close(self) -> None:
        """Send DISCONNECT, which discards the will, and close."""
        if self.ended is None:
            self._guard("disconnect", self._client.disconnect)
            self.flush()
        self.drop("closed")

    def drop(self, why: str) -> None:
        """Close the socket without a word: the broker will publish the will."""
        self._end(why)
        sock = self._socket()
        if sock is not None:
            sock.close()

    def _make_client(
        self, kind: type[AnyClient], tls: ssl.SSLContext | None, will: Will | None
    ) -> AnyClient:
        five = self.version == "5"
        client = kind(
            CallbackAPIVersion.VERSION2,
            client_id=self._broker.client_id,
            clean_session=None if five else not self._lasting,
            protocol=MQTTv5 if five else MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        if tls is not None:
            client.tls_set_context(tls)
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._broker.password)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        # with this set paho queues packets until flush() instead of sending each
        client.on_socket_register_write = _ignore
        return client

    def _guard(self, what: str, call: Callable[[], int]) -> None:
        """Run one paho step; any error of it ends this session."""
        try:
            code = call()
        except Exception as error:  # noqa: BLE001 - paho lets malformed packets through as anything
            self._end(f"{what}: {type(error).__name__}: {error}")
            return
        if code not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN):
            self._end(f"{what}: {MQTTErrorCode(code).name}")

    def _end(self, why: str) -> None:
        if self.ended is None:
            self.ended = why

    def _hurry(self, option: int) -> None:
        """Set a TCP option; one that the system refuses costs some milliseconds."""
        sock = self._socket()
        if sock is not None and sock.fileno() >= 0:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, 1)

    def _readable(self) -> bool:
        sock = self._socket()
        if sock is None or sock.fileno() < 0:
            return False
        if _tls_pending(sock):
            return True
        self._poll.modify(sock, select.POLLIN)
        return bool(self._poll.poll(0))

    def _socket(self) -> Any:  # noqa: ANN401 - a socket, TLS or not, or None
        return self._client.socket()

    def _on_connect(
        self,
        _client: Client,
        _data: object,
        flags: ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if code.is_failure:
            self.reason_code = code.value
            self._end(f"refused: {code}")
            return
        self.accepted = True
        self.session_present = bool(flags.session_present)
        self.window = min(self.window, getattr(properties, "ReceiveMaximum", self.window))

    def _on_disconnect(
        self,
        _client: Client,
        _data: object,
        _flags: DisconnectFlags,
        code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if code.is_failure and not self.reason_code:
            self.reason_code = code.value
        self._end(f"disconnected: {code}")

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "\ufffd"  # no template matches it: it will be rejected and acknowledged
        payload = bytes(message.payload)
        self.inbox.append(
            Message(topic, payload, message.qos, message.retain, message.mid, self.generation)
        )

    def _on_publish(
        self,
        _client: Client,
        _data: object,
        mid: int,
        code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self.acknowledged.append((mid, str(code) if code.is_failure else None))

    def _on_subscribe(
        self,
        _client: Client,
        _data: object,
        mid: int,
        codes: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        self.granted[mid] = [str(code) if code.is_failure else None for code in codes]

    def _on_unsubscribe(
        self,
        _client: Client,
        _data: object,
        mid: int,
        _codes: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        self.released.append(mid)


def _connect_properties(broker: Broker, *, lasting: bool) -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_EXPIRY_S if lasting else 0
    properties.ReceiveMaximum = broker.receive_maximum
    properties.MaximumPacketSize = broker.max_packet_bytes
    return properties


def _tls_pending(sock: Any) -> bool:  # noqa: ANN401 - a socket, TLS or not
    """Whether decrypted bytes wait that a poll of the socket does not show."""
    return hasattr(sock, "pending") and sock.pending() > 0


def _ignore(_client: object, _data: object, _sock: object) -> None:
    """Stand in for paho's own event loop hook."""
