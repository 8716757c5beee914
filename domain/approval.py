"""A risky proposal waiting for a person, as the store's row says it: the row is the truth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

ApprovalState = Literal["pending", "approved", "rejected", "expired", "superseded", "withdrawn"]


def approval_id(decision_id: str) -> str:
    """The one request that a decision may make."""
    return f"a-{decision_id.removeprefix('d-')}"


@dataclass(frozen=True, slots=True)
class Approval:
    """`pending` until one of the ends; binds `proposal_hash`; judged by the store's clock."""

    approval_id: str
    decision_id: str
    profile_id: str
    proposal_hash: str
    policy_version: str
    rule: str
    reason: str
    role: str
    quorum: int
    action: str
    journey: str
    state: ApprovalState
    requested_at: datetime
    expires_at: datetime
    decided_at: datetime | None = None
    decided_by: str | None = None
