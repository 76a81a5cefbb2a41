"""The lake: what the fleet sent and what people said of it, as Parquet in a folder or bucket.

::

    LAKE/samples/asset=<asset>/day=<YYYY-MM-DD>/<part>.parquet
    LAKE/alerts/day=…   LAKE/feedback/day=…   LAKE/maintenance/day=…

Rules: a row is its asset and event time, and is seen once however many parts
hold it; of two values of one sensor for one time the first to arrive counts
(parts sort by when they were begun); parts are whole or not there; reading
needs no index and no lock.

>>> import tempfile
>>> lake = open_lake(tempfile.mkdtemp())
>>> lake.assets()
()
"""

from __future__ import annotations

from offbeat_edge.control import Feedback, Maintenance
from offbeat_train.lake.reader import Lake, open_lake
from offbeat_train.lake.writer import Writer

__all__ = ["Feedback", "Lake", "Maintenance", "Writer", "open_lake"]
