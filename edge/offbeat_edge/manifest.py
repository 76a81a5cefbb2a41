"""The manifest: what a bundle says of itself.

Rules: canonical JSON; its SHA-256 is the bundle's identity and what a
signature is over.  It holds size and SHA-256 of every other member except
the detached signature.  Readers ignore unknown fields within a major version
and refuse another major, or a ``min_edge`` newer than themselves, before
anything else in it is looked at.

>>> seal(manifest, {"model.tflite": b"..."})  # doctest: +SKIP
b'{"alert":{"clear_ms":0,...'
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from offbeat_edge import __version__, canonical
from offbeat_edge.detector import DetectorSpec, FallbackSpec
from offbeat_edge.errors import BundleError
from offbeat_edge.follow import FollowSpec
from offbeat_edge.manifest_check import problems
from offbeat_edge.schema import AlertRule, Lineage, Member, ModelSpec, Runtime, SensorSpec
from offbeat_edge.shape import ShapeSpec

# 1.1: shape, sensors' sentinels; 1.2: follow; 1.3: detector.alone; 1.4: their habits
SCHEMA = "1.4"
MANIFEST_MAX = 4 * 1024 * 1024  # bytes


class RuntimeCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A combination on which the golden windows were run at export.

    There the scores must be equal to the bit; elsewhere the manifest's
    ``epsilon`` bounds the difference.
    """

    runtime: Runtime
    scores_sha256: str  # of the (N,) float64 little-endian golden scores
    max_diff: float  # largest distance to the recorded golden scores


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything needed to run a model and to check it, beside its weights."""

    schema: str = SCHEMA
    min_edge: str = "0.1.0"  # the oldest edge version that can run it
    model: ModelSpec
    sensors: tuple[SensorSpec, ...]  # in the order of the model's last axis
    detector: DetectorSpec
    fallback: FallbackSpec
    threshold: float  # the raw score that becomes 1.0
    shape: ShapeSpec | None = None  # since 1.1
    follow: FollowSpec | None = None  # since 1.2
    epsilon: float  # score units: how far a runtime not listed may be off
    calibration: dict[str, object]  # where the threshold comes from
    alert: AlertRule
    lineage: Lineage
    runtimes: tuple[RuntimeCheck, ...]
    members: dict[str, Member] = {}  # filled by ``seal``


def seal(manifest: Manifest, members: dict[str, bytes]) -> bytes:
    """Write ``manifest`` with the digests of ``members`` (name to content).

    Raises
    ------
    BundleError : a manifest that a reader would refuse.
    """
    listed = {name: _member(data) for name, data in members.items()}
    sealed = msgspec.structs.replace(manifest, members=listed)
    try:
        data = canonical.dumps(msgspec.to_builtins(sealed))
    except (TypeError, ValueError) as error:
        raise BundleError(f"manifest: expected finite JSON values, got: {error}") from error
    decode(data, where="manifest")
    return data


def decode(data: bytes, *, where: str, edge: str = __version__) -> Manifest:
    """Read and check a manifest's bytes.

    Raises
    ------
    BundleError : not canonical JSON, another major version, made for a newer
        ``edge``, or values that make no sense; all of them in one message.
    """
    if len(data) > MANIFEST_MAX:
        raise BundleError(f"{where}: expected at most {MANIFEST_MAX} bytes, got {len(data)}")
    try:
        document = canonical.loads(data)
    except ValueError as error:
        raise BundleError(f"{where}: {error}") from error
    _check_versions(document, where, edge)
    try:
        manifest = msgspec.convert(document, Manifest)
    except (msgspec.ValidationError, OverflowError) as error:
        raise BundleError(f"{where}: {error}") from error
    found = problems(manifest)
    if found:
        raise BundleError("\n".join(f"{where}: {problem}" for problem in found))
    return manifest


def identity(data: bytes) -> str:
    """SHA-256 of the manifest's bytes, hex."""
    return hashlib.sha256(data).hexdigest()


def _member(data: bytes) -> Member:
    return Member(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def _check_versions(document: object, where: str, edge: str) -> None:
    fields = document if isinstance(document, dict) else {}
    schema, min_edge = fields.get("schema"), fields.get("min_edge")
    if not isinstance(schema, str) or not re.fullmatch(r"\d{1,4}\.\d{1,4}", schema):
        raise BundleError(f"{where}: schema: expected major.minor, got {schema!r}")
    major = SCHEMA.partition(".")[0]
    if schema.partition(".")[0] != major:
        raise BundleError(f"{where}: schema: expected {major}.x, got {schema}")
    if not isinstance(min_edge, str) or not re.match(r"\d{1,4}\.\d{1,4}\.\d{1,4}", min_edge):
        raise BundleError(f"{where}: min_edge: expected a version x.y.z, got {min_edge!r}")
    if _release(min_edge) > _release(edge):
        raise BundleError(f"{where}: min_edge: expected at most {edge} (this edge), got {min_edge}")


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
