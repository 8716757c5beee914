"""Budgets: what may be given away in a period, whoever gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.action import Money
from domain.budget import Budget
from domain.proposal import Candidate
from domain.verdict import EVERYONE, Audience, Finding
from policies.question import Question, Speaker, stamp


class BudgetLeft(Speaker):
    """An offer is promised only while every budget it falls under has that much left.

    What was reserved counts as spent until it is released; see `domain/budget.py`.
    """

    stage = "eligibility"
    __slots__ = ("budget", "reason")

    def __init__(
        self,
        rule: str,
        place: str,
        *,
        budget: Budget,
        reason: str,
        shown_to: tuple[Audience, ...] = EVERYONE,
    ) -> None:
        super().__init__(rule, place, shown_to)
        self.budget = budget
        self.reason = reason

    @property
    def names(self) -> Mapping[str, frozenset[str]]:
        """What it names, for the check that all of it exists."""
        of = self.budget
        scope = (("journeys", of.journeys), ("teams", of.teams), ("brands", of.brands))
        return {what: named for what, named in scope if named is not None}

    def reads(self, question: Question) -> Mapping[str, Any]:
        """What is spent of it in this period, and what this would add."""
        spending = question.context.budgets.get(self.id)
        amount = question.candidate.amount
        return {
            "budget": str(self.budget.amount),
            "spent": spending.spent if spending else None,
            "asked": str(amount) if amount else None,
            "period": self.budget.began(question.at),
        }

    def ask(self, question: Question) -> Finding:
        """Forbids promising money that is not there."""
        amount = question.candidate.amount
        if amount is None or not self.covers(question.candidate, question.purpose):
            return self.passed
        limit, spending = self.budget.amount, question.context.budgets.get(self.id)
        if amount.currency != limit.currency:
            return self._refuse(question, f"it is in {limit.currency}", "a budget in its currency")
        if spending is None:
            return self._refuse(question, "what is spent of it is not known", "read it")
        over = spending.spent + amount.amount - limit.amount
        if over <= 0:
            return self.passed
        need = f"{Money(over, limit.currency)} more"
        until = self.budget.ends_at(question.at)
        return self._refuse(
            question,
            "it is spent",
            need if until is None else f"{need}, or wait for {stamp(until)}",
        )

    def covers(self, candidate: Candidate, purpose: str) -> bool:
        """Whether what is given, judged by this purpose, is paid out of this budget."""
        of = self.budget
        return (
            (of.purposes is None or purpose in of.purposes)
            and (of.journeys is None or candidate.journey in of.journeys)
            and (of.teams is None or candidate.team in of.teams)
            and (of.brands is None or candidate.brand in of.brands)
        )

    def _refuse(self, question: Question, why: str, need: str) -> Finding:
        return self.forbid(
            "budget",
            f"{self.reason}: {why}",
            read=self.reads(question),
            counterfactual=need,
            clears_at=self.budget.ends_at(question.at),
        )
