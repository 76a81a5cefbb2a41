"""Examples in docstrings do what they say; not those of the cloud half, which loads TensorFlow."""

from __future__ import annotations

import doctest
import importlib
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HALVES = ("edge", "broker", "console")
MODULES = [
    ".".join(path.relative_to(ROOT / half).with_suffix("").parts)
    for half in HALVES
    for path in sorted((ROOT / half).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_stands_below_them(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what others' modules say when they are loaded
        module = importlib.import_module(name.removesuffix(".__init__"))
        assert doctest.testmod(module).failed == 0
