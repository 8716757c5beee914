"""Consent, permission to personalise, and suppression: may this person be approached at all?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.consent import ConsentAnswer, ConsentQuestion, answer
from domain.context import Suppression
from domain.verdict import EVERYONE, Code, Finding
from policies.policy_set import PolicySet
from policies.question import Question, Speaker

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
    """The consent ledger, under the model of the purpose the action is judged by.

    `opt_in` passes only on a grant; `opt_out` on silence too; `exempt` purposes need none.
    An exempt message with something promotional in it is judged as marketing: where that fails,
    the code is `mixed_purpose`, because the remedy is to take the promotion out.
    """

    __slots__ = ("_policies",)

    def __init__(self, policies: PolicySet) -> None:
        super().__init__("consent", _PLACE)
        self._policies = policies

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The question put to the ledger, and the lines that answer it."""
        asked = _question(question, question.purpose)
        said = self._answer(question, question.purpose)
        return {
            "channel": asked.channel,
            "purpose": asked.purpose,
            "topic": asked.topic,
            "brand": asked.brand,
            "consent": said.value,
            "by": list(said.by),
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
        if purpose is None or purpose.model == "exempt":
            return self.passed  # an undeclared purpose is the business of `policy-exists`
        said = self._answer(question, question.purpose)
        if said.value == "granted" or (said.value == "unset" and purpose.model == "opt_out"):
            return self.passed
        return self._refuse(question, said)

    def _refuse(self, question: Question, said: ConsentAnswer) -> Finding:
        code, reason = _CODES[said.value]
        need = f"a grant of `{question.purpose}` for {question.candidate.action.channel}"
        if question.mixed:
            code = "mixed_purpose"
            reason = (
                f"a message for `{question.candidate.action.purpose}` must not carry "
                "a promotion to someone who did not ask for it"
            )
            need = "take the promotional part out"
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


class SuppressionRule(Speaker):
    """A block on the address, its domain or the person outranks any consent."""

    __slots__ = ("_policies",)

    def __init__(self, policies: PolicySet) -> None:
        super().__init__("suppression", _PLACE)
        self._policies = policies

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The suppressions in force for this candidate."""
        found = [s for s in question.context.suppressions if self._applies(s, question)]
        return {"suppressions": [s.reason for s in found if s.shown_to == EVERYONE]}

    def ask(self, question: Question) -> Finding:
        """Forbids what is suppressed; who may know why is the suppression's own matter."""
        for suppression in question.context.suppressions:
            if self._applies(suppression, question):
                return Finding(
                    self.id,
                    "forbid",
                    "suppressed",
                    f"suppressed: {suppression.reason}",
                    self.place,
                    {"suppression": suppression.ref},
                    None,
                    suppression.expires_at,
                    "lift the suppression",
                    suppression.shown_to,
                )
        return self.passed

    def _applies(self, suppression: Suppression, question: Question) -> bool:
        action = question.candidate.action
        if question.kind not in ("contact", "presentation", "notice"):
            return False
        if suppression.expires_at is not None and suppression.expires_at <= question.at:
            return False
        if suppression.brand is not None and suppression.brand != question.candidate.brand:
            return False
        if suppression.channels is not None and action.channel not in suppression.channels:
            return False
        if not self._targets(suppression, question) or _is_lifted(suppression, question):
            return False
        match suppression.blocks:
            case "all":
                return True
            case "all_but_mandatory":
                return not question.mandatory
            case "marketing":
                return self._policies.is_marketing(question.purpose)

    def _targets(self, suppression: Suppression, question: Question) -> bool:
        # The reader hands over only suppressions of this person and of the person's addresses.
        if suppression.target != "address":
            return True
        point = question.candidate.contact_point
        return point is not None and point.ref == suppression.ref


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
            line.kind in ("denial", "objection", "suspicion")
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
