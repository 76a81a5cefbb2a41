"""Every error the device half raises on purpose.

::

    OffbeatError
    ├── ConfigError          all problems of a configuration, at once
    ├── BundleError          a bundle that cannot be trusted, read or run
    ├── TrustError           a key cannot be read, made or used
    ├── RuntimeUnavailable   no TFLite runtime could be imported
    ├── ModelError           the runtime refused the model or an invocation
    ├── StoreError           the state database cannot be read or written
    │   └── StateRefused     it is in use, or of a newer offbeat: waiting will not help
    ├── DeliveryError        a delivery that cannot be trusted, or cannot be made
    └── LinkError            the broker cannot be reached or refused us

Messages say what was expected, what was found and where.  The evidence is
kept in attributes.
"""

from __future__ import annotations


class OffbeatError(Exception):
    """Base of all expected errors; ``exit_code`` is a sysexits(3) code."""

    exit_code = 70


class ConfigError(OffbeatError):
    """A configuration that cannot be used.

    Parameters
    ----------
    problems : one line each: where, what was expected, what was found.
    """

    exit_code = 78

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class BundleError(OffbeatError):
    """A bundle that cannot be trusted, read or run."""

    exit_code = 78


class TrustError(OffbeatError):
    """A key cannot be read, made or used."""

    exit_code = 78


class RuntimeUnavailable(OffbeatError):  # noqa: N818 - reads as what it is
    """Neither ai-edge-litert nor tflite-runtime can be imported."""

    exit_code = 69


class ModelError(OffbeatError):
    """The runtime refused the model or an invocation of it."""


class StoreError(OffbeatError):
    """The state database cannot be read or written."""

    exit_code = 75


class StateRefused(StoreError):  # noqa: N818 - reads as what it is
    """The state database belongs to another daemon, or to a newer offbeat."""


class DeliveryError(OffbeatError):
    """A delivery that cannot be trusted, or cannot be made."""

    exit_code = 78


class LinkError(OffbeatError):
    """The broker cannot be reached, or refused the session."""

    exit_code = 75
