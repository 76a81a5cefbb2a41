"""What holds for all tests, on any machine."""

from __future__ import annotations

import os

from hypothesis import settings

# Debian puts brokers where not everybody's PATH leads.
os.environ["PATH"] += f"{os.pathsep}/usr/sbin{os.pathsep}/sbin"

# How fast a machine is says nothing about a property.
settings.register_profile("offbeat", deadline=None)
settings.load_profile("offbeat")
