"""What people and jobs tell the engine beside samples: the control log.

Alerts are a function of the samples *and* of these.  A control takes effect
between two closed steps of its asset; which ones is written down with it
(``at``), so that recovery and ``replay`` do the same in the same place.

Rules: pure data.  Every control has an ``id`` chosen by who sent it, and one
that comes again changes nothing.  ``Feedback`` and ``Maintenance`` are also
the payloads of ``offbeat/fleet/…``; there the key ``control`` may be absent.

>>> control = Feedback(id="1", asset="p1", verdict="expected", time_ms=1_700_000_000_000)
>>> line = encode(Logged(received_ms=0, at={"p1": 5000}, control=control))
>>> decode(line).control == control
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from offbeat_edge.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA = "1.0"
MAJOR = "1."
FIRST_MS, LAST_MS = 946_684_800_000, 4_102_444_800_000  # 2000 to 2100: times that can be meant

Verdict = Literal["confirmed", "false_alarm", "expected"]
Schema = Annotated[str, Meta(pattern=r"\A1\.[0-9]{1,4}\Z")]  # a later minor is read as well
Id = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.:-]{1,64}\Z")]
Asset = Annotated[str, Meta(pattern=r"\A[a-z0-9_.-]{1,64}\Z")]
AlertId = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Millis = Annotated[int, Meta(ge=FIRST_MS, le=LAST_MS)]
By = Annotated[str, Meta(max_length=128)]
Note = Annotated[str, Meta(max_length=1024)]


class Said(msgspec.Struct, frozen=True, kw_only=True, tag_field="control"):
    """What every control has; ``time_ms`` is the sender's wall clock."""

    schema: Schema = SCHEMA
    id: Id
    time_ms: Millis
    by: By = ""
    note: Note = ""


class Maintenance(Said, frozen=True, kw_only=True, tag="maintenance"):
    """Work on an asset in [start, end) of its event time: no alerts then.

    ``cancelled``: the window announced under the same id is taken back.
    """

    asset: Asset
    start_ms: Millis
    end_ms: Millis
    cancelled: bool = False


class Feedback(Said, frozen=True, kw_only=True, tag="feedback"):
    """What people say of an alert; without ``alert``, of those open on the asset.

    ``start_ms`` to ``end_ms`` is what is meant, by default the alert's time.
    """

    asset: Asset
    verdict: Verdict
    alert: AlertId | None = None
    start_ms: Millis | None = None
    end_ms: Millis | None = None


class Rename(Said, frozen=True, kw_only=True, tag="rename"):
    """The asset ``asset`` is called ``to`` from now on, and keeps its history."""

    asset: Asset
    to: Asset


class Recalibrate(Said, frozen=True, kw_only=True, tag="recalibrate"):
    """What was learned of an asset in its warm-up is forgotten, and a new one begins."""

    asset: Asset


class Release(Said, frozen=True, kw_only=True, tag="release"):
    """The asset comes to another shard from now on; here it is forgotten."""

    asset: Asset


class Swap(Said, frozen=True, kw_only=True, tag="swap"):
    """The assets of one ``[[model]]`` are judged by another bundle from now on.

    ``fallback``: by its plain statistics, because its model may not run.
    """

    entry: Annotated[int, Meta(ge=0, le=999)]  # index of the [[model]]
    bundle: Digest  # SHA-256 of the new bundle's manifest
    model: Annotated[str, Meta(max_length=128)] = ""  # its name, for people
    fallback: bool = False


Control = Maintenance | Feedback | Rename | Recalibrate | Release | Swap


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the control log.

    ``at`` maps each asset concerned to the event time of the last step that
    closed before the control took effect; an asset not in it had none.
    Without ``at`` a control takes effect at its own ``time_ms``.
    """

    schema: Schema = SCHEMA
    received_ms: int  # the gateway's wall clock
    at: dict[str, int] | None = None
    control: Control


def key(control: Control) -> str:
    """Return what makes a control that one: redelivered, it has the same.

    The asset belongs to it: one id may announce work on several.

    >>> key(Rename(id="7", asset="a", to="b", time_ms=FIRST_MS))
    'rename 7 a'
    """
    kind = str(control.__struct_config__.tag)
    taken_back = isinstance(control, Maintenance) and control.cancelled
    about = str(control.entry) if isinstance(control, Swap) else control.asset
    return f"{'cancel' if taken_back else kind} {control.id} {about}"


def encode(logged: Logged) -> bytes:
    """Return one line of JSON, without its end."""
    return msgspec.json.encode(logged)


def decode(line: bytes | str) -> Logged:
    """Read one line; raises StoreError that says what was expected."""
    try:
        return msgspec.json.decode(line, type=Logged)
    except (ValueError, RecursionError) as error:  # msgspec's own, and of bytes that are no UTF-8
        raise StoreError(f"expected a line of the control log, got: {error}") from error


def decode_log(text: str) -> list[Logged]:
    """Read a whole log, a line each; StoreError names the line that is none."""
    log = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            log += [decode(line)] if line.strip() else []
        except StoreError as error:
            raise StoreError(f"line {number}: {error}") from error
    return log


def elders_first(names: Iterable[str], log: Iterable[Logged]) -> list[str]:
    """Put assets behind those that were renamed to be them.

    >>> was = Rename(id="1", asset="new", to="a", time_ms=FIRST_MS)
    >>> elders_first(["a", "b", "new"], [Logged(received_ms=0, control=was)])
    ['b', 'new', 'a']
    """
    said = [logged.control for logged in log]
    former = {c.to: c.asset for c in said if isinstance(c, Rename)}

    def age(name: str) -> int:
        seen = [name]
        while former.get(seen[-1], name) not in seen:
            seen.append(former[seen[-1]])
        return len(seen)

    return sorted(names, key=age)
