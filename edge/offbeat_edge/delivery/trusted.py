"""What a device must not forget of what it once trusted: time, and versions.

Many devices have no battery behind their clock: after a power cut they live
in 1970, where nothing has expired.  So "now" is never earlier than the
*floor*: the release of this software, the newest clock under which a whole
set of metadata proved valid, and the newest signed document.  A wrong clock
cannot push the floor far: metadata proves valid only while none of it has
expired, so the floor stays below the first expiry it was proved with.

>>> state = Trusted(floor_ms=5)
>>> state.now_ms(3), state.now_ms(NOT_BEFORE_MS + 1) - NOT_BEFORE_MS
(1790812800000, 1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from offbeat_edge import files

if TYPE_CHECKING:
    from pathlib import Path

NOT_BEFORE_MS = 1_790_812_800_000  # 2026-10-01: this code was not written earlier


class Trusted(msgspec.Struct, frozen=True, kw_only=True):
    """Kept in ``trusted.json``."""

    schema: str = "1.0"
    floor_ms: int = 0  # epoch ms
    versions: dict[str, int] = {}  # model → highest rollout version taken

    def now_ms(self, wall_ms: int) -> int:
        """Return the time to check expiry against, epoch ms."""
        return max(wall_ms, self.floor_ms, NOT_BEFORE_MS)


def read(path: Path) -> Trusted:
    """Return what is kept; nothing when there is no file, or a damaged one.

    A lost file costs no protection but the clock's: TUF keeps its own
    versions beside it.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Trusted)
    except (OSError, ValueError):  # ValueError: of msgspec, and of bytes that are no UTF-8
        return Trusted()


def write(path: Path, state: Trusted) -> None:
    """Replace the file atomically; raises OSError."""
    files.replace(path, msgspec.json.encode(state))
