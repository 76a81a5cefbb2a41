"""A TCP proxy that can hold bytes back, or cut, between a client and its broker."""

from __future__ import annotations

import contextlib
import itertools
import random
import select
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tap import Tap

LOOPBACK = "127.0.0.1"
CHUNK = 65_536
RETRANSMIT_S = 0.2  # what TCP waits at least before it sends again
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


class Proxy:
    """Forwards connections of ``host`` to 127.0.0.1:``target`` while nobody says otherwise.

    Attributes
    ----------
    held : a partition; bytes wait on both sides and connections stay open.
    refusing : hangs up on whoever comes.
    delay_s : added to every chunk, each way.
    loss : share of the chunks that come as late as a lost packet would.
    """

    def __init__(self, target: int, *, tap: Tap | None = None, host: str = LOOPBACK) -> None:
        self._tap = tap
        self.held = False
        self.refusing = False
        self.delay_s = 0.0
        self.loss = 0.0
        self._chance = random.Random(1)
        self._numbers = itertools.count()
        self._target = target
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._server = socket.create_server((host, 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset every connection."""
        for pair in self._pairs[:]:
            for sock in pair:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            try:
                broker = socket.create_connection((LOOPBACK, self._target), 2.0)
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._serve, args=[client, broker], daemon=True).start()

    def _serve(self, client: socket.socket, broker: socket.socket) -> None:
        pair = (client, broker)
        self._pairs.append(pair)
        number = next(self._numbers)
        try:
            while self._forward(number, client, broker):
                pass
        except OSError:
            pass
        self._pairs.remove(pair)
        for sock in pair:
            sock.close()

    def _forward(self, number: int, client: socket.socket, broker: socket.socket) -> bool:
        ready, _, _ = select.select([client, broker], [], [], 0.2)
        while self.held:
            time.sleep(0.02)
        for sock in ready:
            data = sock.recv(CHUNK)
            if not data:
                return False
            time.sleep(self.delay_s)
            if self.loss and self._chance.random() < self.loss:
                time.sleep(RETRANSMIT_S)
            if self._tap is not None:
                self._tap.feed(number, "up" if sock is client else "down", data)
            (broker if sock is client else client).sendall(data)
        return True
