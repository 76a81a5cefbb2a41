"""What a device can do, measured on it: ``offbeat bench``.

``figures`` are what is told; ``model``, ``process`` and ``wire`` take them, with
``publisher``, ``peer`` and ``broker`` around the daemon and ``signal`` as its readings.
"""
