"""Does a bundle that newly runs misbehave?  The device's own judgement, in event time.

Rules: pure.  Within ``window_s`` of observed event time after its activation
a bundle must run at all, be fast enough, and not alert many times more often
than its budget.  A budget is a rate, so ``MIN_ALERTS`` are always granted: one
alert in the first minute proves nothing.

>>> from offbeat_edge.delivery.assignment import Probation
>>> from offbeat_edge.delivery.figures import Count
>>> terms = Probation(window_s=3600.0, alerts_per_day=1.0, alert_ratio=10.0)
>>> count = Count(windows=60, asset_ms=3_600_000, alerts=4)
>>> breach(terms, count, latency_ms=1.0, error=None)
'4 alerts in 0.04 asset-days, more than 10 times the budget of 1 a day'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from offbeat_edge.delivery.assignment import Probation
    from offbeat_edge.delivery.figures import Count

MIN_ALERTS = 3  # never too many
MIN_WINDOWS = 50  # for a mean latency


def breach(
    terms: Probation, count: Count, *, latency_ms: float | None, error: str | None
) -> str | None:
    """Say what a bundle did that it must not; None when nothing.

    Parameters
    ----------
    terms : of the signed document.
    count : since the bundle was activated.
    latency_ms : of one window, on average.
    error : why the model does not run.
    """
    if error is not None:
        return f"it does not run: {error}"
    if latency_ms is not None and count.windows >= MIN_WINDOWS and latency_ms > terms.latency_ms:
        return f"{latency_ms:.0f} ms a window, expected at most {terms.latency_ms:.0f}"
    allowed = terms.alert_ratio * terms.alerts_per_day * count.asset_days
    if count.alerts > max(MIN_ALERTS, allowed):
        return (
            f"{count.alerts} alerts in {count.asset_days:.2f} asset-days, more than"
            f" {terms.alert_ratio:g} times the budget of {terms.alerts_per_day:g} a day"
        )
    return None


def over(terms: Probation, span_ms: int) -> bool:
    """Tell whether the probation is over after so much event time."""
    return span_ms >= terms.window_s * 1000
