"""Signed delivery: which bundle runs here in which mode, and how it came here.

Rules: nothing in the daemon's process knows TUF; what came is kept in a
bounded folder (``inbox``), verified by a child process (``verify``) and only
then handed to the models.  Imported only where ``[delivery]`` is configured.

::

    retained messages ──▶ inbox ──▶ verify (child: TUF, bundle, trial) ──▶ orders ──▶ models
                            ▲            │
                            └── courier ◀┘ asks for the chunks that are missing
"""
