"""What the daemon has made durable, written down beside it by the daemon itself.

Where a broker loses messages, nobody outside can tell which of those on
their way still counted.  The prelude makes the daemon append every sample to
a file once the commit that holds it has returned; what it must have told is
the replay of that file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from offbeat_edge.schema import Sample

if TYPE_CHECKING:
    from pathlib import Path

PRELUDE = """
import json as _json
from offbeat_edge.durable import Durable as _Durable
_take, _commit = _Durable.take, _Durable.commit
def take(self, samples):
    self.__dict__.setdefault("told", []).extend(samples)
    return _take(self, samples)
def commit(self, **given):
    done = _commit(self, **given)
    told = self.__dict__.setdefault("told", [])
    if done and told:
        with open({path!r}, "ab") as file:
            file.write(b"".join(_json.dumps(sample).encode() + b"\\n" for sample in told))
        told.clear()
    return done
_Durable.take, _Durable.commit = take, commit
"""


class Ledger:
    """The file, and the code that fills it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ledger.jsonl"
        self.prelude = PRELUDE.format(path=str(self._path))

    def samples(self) -> list[Sample]:
        """Return what was committed so far, in order, repeats included."""
        if not self._path.exists():
            return []
        whole = self._path.read_bytes().rpartition(b"\n")[0]  # a kill may have cut the last line
        return [Sample(*json.loads(line)) for line in whole.splitlines()]
