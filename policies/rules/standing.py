"""Rules that hold before any policy is read: is the tool known, is it stopped, is it too late?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.action import TOOL_NAMES
from domain.verdict import Finding
from policies.policy_set import PolicySet
from policies.question import Question, Speaker

_PLACE = "policies/rules/standing.py"


class KnownTool(Speaker):
    """A tool that is not in the closed list does nothing."""

    stage = "eligibility"
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("known-tool", _PLACE)

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The tool the action names."""
        return {"action.tool": question.candidate.action.tool}

    def ask(self, question: Question) -> Finding:
        """Forbids unknown tools."""
        tool = question.candidate.action.tool
        if tool in TOOL_NAMES:
            return self.passed
        return self.forbid(
            "unknown_tool",
            f"there is no tool `{tool}`",
            read=self.reads(question),
            counterfactual=f"use one of {', '.join(TOOL_NAMES)}",
        )


class PolicyExists(Speaker):
    """Where no policy says what a purpose or channel is, nothing is allowed."""

    stage = "eligibility"
    __slots__ = ("_policies",)

    def __init__(self, policies: PolicySet) -> None:
        super().__init__("policy-exists", _PLACE)
        self._policies = policies

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The purpose and channel the action names."""
        action = question.candidate.action
        return {"action.purpose": action.purpose, "action.channel": action.channel}

    def ask(self, question: Question) -> Finding:
        """Forbids undeclared purposes; holds a mandatory action for a person instead."""
        action = question.candidate.action
        if not self._policies.purposes:
            return self.forbid("no_policy", "no purpose is declared", read=self.reads(question))
        missing = (
            f"purpose `{action.purpose}`"
            if action.purpose not in self._policies.purposes
            else "the message's channel"
            if action.channel is None and action.tool == "message"
            else f"channel `{action.channel}`"
            if action.channel is not None and action.channel not in self._policies.channels
            else None
        )
        if missing is None:
            return self.passed
        reason, remedy = f"{missing} is not declared", f"declare {missing} under `policies/`"
        if action.mandatory:
            return self.hold(
                "consent_unknown",
                reason,
                "human",
                read=self.reads(question),
                counterfactual=remedy,
            )
        return self.forbid(
            "consent_unknown", reason, read=self.reads(question), counterfactual=remedy
        )


class KillSwitch(Speaker):
    """A switch that is on stops its scope; mandatory and urgent actions yield only to `all`."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("kill-switch", _PLACE)

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The switches that are on."""
        return {"kill_switches": list(question.context.kill_switches)}

    def ask(self, question: Question) -> Finding:
        """Holds what is stopped until a person releases the switch."""
        switches = question.context.kill_switches
        if not switches:
            return self.passed
        stopped = stopped_by(switches, question)
        if stopped is None:
            return self.passed
        return self.hold(
            "kill_switch",
            f"`{stopped}` is stopped",
            "human",
            read=self.reads(question),
            counterfactual=f"release it: `safeconduct kill off {stopped}`",
        )


def stopped_by(switches: tuple[str, ...], question: Question) -> str | None:
    """The switch that stops this candidate, if any."""
    candidate = question.candidate
    if "all" in switches:
        return "all"
    if question.mandatory or question.urgent:
        return None
    for scope in (
        f"channel:{candidate.action.channel}",
        f"tool:{candidate.action.tool}",
        f"journey:{candidate.journey}",
        f"team:{candidate.team}",
    ):
        if scope in switches:
            return scope
    return None


_ABOUT_EVENT = ("event", "absence")
"""The passes that nothing has waited for its time in: the event's own age is what counts."""


class StillWanted(Speaker):
    """An event may cause an action only while it is fresh, and a held action only until it expires.

    The age limit is the journey's `max_age`; an undated event is never fresh enough for marketing.
    """

    stage = "applicability"
    __slots__ = ("_policies",)

    def __init__(self, policies: PolicySet) -> None:
        super().__init__("still-wanted", _PLACE)
        self._policies = policies

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The event's age against its limit, or the expiry of what was held."""
        context = question.context
        if context.asked.kind in _ABOUT_EVENT:
            age = (context.now - context.event.time).total_seconds()
            limit = question.candidate.max_age.total_seconds()
            return {
                "event.age_seconds": age,
                "journey.max_age_seconds": limit,
                "event.dated": context.event.occurred_at is not None,
            }
        return {"expires_at": context.asked.expires_at}

    def ask(self, question: Question) -> Finding:
        """Forbids what comes too late."""
        context = question.context
        is_event = context.asked.kind in _ABOUT_EVENT
        if context.asked.kind != "event" and question.candidate.action.kind == "presentation":
            reason = "the session in which it could be shown is over"
            return self.forbid("stale_event", reason, read=self.reads(question))
        if context.asked.kind == "approval":
            return self.passed  # an approval has an expiry of its own
        if not is_event:
            expires_at = context.asked.expires_at
            if expires_at is None or context.now < expires_at:
                return self.passed
            reason = "it was held for longer than it is wanted"
        elif context.event.occurred_at is None and self._policies.is_marketing(question.purpose):
            reason = "the event is undated, so nobody knows whether it is fresh"
        elif context.now - context.event.time > question.candidate.max_age:
            reason = "the event is older than the journey acts on"
        else:
            return self.passed
        return self.forbid("stale_event", reason, read=self.reads(question))


class AccessNeed(Speaker):
    """A channel that somebody cannot use is no channel to them, whatever it is for."""

    stage = "suitability"
    __slots__ = ("_policies",)

    def __init__(self, policies: PolicySet) -> None:
        super().__init__("access-need", _PLACE)
        self._policies = policies

    def reads(self, question: Question) -> Mapping[str, Any]:
        """The customer's access needs, and the channel."""
        return {
            "access_needs": list(question.context.access_needs),
            "channel": question.candidate.action.channel,
        }

    def ask(self, question: Question) -> Finding:
        """Forbids the channels that a need closes."""
        channel = question.candidate.action.channel
        for need in question.context.access_needs:
            if channel is not None and channel in self._policies.access_needs.get(need, ()):
                return self.forbid(
                    "not_suitable",
                    f"the customer cannot use {self._policies.channels[channel].title}",
                    read=self.reads(question),
                    counterfactual="use another channel",
                )
        return self.passed


class SharedAddress(Speaker):
    """What is for the customer alone goes to no address that somebody else reads too."""

    stage = "suitability"
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("shared-address", _PLACE)

    def reads(self, question: Question) -> Mapping[str, Any]:
        """Whether the action is sensitive, and whether others use the address."""
        point = question.candidate.contact_point
        return {
            "action.sensitive": question.candidate.action.sensitive,
            "shared_address": point is not None and point.shared,
        }

    def ask(self, question: Question) -> Finding:
        """Forbids what is sensitive at a shared address."""
        point = question.candidate.contact_point
        if not question.candidate.action.sensitive or point is None or not point.shared:
            return self.passed
        return self.forbid(
            "content",
            "it is for the customer alone, and others use the address",
            read=self.reads(question),
            counterfactual="use an address that is the customer's alone",
        )


class HumanInCharge(Speaker):
    """While a person owns the conversation, machines do not talk over them."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("human-in-charge", _PLACE)

    def reads(self, question: Question) -> Mapping[str, Any]:
        """Whether somebody has taken the conversation over."""
        return {"human_in_charge": question.context.human_in_charge}

    def ask(self, question: Question) -> Finding:
        """Forbids all but internal and mandatory actions."""
        spared = question.kind == "internal" or question.mandatory
        if not question.context.human_in_charge or spared:
            return self.passed
        return self.forbid(
            "human_in_charge",
            "a person is dealing with this customer",
            read=self.reads(question),
            counterfactual="close the hand-off",
        )


class Restricted(Speaker):
    """A person whose data are restricted, or who was erased, hears nothing."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("restricted", _PLACE)

    def reads(self, question: Question) -> Mapping[str, Any]:
        """Whether processing is restricted."""
        return {"restricted": question.context.restricted}

    def ask(self, question: Question) -> Finding:
        """Forbids all but mandatory actions."""
        if not question.context.restricted or question.mandatory:
            return self.passed
        return self.forbid(
            "restricted", "processing is restricted for this person", read=self.reads(question)
        )
