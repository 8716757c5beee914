"""One policy that every peer is given: ten conditions that must all be true."""

from __future__ import annotations

from typing import Any

CONDITIONS: tuple[tuple[str, str, str, Any], ...] = (
    ("r0", "signal.open_cases", "==", 0),
    ("r1", "event.value", ">=", 20.0),
    ("r2", "profile.vulnerable", "==", False),
    ("r3", "signal.contacts_7d", "<", 5),
    ("r4", "signal.opted_out", "==", False),
    ("r5", "profile.plan", "in", ("basic", "plus")),
    ("r6", "signal.events_before", ">=", 0),
    ("r7", "signal.shared_address", "==", False),
    ("r8", "profile.age", ">=", 18),
    ("r9", "profile.city", "!=", "Nowhere"),
)
"""Rule id, field, comparison, value."""

FACTS: dict[str, Any] = {
    "signal.open_cases": 0,
    "signal.contacts_7d": 1,
    "signal.opted_out": False,
    "signal.events_before": 12,
    "signal.shared_address": False,
    "event.value": 80.0,
    "profile.vulnerable": False,
    "profile.plan": "basic",
    "profile.age": 30,
    "profile.city": "Bonn",
}
"""A customer for whom all of them are true."""


def literal(value: Any) -> str:
    """A value as CEL, Rego and JSON write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(literal(one) for one in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def nested() -> dict[str, dict[str, Any]]:
    """The facts by root."""
    roots: dict[str, dict[str, Any]] = {}
    for name, value in FACTS.items():
        root, last = name.split(".")
        roots.setdefault(root, {})[last] = value
    return roots
