"""From a topic and bytes to samples: the widest door, and pure.

``decoder`` is who is asked; ``message`` is one payload being read, ``records`` and
``fields`` its JSON, ``influx`` and ``telegraf`` its points, ``presets`` what a
source need not say.
"""
