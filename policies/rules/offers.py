"""Rules of the catalogue: which offer may be promised to whom, when, over what and how often."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from domain.action import Offer
from domain.context import OfferState
from domain.verdict import Code, Finding
from policies.expressions import Condition
from policies.question import Question, Speaker, stamp

_PLACE = "policies/rules/offers.py"


class OfferRule(Speaker, ABC):
    """A rule about the offer that an action promises; its findings stand where the offer does."""

    stage = "eligibility"
    __slots__ = ("_offers",)

    def __init__(self, rule: str, offers: Mapping[str, Offer]) -> None:
        super().__init__(rule, _PLACE)
        self._offers = offers

    def offer(self, question: Question) -> Offer | None:
        """The offer that is asked about, if any is, and there is one of that name."""
        return self._offers.get(question.candidate.action.offer or "")

    def refuse(
        self,
        question: Question,
        code: Code,
        reason: str,
        need: str,
        clears_at: datetime | None = None,
    ) -> Finding:
        """A no, at the offer's own line."""
        finding = self.forbid(
            code, reason, read=self.reads(question), counterfactual=need, clears_at=clears_at
        )
        offer = self.offer(question)
        return replace(finding, place=offer.place) if offer and offer.place else finding

    @abstractmethod
    def reads(self, question: Question) -> Mapping[str, Any]:
        """What the rule looks at."""

    @abstractmethod
    def ask(self, question: Question) -> Finding:
        """What the rule says."""


class OfferLeft(OfferRule):
    """An offer can be promised only while there is some left and it is valid."""

    __slots__ = ()

    def __init__(self, offers: Mapping[str, Offer]) -> None:
        super().__init__("offer-left", offers)

    def reads(self, question: Question) -> Mapping[str, Any]:
        """What is left of the offer, and when it is valid."""
        name = question.candidate.action.offer
        if name is None:
            return {}
        state, offer = question.context.offers.get(name), self.offer(question)
        return {
            "offer": name,
            "left": state.left if state else 0,
            "valid_from": offer.valid_from if offer else None,
            "valid_until": offer.valid_until if offer else None,
        }

    def ask(self, question: Question) -> Finding:
        """Forbids promising what is not there."""
        name = question.candidate.action.offer
        if name is None:
            return self.passed
        offer, state = self.offer(question), question.context.offers.get(name)
        code: Code = "offer_unavailable"
        if offer is not None and offer.valid_until is not None and question.at >= offer.valid_until:
            return self.refuse(question, code, f"`{name}` has ended", "a later `valid_until`")
        if offer is None or state is None or state.left <= 0:
            return self.refuse(question, code, f"none of `{name}` is left", "more `stock`")
        if offer.valid_from is not None and question.at < offer.valid_from:
            begins = offer.valid_from
            need = f"wait until {stamp(begins)}"
            return self.refuse(question, code, f"`{name}` has not begun", need, begins)
        return self.passed


class OfferScope(OfferRule):
    """An offer is promised only by its brands and over its channels.

    What is granted without a word goes over none.
    """

    __slots__ = ()

    def __init__(self, offers: Mapping[str, Offer]) -> None:
        super().__init__("offer-scope", offers)

    def reads(self, question: Question) -> Mapping[str, Any]:
        """Whose promise it would be and over what, against whose and over what it may be."""
        offer = self.offer(question)
        if offer is None:
            return {}
        return {
            "offer": offer.name,
            "brand": question.candidate.brand,
            "brands": None if offer.brands is None else sorted(offer.brands),
            "channel": question.candidate.action.channel,
            "channels": None if offer.channels is None else sorted(offer.channels),
        }

    def ask(self, question: Question) -> Finding:
        """Forbids what the offer is not meant for."""
        offer = self.offer(question)
        if offer is None:
            return self.passed
        channel = question.candidate.action.channel
        for what, named, among in (
            ("brand", question.candidate.brand, offer.brands),
            ("channel", channel, offer.channels),
        ):
            if named is not None and among is not None and named not in among:
                reason = f"`{offer.name}` is not for {what} `{named}`"
                need = f"{what} {' or '.join(f'`{one}`' for one in sorted(among))}"
                return self.refuse(question, "not_eligible", reason, need)
        return self.passed


class OfferEligible(OfferRule):
    """Whoever is granted an offer meets its condition. Only the boolean `true` passes."""

    __slots__ = ("_conditions",)

    def __init__(self, offers: Mapping[str, Offer], conditions: Mapping[str, Condition]) -> None:
        super().__init__("offer-eligible", offers)
        self._conditions = conditions

    def condition(self, question: Question) -> Condition | None:
        """The condition of the offer that is asked about."""
        return self._conditions.get(question.candidate.action.offer or "")

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The fields the condition names, as they are; absent ones are null."""
        condition = self.condition(question)
        if condition is None:
            return {}
        fields = question.context.fields
        said = {name: fields.get(name) for name in condition.reads}
        return {"offer": question.candidate.action.offer, **said}

    def ask(self, question: Question) -> Finding:
        """Forbids where the condition is not true."""
        condition = self.condition(question)
        if condition is None or condition.evaluate(question.bound):
            return self.passed
        name = question.candidate.action.offer
        reason = f"`{name}` is not for this customer"
        return self.refuse(question, "not_eligible", reason, f"make `{condition.text}` true")


class OfferExclusive(OfferRule):
    """Of the offers of one group a person holds one at a time.

    One is held from when it is reserved until it is used, has expired or is taken back.
    """

    __slots__ = ("_rivals",)

    def __init__(self, offers: Mapping[str, Offer]) -> None:
        super().__init__("offer-exclusive", offers)
        groups: dict[str, set[str]] = {}
        for offer in offers.values():
            for group in offer.exclusive:
                groups.setdefault(group, set()).add(offer.name)
        self._rivals: Mapping[str, tuple[str, ...]] = {
            offer.name: tuple(sorted(set().union(*(groups[group] for group in offer.exclusive))))
            for offer in offers.values()
            if offer.exclusive
        }

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The groups, and which of their offers the person holds."""
        offer = self.offer(question)
        if offer is None or not offer.exclusive:
            return {}
        return {
            "offer": offer.name,
            "groups": list(offer.exclusive),
            "held": [state.name for state in self._held(question)],
        }

    def ask(self, question: Question) -> Finding:
        """Forbids a second offer of a group."""
        held = self._held(question)
        if not held:
            return self.passed
        ends = [state.until for state in held]
        until = max((end for end in ends if end is not None), default=None)
        if None in ends:
            until = None
        names = ", ".join(f"`{state.name}`" for state in held)
        need = f"{names} used or taken back"
        if until is not None:
            need += f", or wait until {stamp(until)}"
        return self.refuse(question, "exclusive", f"the customer holds {names}", need, until)

    def _held(self, question: Question) -> list[OfferState]:
        rivals = self._rivals.get(question.candidate.action.offer or "", ())
        states = [question.context.offers.get(name) for name in rivals]
        return [state for state in states if state and (state.held or state.reserved)]


class OfferPerPerson(OfferRule):
    """One person is granted an offer a limited number of times.

    All count that were ever granted, used or not, but for those taken back.
    """

    __slots__ = ()

    def __init__(self, offers: Mapping[str, Offer]) -> None:
        super().__init__("offer-per-person", offers)

    def reads(self, question: Question) -> Mapping[str, Any]:
        """How many the person was granted, and the limit."""
        offer = self.offer(question)
        if offer is None or offer.per_person is None:
            return {}
        state = question.context.offers.get(offer.name)
        return {
            "offer": offer.name,
            "given": state.given if state else 0,
            "per_person": offer.per_person,
        }

    def ask(self, question: Question) -> Finding:
        """Forbids one more than the limit."""
        offer = self.offer(question)
        if offer is None or offer.per_person is None:
            return self.passed
        state = question.context.offers.get(offer.name)
        if state is None or state.given < offer.per_person:
            return self.passed
        reason = f"the customer was granted `{offer.name}` {state.given} times"
        return self.refuse(question, "not_eligible", reason, "a higher `per_person`")


def catalogue_rules(
    offers: Mapping[str, Offer], conditions: Mapping[str, Condition]
) -> tuple[OfferRule, ...]:
    """The rules that this catalogue needs: what no offer asks for is asked of nobody."""
    found: list[OfferRule] = [OfferLeft(offers)]
    every = offers.values()
    if any(one.brands is not None or one.channels is not None for one in every):
        found.append(OfferScope(offers))
    if conditions:
        found.append(OfferEligible(offers, conditions))
    if any(one.exclusive for one in every):
        found.append(OfferExclusive(offers))
    if any(one.per_person is not None for one in every):
        found.append(OfferPerPerson(offers))
    return tuple(found)
