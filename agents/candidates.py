"""What could be done about an event: each triggered journey's actions, to the letter (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.templates import fill, for_others_eyes
from agents.workspace import Workspace
from domain.action import Action, Step
from domain.context import INSTANCES_OF_JOURNEY_MAX, ContactPoint, Context, Silence
from domain.journey import Instance, Journey
from domain.proposal import Candidate, Upcoming
from domain.verdict import Instead
from policies.expressions import Condition, RuleFailed
from profiles.unsubscribe import Subscription, headers

PACKET_TRIED_MAX = 5
INSTEAD: tuple[Instead, ...] = ("substitute", "escalate")

Seal = Callable[[bytes], bytes]
"""Seals what is handed out and read by us alone."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """The candidates, and which triggered journeys were not entered and why."""

    candidates: tuple[Candidate, ...]
    not_entered: tuple[tuple[str, str], ...]


def propose(workspace: Workspace, context: Context) -> Proposed:
    """Every action of every journey that this event triggers for this person.

    On an approval's pass, only the action that was asked about; on an absence's, and whatever
    follows from it, only its journey.
    """
    candidates: list[Candidate] = []
    not_entered: list[tuple[str, str]] = []
    for journey in _concerned(workspace, context):
        if journey.brand != context.brand:
            not_entered.append((journey.name, "the event is another brand's"))
            continue
        why_not = _why_not_entered(workspace, journey, context)
        if why_not is not None:
            not_entered.append((journey.name, why_not))
            continue
        for name in _actions(workspace, journey, context):
            candidates.append(_candidate(workspace, journey, workspace.actions[name], context))
    return Proposed(tuple(candidates), tuple(not_entered))


def _concerned(workspace: Workspace, context: Context) -> Iterator[Journey]:
    """The journeys to be proposed, each as its person entered it."""
    asked, event = context.asked, context.event.name
    if asked.journey is not None:
        named = [asked.journey]
    else:
        named = [journey.name for journey in workspace.triggered.get(event, ())]
        for instance in context.instances:
            plan = workspace.plan(instance.journey, instance.journey_version)
            if plan is not None and plan.trigger == event and _is_entered(context, instance):
                named.append(instance.journey)
    for name in dict.fromkeys(named):
        journey = plan_of(workspace, context, name, context.entering.get(name))
        if journey is not None:
            yield journey


def _is_entered(context: Context, instance: Instance) -> bool:
    """Whether it is on, and the one that the event names."""
    named = context.entering.get(instance.journey)
    return instance.state == "active" and named == instance.key


def plan_of(workspace: Workspace, context: Context, name: str, key: str | None) -> Journey | None:
    """A journey as the person entered it; as it is now for whoever is not on it."""
    for instance in context.instances:
        if (instance.journey, instance.key, instance.state) == (name, key, "active"):
            return workspace.plan(name, instance.journey_version)
    return workspace.journeys.get(name)


def stand_in(workspace: Workspace, of: Candidate, name: str, context: Context) -> Candidate:
    """Another action in the place of a candidate, for the same journey."""
    journey = plan_of(workspace, context, of.journey, of.instance)
    assert journey is not None
    return _candidate(workspace, journey, workspace.actions[name], context)


def upcoming(workspace: Workspace, context: Context) -> tuple[Upcoming, ...]:
    """The person's scheduled contacts, as they could be made now."""
    found = []
    for waits in context.scheduled:
        journey = plan_of(workspace, context, waits.journey, waits.instance)
        action = workspace.actions.get(waits.action)
        if journey is not None and action is not None:
            made = replace(_candidate(workspace, journey, action, context), instance=waits.instance)
            found.append(Upcoming(made, waits.due_at, waits.expires_at, waits.fields))
    return tuple(found)


def named_instead(
    workspace: Workspace, action: Action, journey: Journey | None, what: Instead
) -> list[str]:
    """The actions that are to be tried in place of one, of those that there still are."""
    if what == "substitute":
        return list(action.substitutes)
    escalation = action.escalation or (journey.escalation if journey else None)
    return [escalation] if escalation is not None and escalation in workspace.actions else []


def _actions(workspace: Workspace, journey: Journey, context: Context) -> Sequence[str]:
    """The names of a plan; what they mean is today's, and what was taken away is not done."""
    want = context.asked.want
    actions = [name for name in journey.actions if name in workspace.actions]
    if context.asked.kind != "approval" or want is None:
        return actions
    named = set(actions)
    for action in actions:
        for what in INSTEAD:
            named.update(named_instead(workspace, workspace.actions[action], journey, what))
    return [want] if want in named else ()


def candidate_of(
    workspace: Workspace, context: Context, journey: Journey, action: Action
) -> tuple[Candidate, str | None]:
    """One action of one journey as it could be taken now, and why the journey is not entered."""
    found = _candidate(workspace, journey, action, context)
    return found, _why_not_entered(workspace, journey, context)


def holds(condition: Condition | None, context: Context) -> bool:
    """Whether a journey's condition is true; one that cannot be evaluated is not."""
    if condition is None:
        return True
    try:
        return condition.holds(context.fields)
    except RuleFailed:
        return False


def _why_not_entered(workspace: Workspace, journey: Journey, context: Context) -> str | None:
    key = context.entering.get(journey.name)
    for instance in context.instances:
        if (instance.journey, instance.key) != (journey.name, key):
            continue
        if instance.state != "active":
            return f"it is over for this person ({instance.state})"
        if instance.ends_at <= context.now:
            return "its window is over"
    for silence in context.silences:
        if silence.journey == journey.name and (over := _is_broken(journey, silence, context)):
            return over
    if _is_full(journey, key, context):
        return f"this person is on it {INSTANCES_OF_JOURNEY_MAX} times already"
    if not holds(workspace.entries.get(journey.name), context):
        return "its entry condition is not true"
    return None


def _is_broken(journey: Journey, silence: Silence, context: Context) -> str | None:
    """Why there is no absence: what was not to happen did, or it is counted anew, or not told."""
    absence, asked = journey.absence, context.asked
    if absence is None:
        return "it waits for nothing any more"
    if silence.broken_at is not None:
        return f"`{absence.of}` came at {silence.broken_at:%Y-%m-%d %H:%M:%SZ}"
    if asked.kind != "absence":
        return None
    if silence.since > context.event.time:
        return f"`{absence.after}` came again at {silence.since:%Y-%m-%d %H:%M:%SZ}"
    until = silence.since + absence.within
    if until > context.now:
        return f"there is time until {until:%Y-%m-%d %H:%M:%SZ}"
    if asked.lagging is not None and absence.on_lag == "skip":
        return f"`{asked.lagging}` has not told whether `{absence.of}` came"
    return None


def _is_full(journey: Journey, key: str | None, context: Context) -> bool:
    """Whether one person is on a journey so often that one more is no customer's doing."""
    going_on = {
        one.key
        for one in context.instances
        if one.journey == journey.name and one.state == "active" and one.ends_at > context.now
    }
    return key not in going_on and len(going_on) >= INSTANCES_OF_JOURNEY_MAX


def _candidate(
    workspace: Workspace, journey: Journey, action: Action, context: Context
) -> Candidate:
    offer = workspace.offers.get(action.offer or "")
    return Candidate(
        action=action,
        journey=journey.name,
        brand=journey.brand,
        team=journey.team,
        instance=context.entering.get(journey.name, ""),
        contact_point=_contact_point(workspace, action, context),
        journey_priority=journey.priority,
        max_age=journey.age_max if context.asked.kind == "absence" else journey.max_age,
        amount=offer.worth if offer else None,
    )


def _contact_point(workspace: Workspace, action: Action, context: Context) -> ContactPoint | None:
    """The person's newest address for the channel that nobody else uses, else the newest."""
    channel = workspace.policies.channels.get(action.channel or "")
    if channel is None or channel.address == "none":
        return None
    points = [point for point in context.contact_points if point.kind == channel.address]
    own = [point for point in points if not point.shared]
    found = own or points
    return found[-1] if found else None


def steps(
    workspace: Workspace, candidate: Candidate, context: Context, seal: Seal
) -> tuple[Step, ...]:
    """The exact tool calls of a candidate. What is promised is granted before it is told."""
    action = candidate.action
    match action.tool:
        case "message":
            message = Step("message", _message(workspace, candidate, context, seal))
            return (*_grant(candidate), message)
        case "offer":
            return _grant(candidate)
        case "case" | "handoff":
            packet = _packet(candidate, context)
            arguments = {"reason": action.case_reason, "queue": action.queue, "packet": packet}
            return (Step(action.tool, arguments),)
        case _:
            return (Step(action.tool, {}),)


def _grant(candidate: Candidate) -> tuple[Step, ...]:
    offer = candidate.action.offer
    return (Step("offer", {"offer": offer, "brand": candidate.brand}),) if offer else ()


def _message(
    workspace: Workspace, candidate: Candidate, context: Context, seal: Seal
) -> dict[str, Any]:
    action, point = candidate.action, candidate.contact_point
    brand = workspace.brands[candidate.brand]
    fields = _personal(workspace, context)
    if point is not None and point.shared:
        fields = for_others_eyes(fields, workspace.policies.fields)
    fields |= {"brand.title": brand.title}
    offer = workspace.offers.get(action.offer or "")
    if offer is not None:
        fields |= {"offer.title": offer.title, "offer.worth": str(offer.worth)}
    return {
        "channel": action.channel,
        "to": point.address if point else context.profile_id,
        "sender": brand.senders.get(action.channel or "", ""),
        "subject": fill(action.subject, fields),
        "body": fill(action.body, fields),
        "headers": _headers(workspace, candidate, context, seal),
    }


def _headers(
    workspace: Workspace, candidate: Candidate, context: Context, seal: Seal
) -> Mapping[str, str]:
    """How to unsubscribe, where an e-mail is marketing and the brand answers such requests."""
    action, point = candidate.action, candidate.contact_point
    url = workspace.brands[candidate.brand].unsubscribe_url
    purpose, _ = workspace.guard.judged(candidate)
    marketing = workspace.policies.is_marketing(purpose)
    if url is None or point is None or point.kind != "email" or not marketing:
        return {}
    about = Subscription(
        brand=candidate.brand,
        channel=action.channel or "",
        contact_point=point.ref,
        purpose=purpose,
        topic=action.topic,
        about=context.event.event_id,
    )
    return headers(url, seal, about)


def _personal(workspace: Workspace, context: Context) -> dict[str, Any]:
    labels = workspace.policies.fields
    return {
        name: value
        for name, value in context.fields.items()
        if name in labels and "personalise" in labels[name].uses and name not in context.withheld
    }


def _packet(candidate: Candidate, context: Context) -> dict[str, Any]:
    """What the colleague needs so that the customer need not start over."""
    tried = [
        f"{contact.at:%Y-%m-%d %H:%M} {contact.action} by {contact.channel}"
        for contact in context.contacts[:PACKET_TRIED_MAX]
    ]
    return {
        "customer": context.profile_id,
        "why_now": candidate.action.title,
        "event": context.event.name,
        "said": {k: v for k, v in context.event.properties.items() if isinstance(v, (str, int))},
        "at": context.event.time,
        "tried": tried,
        "open_cases": list(context.open_cases),
        "offers_held": [offer.name for offer in context.offers.values() if offer.held],
        "do_not_ask": sorted(context.fields.keys() & {"profile.language", "event.order_id"}),
    }
