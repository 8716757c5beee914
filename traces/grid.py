"""The funnel of one decision: at which stage each candidate was filtered, and by which rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from domain.verdict import STAGES, Audience, Finding, Stage, disclosed
from traces.explain import Explanation, Weighed

PASSES = "passes"
ARBITRATION = "arbitration"


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate: each stage's findings that did not pass, and how it fared in arbitration.

    `arbitration` is empty for what did not come so far.
    """

    action: str
    by: str
    against: dict[Stage, tuple[Finding, ...]]
    arbitration: str


def grid(explanation: Explanation) -> tuple[Row, ...]:
    """The candidates, best first. Every rule is asked, so a row may be filtered at many stages."""
    return tuple(_row(one, explanation.candidates) for one in explanation.candidates)


def _row(one: Weighed, candidates: tuple[Weighed, ...]) -> Row:
    against: dict[Stage, tuple[Finding, ...]] = dict.fromkeys(STAGES, ())
    for finding, stage in zip(one.findings, one.stages, strict=True):
        if not finding.passed:
            against[stage] = (*against[stage], finding)
    return Row(one.action, one.channel or one.tool, against, _fared(one, candidates))


def _fared(one: Weighed, candidates: tuple[Weighed, ...]) -> str:
    if one.note:
        return one.note
    if any(finding.outcome == "forbid" for finding in one.findings):
        return ""
    chosen = next((other for other in candidates if other.note == "chosen"), None)
    return "not chosen" if chosen is None else f"lost to {chosen.action}"


def grid_json(explanation: Explanation, audience: Audience) -> list[dict[str, Any]]:
    """The grid as plain data: by stage the rules against each candidate, as this audience may see
    them; empty for the customer, whom scores and rules are not for."""
    if audience == "customer":
        return []
    return [
        {
            "action": row.action,
            "by": row.by,
            **{
                stage: [
                    {"rule": shown.rule, "outcome": shown.outcome, "code": shown.code}
                    for shown in (disclosed(finding, audience) for finding in found)
                ]
                for stage, found in row.against.items()
            },
            ARBITRATION: row.arbitration or None,
        }
        for row in grid(explanation)
    ]


def grid_text(explanation: Explanation, audience: Audience) -> str:
    """The grid as a table, with the journeys that were not entered below it."""
    if audience == "customer":
        return "the grid is not for customers"
    rows = grid(explanation)
    if not rows and not explanation.not_entered:
        return "nothing was considered: the event triggers no journey"
    table = [["", "", *(stage.replace("_", " ") for stage in STAGES), ARBITRATION]]
    for row in rows:
        cells = (_cell(row.against[stage], audience) for stage in STAGES)
        table.append([row.action, row.by, *cells, row.arbitration or "-"])
    lines = list(columns(table))
    lines += [f"journey {name} was not entered: {why}" for name, why in explanation.not_entered]
    return "\n".join(lines)


def _cell(against: tuple[Finding, ...], audience: Audience) -> str:
    """What one stage said: the rules against it, and `waits` where all of them only hold it."""
    if not against:
        return PASSES
    rules = ", ".join(dict.fromkeys(disclosed(finding, audience).rule for finding in against))
    return rules if any(f.outcome == "forbid" for f in against) else f"waits: {rules}"


def columns(table: list[list[str]]) -> Iterator[str]:
    """A table's rows with their columns aligned, the last one ragged."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
