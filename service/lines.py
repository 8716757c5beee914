"""One line a decision: for programs as JSON, for people in columns."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from agents.steps import Line
from domain.action import NO_ACTION
from service.inputs import DeadRow

_COLUMNS = (16, 20, 14, 20, 10)


def as_json(item: Line | DeadRow) -> dict[str, Any]:
    """What `--json` prints for one event; a dead letter's `decision_id` is null."""
    if isinstance(item, DeadRow):
        return _dead(item.event_id, item.place, item.reason, item.cause, item.remedy)
    if item.decision is None:
        refused = item.refused
        assert refused is not None
        return _dead(
            item.event_id, refused.place, refused.reason, refused.cause, refused.remedy
        )
    decision = item.decision
    return {
        "decision_id": decision.decision_id,
        "event_id": item.event_id,
        "profile_id": decision.profile_id,
        "at": _stamp(decision.at),
        "event": decision.event,
        "journey": decision.journey,
        "action": decision.action,
        "tool": decision.tool,
        "channel": decision.channel,
        "verdict": item.verdict,
        "held_for": decision.held_for,
        "code": decision.code,
        "reason": decision.reason,
        "rule": decision.rule,
        "mind": decision.mind,
        "next_eligible_at": _stamp(decision.next_eligible_at),
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
    decision = item.decision
    action = "no action" if decision.action == NO_ACTION else decision.action
    cells = (
        f"{decision.at:%Y-%m-%d %H:%M}",
        decision.event,
        who or decision.profile_id,
        action,
        item.verdict,
    )
    head = "  ".join(
        f"{cell[:width]:<{width}}" for cell, width in zip(cells, _COLUMNS, strict=True)
    )
    return f"{head}  {_reason(item):<44}  {decision.decision_id}"


def who(line: Line) -> str | None:
    """How the customer is called in the event itself: its first identifier."""
    identifiers = line.arrival.event.identifiers
    return identifiers[0].value if identifiers else None


def summary(counts: Counter[str], rows: int) -> list[str]:
    """The table at the end: every row in is accounted for."""
    lines = [f"{word:<12}{counts[word]:>9}" for word in _ORDER if counts[word]]
    return [*lines, f"{'rows in':<12}{rows:>9}"]


_ORDER = ("permitted", "held", "denied", "none", "duplicate", "dead")


def _reason(item: Line) -> str:
    decision = item.decision
    assert decision is not None
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


def _stamp(at: datetime | None) -> str | None:
    if at is None:
        return None
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
