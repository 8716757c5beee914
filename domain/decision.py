"""The record of one decision, as programs and people read it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from domain.context import PassKind
from domain.verdict import HeldFor

VerdictWord = Literal["permitted", "held", "denied", "none"]
LineVerdict = Literal["permitted", "held", "denied", "none", "duplicate", "dead"]


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision's plain columns: no personal data, everything a list needs.

    `verdict` is `none` where nothing was wanted. `rule` is the rule that decided it, `code` and
    `reason` its words. `parent_id` is the decision this pass re-opens.
    """

    decision_id: str
    event_id: str
    profile_id: str
    at: datetime
    event: str
    journey: str | None
    action: str
    tool: str | None
    channel: str | None
    verdict: VerdictWord
    held_for: HeldFor | None
    code: str | None
    reason: str
    rule: str | None
    mind: str
    next_eligible_at: datetime | None
    asked: PassKind
    parent_id: str | None
    workspace_version: str
    policy_version: str
