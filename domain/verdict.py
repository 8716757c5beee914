"""What a rule found, and what the findings add up to: `Permit`, `Hold` or `Denial`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Audience = Literal["customer", "agent", "auditor", "approver", "fraud"]
EVERYONE: tuple[Audience, ...] = ("customer", "agent", "auditor", "approver", "fraud")

Code = Literal[
    # cleared by time
    "frequency_cap",
    "quiet_hours",
    "cool_off",
    "lower_priority",
    "slot_taken",
    "paused_by_customer",
    # cleared by the person
    "consent",
    "consent_expired",
    "consent_pending",
    "consent_conflict",
    "objection",
    "restricted",
    "human_in_charge",
    # cleared otherwise
    "consent_unknown",
    "suppressed",
    "unreachable",
    "no_address",
    "not_eligible",
    "not_applicable",
    "not_suitable",
    "exclusive",
    "holdout",
    "budget",
    "offer_unavailable",
    "stale_event",
    "stale_context",
    "content",
    "mixed_purpose",
    "ai_disclosure",
    "residency",
    "human_decision",
    "needs_approval",
    "approval_rejected",
    "approval_expired",
    "permit_expired",
    "kill_switch",
    "rule_error",
    "no_policy",
    "unknown_tool",
    "merged",
    "overtaken",
    "erased",
    "pruned",
    "id_reuse",
    "unavailable",
]

CLEARED_BY: Mapping[Code, str] = {
    "frequency_cap": "time",
    "quiet_hours": "time",
    "cool_off": "time",
    "lower_priority": "time",
    "slot_taken": "time",
    "paused_by_customer": "time",
    "consent": "the person: an explicit grant",
    "consent_expired": "the person: a new grant",
    "consent_pending": "the person: confirming the grant",
    "consent_conflict": "the person: a later explicit statement",
    "objection": "the person: a later explicit grant that names the topic",
    "restricted": "the person: lifting the restriction",
    "human_in_charge": "the agent: closing the conversation",
    "consent_unknown": "an operator: define the purpose and map the channel",
    "suppressed": "an operator, where the suppression allows it",
    "unreachable": "a re-verified address",
    "no_address": "an address for this channel",
    "not_eligible": "a change in what the rule reads",
    "not_applicable": "a change in what the rule reads",
    "not_suitable": "a change in what the rule reads",
    "exclusive": "the other action ending",
    "holdout": "the experiment ending",
    "budget": "a new budget period or a higher budget",
    "offer_unavailable": "new stock or a new offer",
    "stale_event": "nothing: the event is too old to act on",
    "stale_context": "a fresh reading of the source",
    "content": "other content",
    "mixed_purpose": "removing the promotional part",
    "ai_disclosure": "adding the disclosure",
    "residency": "a provider in an allowed region",
    "human_decision": "a person deciding",
    "needs_approval": "an approval",
    "approval_rejected": "nothing: a person said no",
    "approval_expired": "a new request",
    "permit_expired": "a new pass",
    "kill_switch": "the switch being released",
    "rule_error": "an operator mending the rule",
    "no_policy": "an operator writing a policy",
    "unknown_tool": "an operator declaring the tool",
    "merged": "nothing: another journey carries on",
    "overtaken": "nothing: the contact was already made",
    "erased": "nothing: the person was erased",
    "pruned": "nothing: the record was pruned",
    "id_reuse": "the producer using a new id",
    "unavailable": "not disclosed",
}
"""What clears each code; the keys are the closed list."""

Stage = Literal["eligibility", "applicability", "suitability", "contact_policy"]
STAGES: tuple[Stage, ...] = ("eligibility", "applicability", "suitability", "contact_policy")
"""The funnel, in its order: what may be had, what fits the moment, what suits the person, and
whether they may be approached at all. Arbitration is among those who come through."""
HeldFor = Literal["time", "approval", "human"]
Instead = Literal["substitute", "escalate"]
Outcome = Literal["pass", "hold", "forbid"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule said about one candidate.

    `rule` and `place` name the rule and its `file:line`. `read` is what it looked at.
    `clears_at` is the earliest instant at which this rule alone would pass, or None.
    `counterfactual` is the smallest change that would make it pass. Outside `shown_to` the code
    reads `unavailable` and the reason is withheld. `instead` is what is to be tried in its
    place, in that order: another action that the action names, or a person.
    """

    rule: str
    outcome: Outcome
    code: Code | None = None
    reason: str = ""
    place: str = ""
    read: Mapping[str, Any] = field(default_factory=dict)
    held_for: HeldFor | None = None
    clears_at: datetime | None = None
    counterfactual: str = ""
    shown_to: tuple[Audience, ...] = EVERYONE
    instead: tuple[Instead, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether this rule has nothing against it."""
        return self.outcome == "pass"


@dataclass(frozen=True, slots=True)
class Permit:
    """A single-use licence for one proposal; dies at `not_after`; spent once, at dispatch."""

    permit_id: str
    proposal_hash: str
    policy_version: str
    not_after: datetime
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """Not now: the customer hears nothing until time passes, a person approves, or takes over.

    `next_eligible_at` is a forecast, never a promise; None where time does not clear it.
    """

    held_for: HeldFor
    findings: tuple[Finding, ...]
    next_eligible_at: datetime | None = None
    expires_at: datetime | None = None
    role: str | None = None
    quorum: int = 1


@dataclass(frozen=True, slots=True)
class Denial:
    """No, and every rule that said so."""

    findings: tuple[Finding, ...]
    next_eligible_at: datetime | None = None


Verdict = Permit | Hold | Denial


def objections(verdict: Verdict) -> tuple[Finding, ...]:
    """The findings that did not pass, the one that explains the verdict best first.

    A code that time does not clear outranks one that it does: it is what must change.
    """
    against = [finding for finding in verdict.findings if not finding.passed]
    return tuple(sorted(against, key=lambda f: (f.outcome != "forbid", f.code in _TIME_BOUND)))


_TIME_BOUND = frozenset(code for code, by in CLEARED_BY.items() if by == "time")


def is_time_bound(code: Code | None) -> bool:
    """Whether waiting alone clears this code."""
    return code in _TIME_BOUND


def disclosed(finding: Finding, audience: Audience) -> Finding:
    """The finding as this audience may see it: outside `shown_to`, `unavailable` and no more.

    The rule, its file and what it read are withheld as well: telling someone "fraud review" is
    tipping off, and so is naming the rule.
    """
    if audience in finding.shown_to:
        return finding
    return Finding(
        rule="unavailable",
        outcome=finding.outcome,
        code="unavailable",
        reason="not available",
        held_for=finding.held_for,
        shown_to=finding.shown_to,
    )
