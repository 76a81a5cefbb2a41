"""The verdict as a page for people: the decision, why, and every figure with its interval."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from offbeat_edge.schema import iso
from offbeat_train.report_page import PAGE, bullets, section, table, terms
from offbeat_train.retrain.shelf import VERDICT_PAGE as NAME
from offbeat_train.retrain.verdict_figure import strengths

if TYPE_CHECKING:
    from offbeat_train.retrain.evidence import Evidence, Incident, Response
    from offbeat_train.retrain.gate import Figure
    from offbeat_train.retrain.record import Judgement

__all__ = ["NAME", "page"]

HEADS = ("what", "rows", "champion", "challenger", "difference", "90 % interval", "limit", "")
INCIDENT_HEADS = ("asset", "from", "to", "champion", "after", "challenger", "after")
WORDS = {"promote": "The challenger becomes the champion", "keep": "The champion stays",
         "insufficient": "The champion stays, for want of evidence"}  # fmt: skip


def page(judgement: Judgement, evidence: Evidence) -> str:
    """Build the page; needs nothing but a browser."""
    plan, verdict = judgement.plan, judgement.verdict
    kind = "note" if verdict.decision == "promote" else "warning"
    sections = [
        section(WORDS[verdict.decision], bullets((verdict.why,), kind), _about(judgement)),
        section("Why it was trained", bullets(plan.due.said, "note")),
        section("Figures", _how(judgement), table(HEADS, map(_row, verdict.figures))),
        section("Alarm strength of held-out rows", strengths(evidence)),
    ]
    if verdict.incidents:
        rows = (_incident(one) for one in verdict.incidents)
        sections.append(section("Incidents", table(INCIDENT_HEADS, rows)))
    title = escape(f"{plan.model} {plan.version}: {verdict.decision}")
    return PAGE.substitute(title=title, body="\n".join(sections))


def _about(judgement: Judgement) -> str:
    plan = judgement.plan
    return terms(
        (
            ("challenger", f"{plan.version}, bundle {judgement.bundle}"),
            ("champion", f"{plan.champion}, bundle {plan.parent}" if plan.champion else "none"),
            ("start", f"cold: {judgement.cold}" if judgement.cold
             else "from the champion's weights"),
            ("assets", ", ".join(plan.assets)),
            ("rows until", iso(plan.end_ms)),
            ("data", plan.data_sha256),
            ("recent rows from", iso(plan.recent_ms)),
            ("seed", str(plan.seed)),
        )
    )  # fmt: skip


def _how(judgement: Judgement) -> str:
    verdict = judgement.verdict
    hours = ", ".join(f"{value:.3g} h of {name} rows" for name, value in verdict.hours.items())
    faults = ", ".join(f"{count} in {name}" for name, count in verdict.faults.items())
    return (
        f"<p>{escape(hours)} that neither was trained on; faults injected: {escape(faults)}. "
        "Shares caught are at equal false alarms unless it says as shipped. Intervals are of the "
        "difference, from blocks drawn again.</p>"
    )


def _row(figure: Figure) -> tuple[str, ...]:
    percent = figure.unit == "%"

    def tell(value: float | None, sign: str = "") -> str:
        if value is None:
            return ""
        return f"{value:{sign}.1%}" if percent else f"{value:{sign}.3g}"

    gap = None if figure.champion is None else figure.challenger - figure.champion
    bounds = "" if figure.low is None else f"{tell(figure.low, '+')} to {tell(figure.high, '+')}"
    what = figure.what if percent else f"{figure.what} ({figure.unit})"
    judged = "" if figure.judged == "told" else figure.judged
    return (what, figure.ground, tell(figure.champion), tell(figure.challenger), tell(gap, "+"),
            bounds, figure.limit, judged)  # fmt: skip


def _incident(one: Incident) -> tuple[str, ...]:
    return (one.asset, iso(one.start_ms), iso(one.end_ms), *_answer(one.champion),
            *_answer(one.challenger))  # fmt: skip


def _answer(response: Response | None) -> tuple[str, str]:
    if response is None:
        return "", ""
    delay = "no alert" if response.delay_ms is None else f"{response.delay_ms / 1000:.0f} s"
    return f"{response.strength:.2f}", delay
