"""Every object that is published or persisted, as msgspec Structs.

Rules: each carries ``schema`` (major.minor); readers ignore unknown fields
within a major; times are epoch milliseconds (``*_ms``) and, where people
read them, ISO 8601 UTC beside.  Only the configuration (``config``) is
strict.

>>> iso(0)
'1970-01-01T00:00:00.000Z'
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple, get_args

import msgspec

SCHEMA = "1.0"
ALERT_SCHEMA = "1.3"  # 1.1: ``reason``; 1.2: ``window``; 1.3: ``threshold``, ``adaptation``
SCORE_SCHEMA = "1.1"  # ``threshold``
STATE_SCHEMA = "1.1"  # ``adaptation``

Kind = Literal["anomaly", "sensor_fault", "stale"]
State = Literal["ok", "anomaly", "sensor_fault", "stale", "warming", "degraded"]
EventType = Literal["new", "update", "end"]
Severity = Literal["warning", "critical"]
Stage = Literal["learning", "checking", "adapted", "refused"]
STAGES: tuple[Stage, ...] = get_args(Stage)
Reason = Literal["maintenance", "false_alarm", "expected", "renamed", "moved", "model_changed"]
MAX_EVENT_MS = 1 << 42  # 2109: what is kept of event time can always be written as a date
EventMs = Annotated[int, msgspec.Meta(ge=-MAX_EVENT_MS, le=MAX_EVENT_MS)]

_SECONDS = len("1970-01-01T00:00:00")


def iso(time_ms: int) -> str:
    """Format epoch milliseconds as ISO 8601 UTC with milliseconds."""
    seconds, millis = divmod(time_ms, 1000)
    stamp = datetime.fromtimestamp(seconds, UTC).isoformat()  # in half the time of strftime
    return f"{stamp[:_SECONDS]}.{millis:03d}Z"


class Sample(NamedTuple):
    """What one message says of one asset at one moment.

    ``values`` maps sensor names to finite numbers; a sensor that the message
    does not hold, or holds as null, is absent.  ``own_time`` is false when
    the gateway stamped it.
    """

    asset: str
    time_ms: int
    values: dict[str, float]
    own_time: bool = True


class Reject(NamedTuple):
    """Why a message, or a part of it, was not taken."""

    reason: str
    detail: str
    topic: str


class Runs(NamedTuple):
    """What a ``[[model]]`` runs."""

    digest: str  # SHA-256 of the bundle's manifest, hex
    fallback: bool  # its plain statistics instead of its model


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """One sensor's part in a score; shares of one score sum to 1."""

    sensor: str
    share: float
    expected: float | None = None  # in the sensor's unit
    actual: float | None = None


class ModelRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which model, from which bundle, under which configuration."""

    name: str
    version: str
    bundle: str  # SHA-256 of the bundle's manifest, hex
    config: str  # SHA-256 of the effective settings of this asset, hex


class Adaptation(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned of an asset in its warm-up, and is in force."""

    stage: Stage
    shift: dict[str, float] = {}  # sensor → how far its level is from training's, in its unit
    factor: float = 1.0  # scores are divided by it
    reason: str = ""  # why it was refused


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One event in an alert's life: ``new``, any ``update``, ``end``."""

    schema: str = ALERT_SCHEMA
    id: str  # "<alert>/<seq>"
    alert: str  # hash of (site, asset, kind, model name, start)
    seq: int
    type: EventType
    kind: Kind
    severity: Severity
    site: str
    gateway: str
    asset: str
    start: str
    start_ms: int
    end: str | None = None
    end_ms: int | None = None
    time: str  # event time of this event
    time_ms: int
    score: float | None  # at this event; 1.0 is the threshold
    peak: float | None  # highest score so far
    message: str  # one sentence for people
    contributions: tuple[Contribution, ...] = ()
    model: ModelRef | None = None
    window: str | None = None  # SHA-256 of the judged window's values, hex; of an anomaly
    reason: Reason | None = None  # what ended it, if not its own score
    adaptation: Adaptation | None = None  # of an anomaly: what was in force; None: nothing
    resent: bool = False  # set on the wire when it waited in the spool
    threshold: float = 1.0  # what a score of 1.0 stands for, in the bundle's thresholds


class AssetState(msgspec.Struct, frozen=True, kw_only=True):
    """Retained on ``…/asset/<asset>/state``."""

    schema: str = STATE_SCHEMA
    asset: str
    state: State
    since: str
    since_ms: int
    reasons: tuple[str, ...] = ()
    alert: str | None = None
    score: float | None = None
    adaptation: Adaptation | None = None  # None: none was asked for


class ScoreRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Published on ``…/asset/<asset>/score`` when enabled."""

    schema: str = SCORE_SCHEMA
    asset: str
    time: str
    time_ms: int
    score: float
    contributions: tuple[Contribution, ...] = ()
    threshold: float = 1.0  # what 1.0 stands for, in the bundle's thresholds

    @property
    def unfollowed(self) -> float:
        """Return the score by the bundle's own threshold: what models are compared by."""
        return self.score * self.threshold


# ---------------------------------------------------------------- the bundle


class SensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One model input, in the order of the model's last axis."""

    name: str
    unit: str = ""
    center: float  # scaled = (value - center) / scale
    scale: float
    low: float | None = None  # plausible range, in the unit
    high: float | None = None
    cadence_ms: int  # how often it reports
    scored: bool = True  # false: an input whose reconstruction is not judged
    stuck_steps: int | None = None  # unchanged for more steps than this: stuck ...
    rests: tuple[float, ...] = ()  # ... but at these, where it may stay
    quiet_steps: int | None = None  # missing only after more than this; None: after the hold
    sentinels: tuple[float, ...] = ()  # numbers that stand for "no reading" ...
    absent: tuple[float, ...] = ()  # ... and did so in the history, again and again


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the bundle beside the manifest."""

    sha256: str
    size: int  # bytes


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Name, version and the shape contract of ``model.tflite``."""

    name: str
    version: str
    created: str
    period_ms: int  # the time grid
    window: int  # T, steps
    stride: int  # steps between windows
    hold_ms: int  # how long a missing sensor keeps its last value


class AlertRule(msgspec.Struct, frozen=True, kw_only=True):
    """How a score becomes an alert; lengths are event time."""

    min_duration_ms: int = 0  # above 1.0 for this long before it opens
    clear_ratio: float = 0.9  # closes only below this score ...
    clear_ms: int = 0  # ... for this long
    cooldown_ms: int = 0  # after an end, none opens for this long


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """A combination within which scores are equal to the bit."""

    name: str  # "ai-edge-litert" or "tflite-runtime"
    version: str
    arch: str  # platform.machine()
    delegate: str  # "xnnpack" or "none"


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a bundle comes from."""

    data_sha256: str
    code_version: str
    config: dict[str, object]
    metrics: dict[str, object]
    seed: int
