"""What a rule is asked, and what every rule looks like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

from domain.action import ContactKind
from domain.context import Context
from domain.proposal import Candidate, Upcoming
from domain.verdict import EVERYONE, Audience, Code, Finding, HeldFor, Instead, Stage
from policies.expressions import Bound


@dataclass(frozen=True, slots=True)
class Question:
    """May this candidate be acted on in this context?

    `purpose` is the one it is judged by: an exempt message with something promotional in it is
    judged as marketing (`mixed`). `kind`, `mandatory` and `urgent` are what it counts as, which is
    not always what the action calls itself. `at` is the instant asked about (normally
    `context.now`; a later one when forecasting). `proposal_hash` is None at screening, where
    nothing is rendered. `ahead` are the person's scheduled contacts that would pass today.
    """

    candidate: Candidate
    context: Context
    bound: Bound
    purpose: str
    mixed: bool
    kind: ContactKind
    mandatory: bool
    urgent: bool
    at: datetime
    proposal_hash: str | None = None
    ahead: tuple[Upcoming, ...] = ()


Otherwise = Literal["drop", "defer", "substitute", "escalate"]
"""What becomes of what comes too often, or at a bad hour."""

INSTEAD: Mapping[Otherwise, tuple[Instead, ...]] = {
    "drop": (),
    "defer": (),
    "substitute": ("substitute",),
    "escalate": ("escalate",),
}
"""What is tried in place of what is refused."""


class Rule(Protocol):
    """One rule. `ask` is pure; whatever it raises is a finding that forbids."""

    @property
    def id(self) -> str:
        """The rule's name, unique in its policy set."""
        ...

    @property
    def place(self) -> str:
        """`file:line` of the rule, or the module that builds it in."""
        ...

    @property
    def stage(self) -> Stage:
        """Where in the funnel it stands."""
        ...

    @property
    def shown_to(self) -> tuple[Audience, ...]:
        """Who may learn that this rule exists and what it said."""
        ...

    def ask(self, question: Question) -> Finding:
        """What this rule says."""
        ...

    def reads(self, question: Question) -> Mapping[str, Any]:
        """What this rule looks at, for the explanation."""
        ...


@runtime_checkable
class TimeBound(Protocol):
    """A rule that waiting alone can clear."""

    def clears_at(self, question: Question, at: datetime) -> datetime | None:
        """The earliest instant from `at` on at which this rule passes, if nothing else happens."""
        ...


class Speaker:
    """A rule's voice: findings that carry its name, place and audience."""

    stage: Stage = "contact_policy"
    __slots__ = ("id", "passed", "place", "shown_to")

    def __init__(self, rule: str, place: str, shown_to: tuple[Audience, ...] = EVERYONE) -> None:
        self.id = rule
        self.place = place
        self.shown_to = shown_to
        self.passed = Finding(rule=rule, outcome="pass", place=place, shown_to=shown_to)

    def forbid(
        self,
        code: Code,
        reason: str,
        *,
        read: Mapping[str, Any],
        counterfactual: str = "",
        clears_at: datetime | None = None,
        instead: tuple[Instead, ...] = (),
    ) -> Finding:
        """This rule says no."""
        return Finding(
            self.id,
            "forbid",
            code,
            reason,
            self.place,
            read,
            None,
            clears_at,
            counterfactual,
            self.shown_to,
            instead,
        )

    def hold(
        self,
        code: Code,
        reason: str,
        held_for: HeldFor,
        *,
        read: Mapping[str, Any],
        counterfactual: str = "",
        clears_at: datetime | None = None,
    ) -> Finding:
        """This rule says not now."""
        return Finding(
            self.id,
            "hold",
            code,
            reason,
            self.place,
            read,
            held_for,
            clears_at,
            counterfactual,
            self.shown_to,
        )


def stamp(at: datetime | None) -> str:
    """An instant as counterfactuals write it; empty for None."""
    return "" if at is None else at.strftime("%Y-%m-%d %H:%M:%SZ")
