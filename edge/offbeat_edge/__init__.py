"""The device half of offbeat: from sensor messages to alerts.

A sample walks once through ``payload`` → ``window`` → ``interpreter`` →
``detector`` → ``alert`` (all pure), joined by ``engine``; ``store``, ``link``
and ``daemon`` are the I/O around them.  Nothing here imports
``offbeat_train`` or ``offbeat_broker``.
"""

__version__ = "0.1.0"
