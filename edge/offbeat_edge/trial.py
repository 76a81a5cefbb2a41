"""May a bundle run here?  Its golden windows are tried in a child, once.

A child, because a crafted or damaged model can crash the process that loads
it.  What passed is remembered on disk by bundle and runtime, so that a
restart does not pay for the trial again; anything else is tried anew.

>>> refusal(path, bundle, folder=state_dir / "trials")  # doctest: +SKIP
"golden scores differ by 0.3 (epsilon 0.02), 1 cross 1.0"
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from offbeat_edge.errors import BundleError, RuntimeUnavailable
from offbeat_edge.interpreter import installed
from offbeat_edge.knownanswer import check_in_child

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from offbeat_edge.bundle import Bundle
    from offbeat_edge.knownanswer import KnownAnswer


def refusal(
    path: str,
    bundle: Bundle,
    *,
    folder: Path,
    check: Callable[..., KnownAnswer] = check_in_child,
) -> str | None:
    """Return why the model of a verified bundle may not run here; None: it may.

    Parameters
    ----------
    path : the bundle's file, for the child.
    folder : where passed trials are remembered; made when needed.  A disk
        that takes nothing costs a trial at each start, no more.
    """
    try:
        runtime = installed()
        mark = folder / f"{bundle.digest}.{runtime.name}-{runtime.version}"
        if mark.exists():
            return None
        answer = check(path, digest=bundle.digest)
    except (BundleError, RuntimeUnavailable) as error:
        return str(error)
    if not answer.ok:
        return answer.reason
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch()
    return None


def forget(folder: Path, digest: str) -> None:
    """Have a bundle tried again: something happened since."""
    for mark in folder.glob(f"{digest}.*"):
        with contextlib.suppress(OSError):
            mark.unlink()
