"""Is a step passed, broken, or not told yet?  From the gateways' own reports.

Rules: pure.  A breach on one gateway is a breach; evidence is added up over
all that the step concerns and that follow its document.  A rate needs more
than ``MIN_ALERTS`` alerts to be too high: the first minute proves nothing.
What a gateway sent back by itself is a breach whatever its figures say.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, NamedTuple

from offbeat_train.rollout.course import SHADOW, gateways

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from offbeat_edge.delivery.figures import Figures
    from offbeat_edge.delivery.report import RolloutReport
    from offbeat_train.rollout.course import Course
    from offbeat_train.rollout.policy import Gates

MIN_ALERTS = 3  # of a gateway: never too many
MIN_SHARE = 20  # common windows of a gateway, for its shares to say something


class Verdict(NamedTuple):
    """What to do, and why, in lines for people."""

    what: Literal["wait", "pass", "breach"]
    told: list[str]


def judge(course: Course, reports: Iterable[RolloutReport], *, now_ms: int) -> Verdict:
    """Judge the present step of a rollout."""
    gates = course.policy.gates
    patterns = gateways(course.policy, course.step)
    mine = [r for r in reports if any(fnmatchcase(r.gateway, p) for p in patterns)]
    broken = [f"{r.gateway}: {why}" for r in mine for why in _breaches(course, r, gates)]
    if broken:
        return Verdict("breach", broken)
    heard = [(r, f) for r in mine if (f := _figures(course, r)) is not None]
    missing = list(_missing(gates, [figures for _, figures in heard]))
    if not missing:
        return Verdict("pass", [_summary(r, f) for r, f in heard])
    if now_ms - course.since_ms > gates.patience_s * 1000:
        return Verdict("breach", [f"not enough was heard in time: {', '.join(missing)}"])
    return Verdict("wait", missing)


def _figures(course: Course, report: RolloutReport) -> Figures | None:
    """Return the new bundle's figures, of a gateway that follows the step's document."""
    figures = report.challenger if course.step == SHADOW else report.running
    if figures is None or figures.bundle != course.new or report.document < course.version:
        return None
    return figures


def _missing(gates: Gates, heard: list[Figures]) -> Iterator[str]:
    windows = sum(figures.windows for figures in heard)
    days = sum(figures.asset_days for figures in heard)
    if len(heard) < gates.min_gateways:
        yield f"{len(heard)} of {gates.min_gateways} gateways"
    if windows < gates.min_windows:
        yield f"{windows} of {gates.min_windows} windows"
    if days < gates.min_asset_days:
        yield f"{days:.3g} of {gates.min_asset_days:g} asset-days"


def _breaches(course: Course, report: RolloutReport, gates: Gates) -> Iterator[str]:
    if course.new in report.rejected:
        yield f"does not run it: {report.reason}"
    figures = _figures(course, report)
    if figures is None:
        return
    if figures.error is not None:
        yield f"error: {figures.error}"
    if figures.latency_ms is not None and figures.latency_ms > gates.latency_ms:
        yield f"{figures.latency_ms:g} ms a window, expected at most {gates.latency_ms:g}"
    if report.memory_mb > gates.memory_mb:
        yield f"{report.memory_mb:g} MB of memory, expected at most {gates.memory_mb:g}"
    yield from _alert_rate(figures, report.champion if course.step == SHADOW else None, gates)
    if course.step == SHADOW:
        yield from _shares(report, gates)


def _alert_rate(figures: Figures, champion: Figures | None, gates: Gates) -> Iterator[str]:
    """Compare with the budget, and with the champion where it alerts more than that."""
    beside = 0 if champion is None else champion.alerts
    allowed = max(gates.alert_ratio * gates.alerts_per_day * figures.asset_days, beside)
    if figures.alerts > max(MIN_ALERTS, allowed):
        yield (
            f"{figures.alerts} alerts in {figures.asset_days:.3g} asset-days, expected at most"
            f" {max(MIN_ALERTS, allowed):.3g}"
        )


def _shares(report: RolloutReport, gates: Gates) -> Iterator[str]:
    if report.compared < MIN_SHARE:
        return
    for name, share, least in (
        ("normal", report.calm_agreement, gates.calm_agreement),
        ("anomalous", report.loud_agreement, gates.loud_agreement),
    ):
        if share is not None and share < least:
            yield f"agrees on {share:.1%} of the {name} windows, expected {least:.1%} at least"


def _summary(report: RolloutReport, figures: Figures) -> str:
    return (
        f"{report.gateway}: {figures.windows} windows, {figures.alerts} alerts in"
        f" {figures.asset_days:.3g} asset-days, p99 {figures.p99:g}"
    )
