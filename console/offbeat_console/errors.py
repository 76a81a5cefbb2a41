"""What the console raises on purpose, below the device half's tree.

::

    OffbeatError
    ├── AccessError    a login, a right or a users file that will not do
    ├── RequestError   something a person asked for that cannot be done
    └── StoreError     the store cannot be read or written
"""

from __future__ import annotations

from offbeat_edge.errors import OffbeatError, StoreError

__all__ = ["AccessError", "RequestError", "StoreError"]


class AccessError(OffbeatError):
    """A login, a right or a users file that will not do."""

    exit_code = 78


class RequestError(OffbeatError):
    """Something a person asked for that cannot be done; the text says why."""

    exit_code = 2
