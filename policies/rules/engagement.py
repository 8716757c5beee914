"""Rules that a workspace writes: CEL conditions for engagement and approval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from domain.verdict import EVERYONE, Audience, Code, Finding, Stage
from policies.expressions import Condition
from policies.question import Question, Speaker

_CODES: Mapping[Stage, Code] = {
    "eligibility": "not_eligible",
    "applicability": "not_applicable",
    "suitability": "not_suitable",
}


class EngagementRule(Speaker):
    """A condition that must be true. Only the boolean `true` passes."""

    __slots__ = ("_scoped", "condition", "reason", "scope", "stage")

    def __init__(
        self,
        rule: str,
        place: str,
        *,
        stage: Stage,
        condition: Condition,
        reason: str,
        scope: Mapping[str, frozenset[str] | None],
        shown_to: tuple[Audience, ...] = EVERYONE,
    ) -> None:
        super().__init__(rule, place, shown_to)
        self.stage = stage
        self.condition = condition
        self.reason = reason
        self.scope = scope
        self._scoped = tuple((name, wanted) for name, wanted in scope.items() if wanted is not None)

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The fields the condition names, as they are; absent ones are null."""
        return _read(self.condition, question)

    def ask(self, question: Question) -> Finding:
        """Forbids where the condition is not true."""
        if not self.concerns(question) or self.condition.evaluate(question.bound):
            return self.passed
        return self.forbid(
            _CODES[self.stage],
            self.reason,
            read=self.reads(question),
            counterfactual=f"make `{self.condition.text}` true",
        )

    def concerns(self, question: Question) -> bool:
        """Whether the rule is about this action, purpose, channel and journey."""
        for name, wanted in self._scoped:  # noqa: SIM110 - every verdict asks it of every condition
            if _VALUE[name](question) not in wanted:
                return False
        return True


_VALUE: Mapping[str, Callable[[Question], str | None]] = {
    "actions": lambda question: question.candidate.action.name,
    "purposes": lambda question: question.purpose,
    "channels": lambda question: question.candidate.action.channel,
    "journeys": lambda question: question.candidate.journey,
}


class ApprovalRule(Speaker):
    """Where the condition is true, a person must have said yes to this very proposal."""

    __slots__ = ("condition", "expires_in", "quorum", "reason", "role")

    def __init__(
        self,
        rule: str,
        place: str,
        *,
        condition: Condition,
        reason: str,
        role: str,
        quorum: int,
        expires_in: timedelta,
        shown_to: tuple[Audience, ...] = EVERYONE,
    ) -> None:
        super().__init__(rule, place, shown_to)
        self.condition = condition
        self.reason = reason
        self.role = role
        self.quorum = quorum
        self.expires_in = expires_in

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The fields the condition names, and what has been said about the proposal."""
        facts = [
            fact
            for fact in question.context.approvals
            if fact.proposal_hash == question.proposal_hash
        ]
        said = {fact.approval_id: fact.state for fact in facts}
        return {**_read(self.condition, question), "approvals": said}

    def ask(self, question: Question) -> Finding:
        """Holds for a person; a rejection or an expiry forbids."""
        fields = {**question.context.fields, **action_fields(question)}
        if not self.condition.holds(fields):
            return self.passed
        facts = [
            fact
            for fact in question.context.approvals
            if question.proposal_hash is not None and fact.proposal_hash == question.proposal_hash
        ]
        if any(fact.state == "approved" for fact in facts):
            return self.passed
        if any(fact.state == "rejected" for fact in facts):
            return self.forbid("approval_rejected", "a person said no", read=self.reads(question))
        if question.context.asked.kind == "approval" and any(
            fact.state == "expired" for fact in facts
        ):
            return self.forbid(
                "approval_expired", "nobody answered in time", read=self.reads(question)
            )
        return self.hold(
            "needs_approval",
            self.reason,
            "approval",
            read=self.reads(question),
            counterfactual=f"an approval by role `{self.role}`",
        )


class HumanDecision(Speaker):
    """Granting something with legal or similar weight is never a machine's decision alone."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("human-decision", "policies/rules/engagement.py")

    def reads(self, question: Question) -> Mapping[str, Any]:
        """How much the action weighs."""
        return {"action.significance": question.candidate.action.significance}

    def ask(self, question: Question) -> Finding:
        """Holds for a person until one has approved this very proposal."""
        if question.candidate.action.significance == "none":
            return self.passed
        approved = any(
            fact.state == "approved" and fact.proposal_hash == question.proposal_hash
            for fact in question.context.approvals
            if question.proposal_hash is not None
        )
        if approved:
            return self.passed
        return self.hold(
            "human_decision",
            "this weighs enough that a person decides",
            "approval",
            read=self.reads(question),
        )


def action_fields(question: Question) -> dict[str, Any]:
    """What approval rules may read about the action itself; `action.amount` is in minor units."""
    candidate = question.candidate
    return {
        "action.name": candidate.action.name,
        "action.tool": candidate.action.tool,
        "action.channel": candidate.action.channel or "",
        "action.purpose": candidate.action.purpose,
        "action.amount": candidate.amount.amount if candidate.amount else 0,
    }


def _read(condition: Condition, question: Question) -> dict[str, Any]:
    fields = {**question.context.fields, **action_fields(question)}
    return {name: fields.get(name) for name in condition.reads}
