"""Consent, permission to personalise, and suppression: may this person be approached at all?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from domain.action import Action
from domain.consent import RESTRICTING, ConsentAnswer, ConsentQuestion, answer
from domain.context import Suppression
from domain.verdict import EVERYONE, Code, Finding
from policies.policy_set import ConsentTerms, PolicySet, Purpose
from policies.question import Question, Speaker, stamp

PERSONALISE = "personalise"
_PLACE = "policies/rules/consent.py"

_CODES: Mapping[str, tuple[Code, str]] = {
    "denied": ("consent", "the customer said no"),
    "objection": ("objection", "the customer objected to this"),
    "pending": ("consent_pending", "the customer has not confirmed yet"),
    "expired": ("consent_expired", "the customer's yes has expired"),
    "conflict": ("consent_conflict", "the customer's answers contradict each other"),
    "unset": ("consent", "the customer never said yes"),
}


class ConsentRule(Speaker):
    """The consent ledger, under every model that holds for purpose, channel and jurisdictions.

    `opt_in` passes only on a grant; `opt_out` on silence too, where its basis holds; `exempt`
    needs none. An exempt message with something promotional in it is judged as marketing: where
    that fails, the code is `mixed_purpose`, because the remedy is to take the promotion out.
    """

    __slots__ = ("_policies",)

    def __init__(self, policies: PolicySet) -> None:
        super().__init__("consent", _PLACE)
        self._policies = policies

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The question put to the ledger, the lines that answer it, and the models that hold."""
        asked = _question(question, question.purpose)
        said = self._answer(question, question.purpose)
        purpose = self._policies.purposes.get(question.purpose)
        return {
            "channel": asked.channel,
            "purpose": asked.purpose,
            "topic": asked.topic,
            "brand": asked.brand,
            "consent": said.value,
            "by": list(said.by),
            "models": [] if purpose is None else _models(purpose, question),
            "jurisdictions": [one.code for one in question.context.jurisdictions],
        }

    def ask(self, question: Question) -> Finding:
        """Forbids what the customer did not allow."""
        if question.kind == "presentation":
            return self._ask_personalise(question)
        if question.kind != "contact":
            return self.passed
        purpose = self._policies.purposes.get(question.purpose)
        if purpose is None and question.mixed:  # no marketing purpose is declared to judge it by
            return self._refuse(question, ConsentAnswer("unset"))
        if purpose is None:
            return self.passed  # an undeclared purpose is the business of `policy-exists`
        terms = purpose.terms(question.candidate.action.channel, question.context.jurisdictions)
        asking = [one for one in terms if one.model != "exempt"]
        if not asking:
            return self.passed
        try:
            said = self._answer(question, question.purpose)
        except Exception as error:  # noqa: BLE001 - a ledger that cannot be read says no yes
            return self._unreadable(question, type(error).__name__)
        if said.value == "granted":
            return self.passed
        if said.value == "unset":
            silent = [one for one in asking if not _takes_silence(one, question)]
            return self._refuse(question, said, silent[0]) if silent else self.passed
        return self._refuse(question, said)

    def _unreadable(self, question: Question, why: str) -> Finding:
        reason = f"the consent ledger could not be read ({why})"
        read = {"purpose": question.purpose}
        mend = "mend the ledger: `safeconduct ledger verify`"
        if question.mandatory:
            return self.hold("consent_unknown", reason, "human", read=read, counterfactual=mend)
        return self.forbid("consent_unknown", reason, read=read, counterfactual=mend)

    def _refuse(
        self, question: Question, said: ConsentAnswer, asking: ConsentTerms | None = None
    ) -> Finding:
        code, reason = _CODES[said.value]
        need = f"a grant of `{question.purpose}` for {question.candidate.action.channel}"
        if asking is not None and asking.evidence is not None:
            need += f", or `{asking.evidence}` as proof that the address was got in a sale"
        if question.mixed:
            code = "mixed_purpose"
            reason = (
                f"a message for `{question.candidate.action.purpose}` must not carry "
                "a promotion to someone who did not ask for it"
            )
            need = _without_promotion(question.candidate.action)
        return self.forbid(code, reason, read=self.reads(question), counterfactual=need)

    def _ask_personalise(self, question: Question) -> Finding:
        objected = self._answer(question, question.purpose)
        if objected.value == "objection":  # to this purpose, whatever the channel
            return self._refuse(question, objected)
        said = self._answer(question, PERSONALISE)
        if said.value in ("granted", "unset"):
            return self.passed
        return self.forbid(
            "objection" if said.value == "objection" else "consent",
            "the customer does not want to be profiled",
            read={"permission": PERSONALISE, "consent": said.value, "by": list(said.by)},
            counterfactual="a grant of `personalise`",
        )

    def _answer(self, question: Question, purpose: str) -> ConsentAnswer:
        return answer(question.context.consents, _question(question, purpose), question.at)


def _models(purpose: Purpose, question: Question) -> list[str]:
    """Each model that holds, by its line in the policies."""
    terms = purpose.terms(question.candidate.action.channel, question.context.jurisdictions)
    return [f"{one.model} ({one.place})" for one in terms]


def _takes_silence(terms: ConsentTerms, question: Question) -> bool:
    """Whether nothing said is a yes: by a law, or because this address was got in a sale."""
    if terms.model != "opt_out":
        return False
    if terms.evidence is None:
        return True
    shown = question.context.fields.get(terms.evidence)
    point = question.candidate.contact_point
    if isinstance(shown, str):
        return point is not None and shown.strip().casefold() == point.address.casefold()
    return shown is True


def _without_promotion(action: Action) -> str:
    """What to take out of a message, by number where it is given in blocks."""
    parts = [str(number) for number in action.promotional_blocks]
    if not parts or action.promotional or action.offer is not None:
        return "take the promotional part out"
    return f"remove block {parts[0]}" if len(parts) == 1 else f"remove blocks {', '.join(parts)}"


def _question(question: Question, purpose: str) -> ConsentQuestion:
    candidate, context = question.candidate, question.context
    point = candidate.contact_point
    return ConsentQuestion(
        profile_ids=context.profile_ids,
        controller=context.controller,
        brand=candidate.brand,
        channel=candidate.action.channel or "",
        purpose=purpose,
        topic=candidate.action.topic,
        contact_point=point.ref if point else None,
    )


class Paused(Speaker):
    """The customer wants no marketing before a date, and none comes; a pause is no denial."""

    __slots__ = ("_policies",)

    def __init__(self, policies: PolicySet) -> None:
        super().__init__("paused", _PLACE)
        self._policies = policies

    def reads(self, question: Question) -> Mapping[str, Any]:
        """Until when the customer wants no marketing."""
        return {"paused_until": question.context.paused_until}

    def ask(self, question: Question) -> Finding:
        """Forbids marketing while the pause lasts."""
        clear = self.clears_at(question, question.at)
        if clear == question.at:
            return self.passed
        return self.forbid(
            "paused_by_customer",
            f"the customer wants no marketing before {stamp(clear)}",
            read=self.reads(question),
            counterfactual=f"wait until {stamp(clear)}",
            clears_at=clear,
        )

    def clears_at(self, question: Question, at: datetime) -> datetime | None:
        """The end of the pause."""
        until = question.context.paused_until
        if until is None or until <= at or question.kind != "contact":
            return at
        return until if self._policies.is_marketing(question.purpose) else at


class ExemptCeiling(Speaker):
    """More exempt contacts with one person than anybody can mean are for a person to look at."""

    __slots__ = ("_policies",)

    def __init__(self, policies: PolicySet) -> None:
        super().__init__("exempt-ceiling", _PLACE)
        self._policies = policies

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The counter against its ceiling."""
        purpose = self._policies.purposes.get(question.purpose)
        return {
            "purpose": question.purpose,
            "count": question.context.exempt_sends.get(question.purpose, 0),
            "limit": 0 if purpose is None else purpose.sends_max,
            "window_seconds": 0.0 if purpose is None else purpose.sends_window.total_seconds(),
        }

    def ask(self, question: Question) -> Finding:
        """Holds what goes beyond the ceiling."""
        count = question.context.exempt_sends.get(question.purpose, 0)
        if not count or question.kind not in ("contact", "notice"):
            return self.passed
        purpose = self._policies.purposes.get(question.purpose)
        if purpose is None or not 0 < purpose.sends_max <= count:
            return self.passed
        return self.hold(
            "human_decision",
            f"{count} messages for `{question.purpose}` went to this customer already",
            "human",
            read=self.reads(question),
            counterfactual=f"look into it, or raise the `ceiling` at {purpose.place}",
        )


class SuppressionRule(Speaker):
    """A block on the address, its domain or the person outranks any consent.

    All that apply are told together. Those that not everybody may know of are a rule of their own
    (`confidential`), so that one who may not know of them still learns of the others.
    """

    __slots__ = ("_confidential", "_policies")

    def __init__(self, policies: PolicySet, *, confidential: bool = False) -> None:
        super().__init__("confidential-suppression" if confidential else "suppression", _PLACE)
        self._policies = policies
        self._confidential = confidential

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The suppressions in force for this candidate."""
        applying = self._applying(question)
        return {
            "suppressions": [one.reason for one in applying],
            "blocks": [one.blocks for one in applying],
        }

    def ask(self, question: Question) -> Finding:
        """Forbids what is suppressed; who may know why is the suppression's own matter."""
        if not question.context.suppressions:
            return self.passed
        applying = self._applying(question)
        if not applying:
            return self.passed
        forbids = any(self._blocks(one, question) for one in applying)
        ends = [one.expires_at for one in applying if one.expires_at is not None]
        reasons = ", ".join(dict.fromkeys(one.reason for one in applying))
        return Finding(
            self.id,
            "forbid" if forbids else "hold",
            "suppressed",
            f"suppressed: {reasons}",
            self.place,
            self.reads(question),
            None if forbids else "human",
            max(ends) if len(ends) == len(applying) else None,
            "lift the suppression" if len(applying) == 1 else "lift the suppressions",
            tuple(one for one in EVERYONE if all(one in s.shown_to for s in applying)),
        )

    def _applying(self, question: Question) -> list[Suppression]:
        return [
            one
            for one in question.context.suppressions
            if (one.shown_to != EVERYONE) is self._confidential
            and self._is_in_force(one, question)
            and (self._blocks(one, question) or (one.holds_rest and question.kind != "internal"))
        ]

    def _is_in_force(self, suppression: Suppression, question: Question) -> bool:
        if suppression.expires_at is not None and suppression.expires_at <= question.at:
            return False
        if suppression.brand is not None and suppression.brand != question.candidate.brand:
            return False
        channel = question.candidate.action.channel
        if suppression.channels is not None and channel not in suppression.channels:
            return False
        return self._targets(suppression, question) and not _is_lifted(suppression, question)

    def _blocks(self, suppression: Suppression, question: Question) -> bool:
        offers = suppression.blocks == "offers_and_marketing"
        if offers and question.candidate.action.offer is not None:
            return True
        if question.kind not in ("contact", "presentation", "notice"):
            return False
        match suppression.blocks:
            case "all":
                return True
            case "all_but_mandatory":
                return not question.mandatory
            case "marketing" | "offers_and_marketing":
                return self._policies.is_marketing(question.purpose)

    def _targets(self, suppression: Suppression, question: Question) -> bool:
        # The reader hands over only suppressions of this person and of the person's addresses.
        point = question.candidate.contact_point
        match suppression.target:
            case "person":
                return True
            case "address":
                return point is not None and point.ref == suppression.ref
            case "domain":
                return point is not None and point.domain == suppression.ref


def _is_lifted(suppression: Suppression, question: Question) -> bool:
    """Whether what was said since it was made, by itself, is a yes to this at this address."""
    since = suppression.since
    if not suppression.until_grant or since is None:
        return False
    later = [
        line
        for line in question.context.consents
        if min(line.occurred_at, line.received_at) > since
        and (
            line.kind in RESTRICTING
            or (line.kind == "grant" and line.contact_point == suppression.ref)
        )
    ]
    said = answer(later, _question(question, question.purpose), question.at)
    return said.value == "granted"


class Reachable(Speaker):
    """A contact needs an address for its channel that has not been given up.

    What is exempt from consent is then said another way, or else becomes a person's business.
    """

    __slots__ = ("_policies",)

    def __init__(self, policies: PolicySet) -> None:
        super().__init__("reachable", _PLACE)
        self._policies = policies

    def reads(self, question: Question) -> Mapping[str, Any]:
        """Whether there is an address, and whether it works."""
        point = question.candidate.contact_point
        return {
            "channel": question.candidate.action.channel,
            "address_known": point is not None,
            "unreachable_until": point.unreachable_until if point else None,
        }

    def ask(self, question: Question) -> Finding:
        """Forbids contacts to nowhere."""
        channel = self._policies.channels.get(question.candidate.action.channel or "")
        reached = question.kind in ("contact", "notice")
        if not reached or channel is None or channel.address == "none":
            return self.passed
        point = question.candidate.contact_point
        if point is None:
            return self.forbid(
                "no_address",
                f"no {channel.title} address is known",
                read=self.reads(question),
                counterfactual=f"learn the customer's {channel.address}",
            )
        if point.unreachable_until is not None and point.unreachable_until > question.at:
            return self.forbid(
                "unreachable",
                f"the {channel.title} address does not work",
                read=self.reads(question),
                counterfactual="re-verify the address",
                clears_at=point.unreachable_until,
                instead=("substitute", "escalate") if self._is_exempt(question) else (),
            )
        return self.passed

    def _is_exempt(self, question: Question) -> bool:
        purpose = self._policies.purposes.get(question.purpose)
        return purpose is not None and purpose.model == "exempt"
