"""One line a decision: for programs as JSON, for people in columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents.steps import Line
from domain.action import NO_ACTION
from domain.decision import Decision, LineVerdict
from service.inputs import DeadRow

Printed = Iterator[str | dict[str, Any]]
"""What a command prints: text for people, or plain data for programs, a line each."""

_COLUMNS = (16, 20, 14, 20, 10)


@dataclass(frozen=True, slots=True)
class Quoted:
    """A decision with the verdict that its line shows (`duplicate` where it was made before)."""

    decision: Decision
    verdict: LineVerdict


def as_json(item: Line | DeadRow) -> dict[str, Any]:
    """What `--json` prints for one event; a dead letter's `decision_id` is null."""
    if isinstance(item, DeadRow):
        return _dead(item.event_id, item.place, item.reason, item.cause, item.remedy)
    if item.decision is None:
        refused = item.refused
        assert refused is not None
        return _dead(item.event_id, refused.place, refused.reason, refused.cause, refused.remedy)
    return quoted_json(Quoted(item.decision, item.verdict))


def quoted_json(quoted: Quoted) -> dict[str, Any]:
    """What `--json` prints for one decision."""
    decision = quoted.decision
    return {
        "decision_id": decision.decision_id,
        "event_id": decision.event_id or None,
        "profile_id": decision.profile_id,
        "at": stamp(decision.at),
        "event": decision.event,
        "journey": decision.journey,
        "action": decision.action,
        "tool": decision.tool,
        "channel": decision.channel,
        "verdict": quoted.verdict,
        "held_for": decision.held_for,
        "code": decision.code,
        "reason": decision.reason,
        "rule": decision.rule,
        "mind": decision.mind,
        "next_eligible_at": stamp(decision.next_eligible_at),
        "pass": decision.asked,
        "parent_id": decision.parent_id,
    }


def as_text(item: Line | DeadRow, who: str | None = None) -> str:
    """The aligned line that a person reads; the reason is always shown, the id comes last."""
    if isinstance(item, DeadRow):
        return f"{'-':<16}  {'dead letter':<20}  {item.place}: {item.cause}"
    if item.decision is None:
        refused = item.refused
        assert refused is not None
        return f"{'-':<16}  {'dead letter':<20}  {refused.place}: {refused.cause}"
    return quoted_text(Quoted(item.decision, item.verdict), who)


def quoted_text(quoted: Quoted, who: str | None = None) -> str:
    """One decision's aligned line."""
    decision = quoted.decision
    action = "no action" if decision.action == NO_ACTION else decision.action
    cells = (
        f"{decision.at:%Y-%m-%d %H:%M}",
        decision.event,
        who or decision.profile_id,
        action,
        quoted.verdict,
    )
    head = "  ".join(
        f"{_short(cell, width):<{width}}" for cell, width in zip(cells, _COLUMNS, strict=True)
    )
    return f"{head}  {printable(_reason(decision)):<44}  {decision.decision_id}"


def printable(text: str) -> str:
    """The text without anything that a terminal would act on."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _short(text: str, width: int) -> str:
    """The text in that many columns, without anything a terminal would act on."""
    text = printable(text)
    return text if len(text) <= width else f"{text[: width - 1]}…"


def who(line: Line) -> str | None:
    """How the customer is called in the event itself: its first identifier."""
    identifiers = line.arrival.event.identifiers
    return identifiers[0].value if identifiers else None


def summary(counts: Counter[str], rows: int, passes: Counter[str]) -> list[str]:
    """The table at the end: rows in = decisions + duplicates + dead letters.

    Later passes over earlier events are decisions too, and are counted beside.
    """
    words = [word for word in _ORDER if counts[word] or passes[word]]
    later = f"{'later passes':>14}" if passes else ""
    lines = [f"{'':<12}{'rows':>9}{later}"] if passes else []
    for word in words:
        beside = f"{passes[word]:>14}" if passes else ""
        lines.append(f"{word:<12}{counts[word]:>9}{beside}")
    return [*lines, f"{'rows in':<12}{rows:>9}"]


_ORDER = ("permitted", "held", "denied", "none", "duplicate", "dead")


def _reason(decision: Decision) -> str:
    words = decision.reason
    if decision.next_eligible_at is not None and f"{decision.next_eligible_at:%H:%M}" not in words:
        words = f"{words} (from {decision.next_eligible_at:%Y-%m-%d %H:%MZ})"
    return words


def _dead(
    event_id: str | None, place: str | None, reason: str, cause: str, remedy: str | None
) -> dict[str, Any]:
    keys = (
        "profile_id", "at", "event", "journey", "action", "tool", "channel",
    )  # fmt: skip
    return {
        "decision_id": None,
        "event_id": event_id,
        **dict.fromkeys(keys),
        "verdict": "dead",
        "held_for": None,
        "code": reason,
        "reason": cause,
        "rule": None,
        "mind": None,
        "next_eligible_at": None,
        "pass": None,
        "parent_id": None,
        "place": place,
        "remedy": remedy,
    }


def stamp(at: datetime | None) -> str | None:
    """An instant as programs read it: UTC, milliseconds."""
    if at is None:
        return None
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
