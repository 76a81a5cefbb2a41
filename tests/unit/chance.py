"""How many examples a property gets.

Properties that need another number than the profile's write
``@settings(max_examples=examples(40))``, so that ``make explore``, whose
profile has twenty times the usual number, gives them twenty times theirs.
"""

from __future__ import annotations

from hypothesis import settings

USUAL = settings.get_profile("default").max_examples


def examples(number: int) -> int:
    """Return ``number``, as many times over as the profile in force has of the usual."""
    return number * settings().max_examples // USUAL
