"""What holds for all tests, on any machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

# Debian puts brokers where not everybody's PATH leads.
os.environ["PATH"] += f"{os.pathsep}/usr/sbin{os.pathsep}/sbin"

# How fast a machine is says nothing about a property.
settings.register_profile(
    "explore",
    settings.get_profile("default"),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    max_examples=2000,
)
# The same examples in every run, so that a red build means the change, not the dice.
settings.register_profile(
    "offbeat", settings.get_profile("explore"), derandomize=True, max_examples=100
)
settings.load_profile("offbeat")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the properties first: Hypothesis also draws constants of whatever modules are loaded."""
    items.sort(key=lambda item: item.get_closest_marker("hypothesis") is None)
