"""The guard: every rule is asked, and only here is a permit minted.

    screen    before anything is chosen: which candidates could pass
    review    the chosen proposal, to the letter: `Permit`, `Hold` or `Denial`
    dispatch  the moment of sending: is the permit still good?

All three are pure: (proposal, context, policies) in, verdict out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeGuard

from domain.action import ContactKind, Offer
from domain.context import Context, Pass
from domain.proposal import Candidate, Proposal, Upcoming
from domain.verdict import (
    Code,
    Denial,
    Finding,
    Hold,
    Permit,
    Verdict,
    is_time_bound,
    objections,
)
from domain.windows import Calendar
from policies.expressions import Binder, Bound, Condition, merged
from policies.hours import HORIZON
from policies.policy_set import PolicySet
from policies.question import Question, Rule, TimeBound
from policies.rules.budgets import BudgetLeft
from policies.rules.caps import FrequencyCap
from policies.rules.consent import (
    ConsentRule,
    ExemptCeiling,
    Paused,
    Reachable,
    SuppressionRule,
)
from policies.rules.engagement import (
    ApprovalRule,
    EngagementRule,
    HumanDecision,
)
from policies.rules.look_ahead import LookAhead
from policies.rules.offers import OfferEligible, catalogue_rules
from policies.rules.quiet import QuietHours
from policies.rules.standing import (
    AccessNeed,
    HumanInCharge,
    KillSwitch,
    KnownTool,
    PolicyExists,
    Restricted,
    SharedAddress,
    StillWanted,
)

PERMIT_TTL = timedelta(seconds=60)
FORECAST_ROUNDS_MAX = 8


@dataclass(frozen=True, slots=True)
class Screening:
    """One candidate with what every rule said about it before the choice."""

    candidate: Candidate
    findings: tuple[Finding, ...]

    @property
    def forbidden(self) -> bool:
        """Whether nothing but a change would let it pass."""
        return any(finding.outcome == "forbid" for finding in self.findings)


class Guard:
    """Judges candidates and proposals under one policy set and its offers."""

    def __init__(
        self,
        policies: PolicySet,
        offers: Mapping[str, Offer],
        eligible: Mapping[str, Condition] | None = None,
    ) -> None:
        """A guard by these policies.

        Args:
            eligible: the compiled conditions of those offers that have one.
        """
        self.policies = policies
        self.offers = offers
        entitling = eligible or {}
        self.rules: tuple[Rule, ...] = (
            KnownTool(),
            PolicyExists(policies),
            KillSwitch(),
            StillWanted(policies),
            Restricted(),
            HumanInCharge(),
            AccessNeed(policies),
            SharedAddress(),
            Reachable(policies),
            ConsentRule(policies),
            Paused(policies),
            ExemptCeiling(policies),
            SuppressionRule(policies),
            SuppressionRule(policies, confidential=True),
            *policies.rules,
            *catalogue_rules(offers, entitling),
            HumanDecision(),
            *policies.approvals,
        )
        self._budgets = tuple(rule for rule in policies.rules if isinstance(rule, BudgetLeft))
        self._looks_ahead = any(isinstance(rule, LookAhead) for rule in policies.rules)
        self._time_bound = tuple(rule for rule in self.rules if isinstance(rule, TimeBound))
        # Bound once: every verdict asks all of them.
        self._asks = tuple(rule.ask for rule in self.rules)
        self._closing = tuple(rule for rule in self.rules if _closes(rule))
        conditions = [rule.condition for rule in self.rules if isinstance(rule, EngagementRule)]
        self._binder = Binder(merged([*conditions, *entitling.values()]))

    def screen(
        self, candidates: Sequence[Candidate], context: Context, upcoming: Sequence[Upcoming] = ()
    ) -> tuple[Screening, ...]:
        """What every rule says about every candidate, in the candidates' order.

        Args:
            upcoming: the person's scheduled contacts; those that would pass today count.
        """
        if not candidates:
            return ()  # as for most events: nothing is made ready for nobody
        bound, ahead = self._bind(context), self._ahead(context, upcoming)
        return tuple(
            Screening(candidate, self._ask(self._question(candidate, context, bound, ahead=ahead)))
            for candidate in candidates
        )

    def review(
        self, proposal: Proposal, context: Context, upcoming: Sequence[Upcoming] = ()
    ) -> Verdict:
        """The verdict on one proposal; the only place where a permit is minted."""
        ahead = self._ahead(context, upcoming)
        question = self._question(
            proposal.candidate, context, self._bind(context), proposal.hash, ahead
        )
        findings = self._ask(question)
        against = [finding for finding in findings if finding.outcome != "pass"]
        if not against:
            return self._mint(question, proposal, findings)
        if any(finding.outcome == "forbid" for finding in against):
            return Denial(findings, self._next_eligible_at(question, findings))
        return self._hold(question, findings, against)

    def dispatch(
        self,
        permit: Permit,
        proposal: Proposal,
        context: Context,
        upcoming: Sequence[Upcoming] = (),
    ) -> Code | None:
        """Asked again at the moment of sending: None, or the code that cancels the sending.

        The caller has established that the permit is unspent; this asks whether it is still
        alive and whether every rule still passes in the context of this instant.
        """
        if permit.proposal_hash != proposal.hash or context.now >= permit.not_after:
            return "permit_expired"
        verdict = self.review(proposal, context, upcoming)
        if isinstance(verdict, Permit):
            return None
        return objections(verdict)[0].code

    def forecast(
        self, candidate: Candidate, context: Context, upcoming: Sequence[Upcoming] = ()
    ) -> datetime | None:
        """When this candidate could pass, if time alone stands in its way."""
        ahead = self._ahead(context, upcoming)
        question = self._question(candidate, context, self._bind(context), ahead=ahead)
        return self._next_eligible_at(question, self._ask(question))

    def judged(self, candidate: Candidate) -> tuple[str, bool]:
        """The purpose a candidate is judged by, and whether that is not the one it names.

        A message that carries an offer or a promotion where nobody said yes to its purpose, for
        it is exempt or goes by silence, is judged as marketing.
        """
        action = candidate.action
        purpose = self.policies.purposes.get(action.purpose)
        unasked = purpose is not None and not purpose.marketing and purpose.model != "opt_in"
        mixed = unasked and action.is_promotional
        return (self.policies.promotion if mixed else action.purpose), mixed

    def paid_by(self, candidate: Candidate) -> tuple[str, ...]:
        """The budgets out of which a candidate's offer is paid."""
        if candidate.amount is None or candidate.action.offer is None:
            return ()
        purpose, _ = self.judged(candidate)
        return tuple(rule.id for rule in self._budgets if rule.covers(candidate, purpose))

    def kind(self, candidate: Candidate) -> ContactKind:
        """The kind that a candidate counts as, whatever it calls itself.

        A message to an address is a contact, and one without an address a presentation, unless it
        is a reply or a notice that promotes nothing.
        """
        action = candidate.action
        if action.tool != "message" or action.kind == "contact":
            return action.kind
        if action.kind in ("reply", "notice") and not self._is_promotion(*self.judged(candidate)):
            return action.kind
        channel = self.policies.channels.get(action.channel or "")
        return "presentation" if channel and channel.address == "none" else "contact"

    def ask_in_full(
        self,
        candidate: Candidate,
        context: Context,
        proposal_hash: str | None = None,
        upcoming: Sequence[Upcoming] = (),
    ) -> tuple[Finding, ...]:
        """Every rule's finding with what it read, passing ones included: for explanations."""
        ahead = self._ahead(context, upcoming)
        question = self._question(candidate, context, self._bind(context), proposal_hash, ahead)
        return tuple(
            replace(finding, read=rule.reads(question)) if finding.passed else finding
            for rule, finding in zip(self.rules, self._ask(question), strict=True)
        )

    def _bind(self, context: Context) -> Bound:
        return self._binder.bind(context.fields)

    def _ahead(self, context: Context, upcoming: Sequence[Upcoming]) -> tuple[Upcoming, ...]:
        """Those scheduled contacts that nothing but time stands in the way of, each judged today
        about its own event, and none by what is scheduled beside it."""
        if not upcoming or not self._looks_ahead:
            return ()
        return tuple(one for one in upcoming if self._would_pass(one, context))

    def _would_pass(self, one: Upcoming, context: Context) -> bool:
        others = {k: v for k, v in context.fields.items() if not k.startswith("event.")}
        asked = Pass("release", want=one.candidate.action.name, expires_at=one.expires_at)
        judged = replace(context, fields={**others, **one.fields}, asked=asked)
        question = self._question(one.candidate, judged, self._bind(judged))
        findings = self._ask(question)
        if all(finding.passed for finding in findings):
            return True
        at = self._next_eligible_at(question, findings)
        return at is not None and at < one.expires_at

    def _question(
        self,
        candidate: Candidate,
        context: Context,
        bound: Bound,
        proposal_hash: str | None = None,
        ahead: tuple[Upcoming, ...] = (),
    ) -> Question:
        judged, mixed = self.judged(candidate)
        # Marketing is never mandatory, nor urgent.
        privileged = not self._is_promotion(judged, mixed)
        return Question(
            candidate=candidate,
            context=context,
            bound=bound,
            purpose=judged,
            mixed=mixed,
            kind=self.kind(candidate),
            mandatory=privileged and candidate.action.mandatory,
            urgent=privileged and candidate.action.urgency == "now",
            at=context.now,
            proposal_hash=proposal_hash,
            ahead=ahead,
        )

    def _is_promotion(self, judged: str, mixed: bool) -> bool:
        purpose = self.policies.purposes.get(judged)
        return mixed or (purpose is not None and purpose.marketing)

    def _ask(self, question: Question) -> tuple[Finding, ...]:
        try:
            findings = [ask(question) for ask in self._asks]
        except Exception:  # noqa: BLE001 - then each is asked by itself: rules are pure
            findings = [_asked(rule, question) for rule in self.rules]
        if question.context.stale and self.policies.is_marketing(question.purpose):
            findings = [
                _fresh(rule, question, finding)
                for rule, finding in zip(self.rules, findings, strict=True)
            ]
        return tuple(findings)

    def _mint(
        self, question: Question, proposal: Proposal, findings: tuple[Finding, ...]
    ) -> Permit:
        context = question.context
        return Permit(
            # Time first, so that permits of one moment lie on one page of the store.
            permit_id=f"permit-{int(context.now.timestamp() * 1000):012x}{context.seed:016x}",
            proposal_hash=proposal.hash,
            policy_version=self.policies.version,
            not_after=self._not_after(question),
            findings=findings,
        )

    def _not_after(self, question: Question) -> datetime:
        """When a permit dies: soon, and before anything that it rests on ends."""
        candidate, context = question.candidate, question.context
        ends = [context.now + PERMIT_TTL]
        offer = self.offers.get(candidate.action.offer or "")
        if offer is not None and offer.valid_until is not None:
            ends.append(offer.valid_until)
        ends += [rule.closes_at(question) for rule in self._closing]
        ends += [line.expires_at for line in context.consents if line.expires_at is not None]
        ends += [
            instance.ends_at
            for instance in context.instances
            if (instance.journey, instance.key) == (candidate.journey, candidate.instance)
        ]
        return min([end for end in ends if end > context.now])

    def _hold(
        self, question: Question, findings: tuple[Finding, ...], holds: list[Finding]
    ) -> Hold:
        action = question.candidate.action
        expires_at = question.context.asked.expires_at or question.context.now + action.defer_for
        for held_for in ("human", "time"):
            if any(finding.held_for == held_for for finding in holds):
                at = self._next_eligible_at(question, findings)
                return Hold(held_for, findings, at, expires_at)
        asking = [
            rule
            for rule in self.policies.approvals
            if isinstance(rule, ApprovalRule) and any(f.rule == rule.id for f in holds)
        ]
        if not asking:  # nobody is named who may say yes: nobody may
            return Hold("human", findings, None, expires_at)
        strictest = max(asking, key=lambda rule: (rule.quorum, rule.id))
        return Hold(
            "approval",
            findings,
            None,
            question.context.now + min(rule.expires_in for rule in asking),
            strictest.role,
            strictest.quorum,
        )

    def _next_eligible_at(
        self, question: Question, findings: tuple[Finding, ...]
    ) -> datetime | None:
        against = [finding for finding in findings if not finding.passed]
        if not against or not all(is_time_bound(finding.code) for finding in against):
            return None
        at = question.at
        for _ in range(FORECAST_ROUNDS_MAX):
            latest = at
            for rule in self._time_bound:
                clear = rule.clears_at(question, at)
                if clear is None:
                    return None
                latest = max(latest, clear)
            if latest == at:
                return at
            if latest > question.at + HORIZON:
                return None
            at = latest
        return None


def _closes(rule: Rule) -> TypeGuard[FrequencyCap | QuietHours]:
    """Whether what passes it now may not pass it a little later."""
    if isinstance(rule, FrequencyCap):
        return isinstance(rule.scope.window, Calendar)
    return isinstance(rule, QuietHours)


def _fresh(rule: Rule, question: Question, finding: Finding) -> Finding:
    """The finding, or a no where what it was found by is out of date; another no says more."""
    condition = _condition(rule, question)
    if finding.outcome == "forbid" or condition is None:
        return finding
    stale = question.context.stale
    name = next((name for name in condition.reads if name in stale), None)
    if name is None:
        return finding
    # What such a rule finds may have changed since, and nobody would know.
    return Finding(
        rule.id,
        "forbid",
        "stale_context",
        f"`{name}` may be out of date: source `{stale[name]}` has told nothing for longer than its "
        "`max_lag`",
        condition.place if isinstance(rule, OfferEligible) else rule.place,
        rule.reads(question),
        counterfactual=f"an event from source `{stale[name]}`",
        shown_to=rule.shown_to,
    )


def _condition(rule: Rule, question: Question) -> Condition | None:
    """The condition by which a rule judges this question, if it does by one."""
    if isinstance(rule, OfferEligible):
        return rule.condition(question)
    if isinstance(rule, EngagementRule) and not rule.concerns(question):
        return None
    return rule.condition if isinstance(rule, EngagementRule | ApprovalRule) else None


def _asked(rule: Rule, question: Question) -> Finding:
    try:
        return rule.ask(question)
    except Exception as error:  # noqa: BLE001 - whatever a rule raises must forbid, not pass
        return Finding(
            rule.id,
            "forbid",
            "rule_error",
            f"the rule failed ({type(error).__name__})",
            rule.place,
            counterfactual="mend the rule",
            shown_to=rule.shown_to,
        )
