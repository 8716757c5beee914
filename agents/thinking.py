"""The decision itself: context in, decision out, and nothing else (pure).

    lineup = line_up(...)                 what could we do, what may we do, what is best?
    choice = mind.choose(...)             what should we do?
    verdict = guard.review(...)           may we still?

A permitted proposal is acted on; a held one waits; a denied one gives way to the next best, and
in the end to no action, which is a decision like any other and has its cause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from agents.candidates import holds, plan_of, steps
from agents.learning.choosing import drawn, no_models
from agents.learning.propensity import ModelOf
from agents.lineup import Lineup, line_up
from agents.minds.mind import Mind
from agents.workspace import Workspace
from domain.action import NO_ACTION, Step
from domain.context import Context
from domain.decision import VerdictWord
from domain.journey import Instance, InstanceState
from domain.proposal import Candidate, Proposal, Ranked, proposal_body
from domain.verdict import (
    EVERYONE,
    Denial,
    Finding,
    HeldFor,
    Hold,
    Permit,
    Verdict,
    disclosed,
    objections,
)
from policies.guard import Screening


class Keyed(Protocol):
    """What thinking needs a key for; the same key gives the same bytes."""

    def fingerprint_bytes(self, kind: str, data: bytes) -> bytes:
        """16 bytes that stand for some bytes of a kind."""

    def seal_token(self, data: bytes) -> bytes:
        """What is handed out and read by us alone."""


@dataclass(frozen=True, slots=True)
class Considered:
    """One candidate as the record keeps it: its score, and each rule that was against it.

    `instead_of` is the action that it stood in for, where that was refused. `probability` is the
    one with which it was to be chosen among its journey's candidates that no rule forbids, None
    where it was not among them; there they add up to 1.
    """

    action: str
    journey: str
    channel: str | None
    priority: float
    factors: tuple[tuple[str, float], ...]
    against: tuple[tuple[str, str], ...]
    note: str = ""
    instead_of: str = ""
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a journey now waits for, counted from `since`: an absence that is established at
    `until`, or the time to try again.

    It is asked about once `waits_for` has told of all that time, and at the latest by `latest`.
    """

    kind: Literal["absence", "again"]
    journey: str
    instance: str
    since: datetime
    until: datetime
    latest: datetime
    waits_for: str | None


@dataclass(frozen=True, slots=True)
class Thought:
    """What was decided and by what, in the form that is recorded and recomputed."""

    verdict: VerdictWord
    action: str
    journey: str | None
    tool: str | None
    channel: str | None
    held_for: HeldFor | None
    code: str | None
    reason: str
    rule: str | None
    mind: str
    next_eligible_at: datetime | None
    expires_at: datetime | None
    considered: tuple[Considered, ...]
    not_entered: tuple[tuple[str, str], ...]
    entered: tuple[tuple[str, str, datetime], ...]
    ended: tuple[tuple[str, str, InstanceState], ...]
    proposal_hash: str | None = None
    contact_point: str | None = None
    steps: tuple[Step, ...] = ()
    permit_id: str | None = None
    not_after: datetime | None = None
    waiting: tuple[Waiting, ...] = ()


@dataclass(frozen=True, slots=True)
class Decided:
    """A thought, with the proposal and the verdict it ended on where there was one."""

    thought: Thought
    proposal: Proposal | None = None
    permit: Permit | None = None
    hold: Hold | None = None


@dataclass(slots=True)
class _Sitting:
    """What happens to each candidate while one decision is made."""

    workspace: Workspace
    context: Context
    lineup: Lineup
    notes: dict[int, str]
    against: dict[int, tuple[Finding, ...]]
    mind: str
    probabilities: dict[int, float]

    @property
    def ranked(self) -> tuple[Ranked, ...]:
        """The candidates, best first, each followed by what stands in for it."""
        return self.lineup.ranked

    @property
    def screened(self) -> Mapping[int, Screening]:
        """What every rule said about each before the choice."""
        return self.lineup.screened


def think(
    context: Context,
    workspace: Workspace,
    mind: Mind,
    keyed: Keyed,
    model_of: ModelOf = no_models,
) -> Decided:
    """Decide. The same context, workspace, mind and key give the same thought, byte for byte.

    Args:
        model_of: finds the learnt models that the context names, each the very same for ever.
    """
    lineup = line_up(workspace, context, model_of)
    sitting = _Sitting(workspace, context, lineup, {}, {}, mind.name, {})
    left = _explored(sitting, model_of)
    withheld: Ranked | None = None
    first_denial: tuple[Ranked, Verdict] | None = None
    while left:
        chosen = mind.choose(left, context)
        if chosen is None:
            break
        left = [one for one in left if one is not chosen]
        if _is_withheld(sitting, chosen.candidate):
            sitting.notes[id(chosen.candidate)] = "holdout"
            withheld = withheld or chosen
            continue
        made = proposal(workspace, chosen.candidate, context, keyed)
        verdict = workspace.guard.review(made, context, lineup.upcoming)
        match verdict:
            case Permit() | Hold():
                return _settled(sitting, chosen.candidate, made, verdict)
            case Denial():
                sitting.against[id(chosen.candidate)] = objections(verdict)
                _forget_chance(sitting, chosen.candidate.journey)
                first_denial = first_denial or (chosen, verdict)
    return Decided(_nothing(sitting, withheld, first_denial))


def _survivors(ranked: Sequence[Ranked], screened: Mapping[int, Screening]) -> list[Ranked]:
    """Those that no rule forbids, best first; one that has to wait keeps its place."""
    return [one for one in ranked if not screened[id(one.candidate)].forbidden]


def _explored(sitting: _Sitting, model_of: ModelOf) -> list[Ranked]:
    """The survivors after each journey's draw among those of its own that may be chosen."""
    left = _survivors(sitting.lineup.ranked, sitting.lineup.screened)
    kept_out = [one for one in left if _is_withheld(sitting, one.candidate)]
    found = drawn(sitting.workspace, left, sitting.context, model_of, kept_out)
    sitting.probabilities.update(found.probabilities)
    return found.order


def _forget_chance(sitting: _Sitting, journey: str) -> None:
    """What was drawn may not be done: of what is done instead, the probability is not known."""
    for one in sitting.ranked:
        if one.candidate.journey == journey:
            sitting.probabilities.pop(id(one.candidate), None)


def is_withheld(workspace: Workspace, candidate: Candidate, context: Context) -> bool:
    """A holdout withholds a journey's marketing contacts, presentations and offers only."""
    is_held_out = context.arms.get(candidate.journey) == "held_out"
    return is_held_out and can_be_withheld(workspace, candidate)


def can_be_withheld(workspace: Workspace, candidate: Candidate) -> bool:
    """Whether a holdout is about it: it is marketing that reaches people, or an offer."""
    guard = workspace.guard
    purpose, _ = guard.judged(candidate)
    marketing = guard.policies.is_marketing(purpose)
    withholds = marketing and guard.kind(candidate) in ("contact", "presentation")
    return withholds or candidate.action.tool == "offer"


def _is_withheld(sitting: _Sitting, candidate: Candidate) -> bool:
    """Whether it is withheld, or stands in for what is."""
    instead = sitting.lineup.instead.get(id(candidate))
    if instead is not None and _is_withheld(sitting, instead.of):
        return True
    return is_withheld(sitting.workspace, candidate, sitting.context)


def proposal(
    workspace: Workspace, candidate: Candidate, context: Context, keyed: Keyed
) -> Proposal:
    """The candidate as it would be done now, to the letter, under its keyed hash."""
    made = steps(workspace, candidate, context, keyed.seal_token)
    body = proposal_body(candidate, made, context.event.event_id)
    return Proposal(candidate, made, keyed.fingerprint_bytes("proposal", body).hex())


def _settled(
    sitting: _Sitting, candidate: Candidate, proposal: Proposal, verdict: Permit | Hold
) -> Decided:
    action = candidate.action
    sitting.notes[id(candidate)] = "chosen"
    if isinstance(verdict, Permit):
        best = sitting.ranked[0].candidate is candidate
        place = next(i for i, r in enumerate(sitting.ranked, 1) if r.candidate is candidate)
        count = len(sitting.ranked)
        standing = f"best of {count}" if best else f"number {place} of {count}"
        reason = _in_place(sitting, candidate) or f"propensity {action.propensity:.2f}, {standing}"
        chance = sitting.probabilities.get(id(candidate), 1.0)
        if chance < 1:
            reason += f", chosen with probability {chance:.2f}"
        thought = _thought(
            sitting, "permitted", candidate, None, reason, proposal=proposal, permit=verdict
        )
        return Decided(thought, proposal, permit=verdict)
    sitting.against[id(candidate)] = objections(verdict)
    lead = _lead(verdict)
    thought = _thought(
        sitting, "held", candidate, lead, lead.reason, proposal=proposal, hold=verdict
    )
    return Decided(thought, proposal, hold=verdict)


def _in_place(sitting: _Sitting, candidate: Candidate) -> str:
    """What was substituted for what, and why, as far as everybody may know."""
    instead = sitting.lineup.instead.get(id(candidate))
    if instead is None:
        return ""
    why = instead.why.reason if instead.why.shown_to == EVERYONE else "not available"
    return f"instead of `{instead.of.action.name}`: {why}"


def _lead(hold: Hold) -> Finding:
    """The finding that a hold is best explained by: one that asks for what it is held for."""
    against = objections(hold)
    return next((f for f in against if f.held_for == hold.held_for), against[0])


def _nothing(
    sitting: _Sitting,
    withheld: Ranked | None,
    denial: tuple[Ranked, Verdict] | None,
) -> Thought:
    """No action, and its cause: the best candidate's, whatever stopped it."""
    if withheld is not None:
        finding = Finding("holdout", "forbid", "holdout", "kept out to measure the journey")
        return _thought(sitting, "none", None, finding, finding.reason)
    if denial is not None:
        finding = objections(denial[1])[0]
        return _thought(
            sitting,
            "denied",
            None,
            finding,
            finding.reason,
            denial[1].next_eligible_at,  # type: ignore[union-attr]
        )
    if sitting.ranked:
        want = sitting.context.asked.want
        best = next(
            (one for one in sitting.ranked if one.candidate.action.name == want), sitting.ranked[0]
        ).candidate
        screening = sitting.screened[id(best)]
        finding = objections(Denial(screening.findings))[0]
        at = sitting.workspace.guard.forecast(best, sitting.context, sitting.lineup.upcoming)
        return _thought(sitting, "denied", None, finding, finding.reason, at)
    return _thought(sitting, "none", None, _not_applicable(sitting), _why_nothing(sitting))


def _not_applicable(sitting: _Sitting) -> Finding:
    return Finding("journeys", "forbid", "not_applicable", _why_nothing(sitting))


def _waiting(sitting: _Sitting) -> tuple[Waiting, ...]:
    """The absences that begin with this event, unless a later one or an end has come before it.

    One that is asked about too early, by how long it takes today, is waited for once more.
    """
    context, found = sitting.context, []
    is_begun = context.asked.kind == "event"
    for silence in context.silences if is_begun or context.asked.kind == "absence" else ():
        journey = sitting.workspace.journeys[silence.journey]
        absence, key = journey.absence, context.entering[journey.name]
        over = {(one.journey, one.key) for one in context.instances if one.state != "active"}
        is_broken = silence.broken_at is not None or silence.since > context.event.time
        if absence is None or is_broken or journey.brand != context.brand:
            continue
        if (journey.name, key) in over:
            continue
        until = silence.since + absence.within
        if not is_begun and until <= context.now:
            continue
        source = next(iter(absence.sources), None)
        latest = until if source is None else until + absence.max_wait
        found.append(Waiting("absence", journey.name, key, silence.since, until, latest, source))
    return tuple(found)


_NOTED = {
    "consent_changed": "the customer's choice was recorded",
    "identified": "the profile was brought up to date",
    "contact_observed": "the contact was counted",
    "case_closed": "the case was closed",
}
"""What an event that triggers no journey did all the same."""


def _why_nothing(sitting: _Sitting) -> str:
    name = sitting.context.event.name
    for one in _waiting(sitting):
        absence = sitting.workspace.journeys[one.journey].absence
        assert absence is not None
        return f"journey `{one.journey}` waits until {one.until:%H:%M:%SZ} for `{absence.of}`"
    if sitting.lineup.proposed.not_entered:
        journey, why = sitting.lineup.proposed.not_entered[0]
        return f"journey `{journey}` does not apply: {why}"
    ended = _ended(sitting.workspace, sitting.context)
    reached = [journey for journey, _, state in ended if state == "reached"]
    if reached:
        return f"reached the goal of {', '.join(f'`{goal}`' for goal in dict.fromkeys(reached))}"
    if any(journey.goal == name for journey in sitting.workspace.journeys.values()):
        return f"no journey of this customer waits for `{name}`"
    return _NOTED.get(name, f"no journey is triggered by `{name}`")


def _thought(
    sitting: _Sitting,
    verdict: VerdictWord,
    candidate: Candidate | None,
    finding: Finding | None,
    reason: str,
    next_eligible_at: datetime | None = None,
    *,
    proposal: Proposal | None = None,
    permit: Permit | None = None,
    hold: Hold | None = None,
) -> Thought:
    action = candidate.action if candidate else None
    said = disclosed(finding, "auditor") if finding else None
    if said is not None and finding is not None and said is not finding:
        reason = said.reason
    return Thought(
        verdict=verdict,
        action=action.name if action else NO_ACTION,
        journey=candidate.journey if candidate else _journey_of(sitting),
        tool=action.tool if action else None,
        channel=action.channel if action else None,
        held_for=hold.held_for if hold else None,
        code=said.code if said else None,
        reason=reason,
        rule=said.rule if said else None,
        mind=sitting.mind,
        next_eligible_at=hold.next_eligible_at if hold else next_eligible_at,
        expires_at=hold.expires_at if hold else None,
        considered=tuple(_considered(sitting, one) for one in sitting.ranked),
        not_entered=sitting.lineup.proposed.not_entered,
        entered=_entered(sitting),
        ended=_ended(sitting.workspace, sitting.context),
        proposal_hash=proposal.hash if proposal else None,
        contact_point=_point_of(proposal),
        steps=proposal.steps if proposal else (),
        permit_id=permit.permit_id if permit else None,
        not_after=permit.not_after if permit else None,
        waiting=(*_waiting(sitting), *_again(sitting, verdict, candidate)),
    )


def _again(
    sitting: _Sitting, verdict: VerdictWord, candidate: Candidate | None
) -> tuple[Waiting, ...]:
    """The next try for whoever something was done for, or could not be this time."""
    context, workspace = sitting.context, sitting.workspace
    name, key = context.asked.journey or "", ""
    if verdict == "permitted" and candidate is not None:
        name, key = candidate.journey, candidate.instance
    elif context.asked.kind == "again" and verdict in ("denied", "none"):
        key = context.entering.get(name, "")
    plan = plan_of(workspace, context, name, key) if key else None
    if plan is None or plan.again_after is None:
        return ()
    ends_at = context.now + plan.window
    for one in context.instances:
        if (one.journey, one.key) == (name, key):
            ends_at = one.ends_at if one.state == "active" else context.now
    at = context.now + plan.again_after
    return (Waiting("again", name, key, context.now, at, at, None),) if at < ends_at else ()


def _point_of(proposal: Proposal | None) -> str | None:
    point = proposal.candidate.contact_point if proposal else None
    return point.ref if point else None


def _journey_of(sitting: _Sitting) -> str | None:
    return sitting.ranked[0].candidate.journey if sitting.ranked else None


def _considered(sitting: _Sitting, one: Ranked) -> Considered:
    key = id(one.candidate)
    findings = sitting.against.get(key)
    instead = sitting.lineup.instead.get(key)
    if findings is None:
        findings = objections(Denial(sitting.screened[key].findings))
    return Considered(
        action=one.candidate.action.name,
        journey=one.candidate.journey,
        channel=one.candidate.action.channel,
        priority=one.priority,
        factors=one.factors,
        against=tuple((f.rule, f.code or "") for f in findings),
        note=sitting.notes.get(key, ""),
        instead_of=instead.of.action.name if instead else "",
        probability=sitting.probabilities.get(key),
    )


def _entered(sitting: _Sitting) -> tuple[tuple[str, str, datetime], ...]:
    """Journey instances that begin with this event, each with the end of its window."""
    context = sitting.context
    known = {(instance.journey, instance.key) for instance in context.instances}
    names = {one.candidate.journey: one.candidate.instance for one in sitting.ranked}
    return tuple(
        (name, key, context.now + sitting.workspace.journeys[name].window)
        for name, key in sorted(names.items())
        if (name, key) not in known
    )


def _concerns(context: Context, instance: Instance) -> bool:
    """A goal that names an instance (this cart) is reached for that one only."""
    return context.entering.get(instance.journey, instance.key) == instance.key


def _is_exit(workspace: Workspace, instance: Instance, context: Context) -> bool:
    """Whether the condition is true that ends it, as it was entered."""
    entered = workspace.at(instance.journey_version)
    by = entered if instance.journey in entered.journeys else workspace
    return instance.journey in by.exits and holds(by.exits[instance.journey], context)


def _ended(workspace: Workspace, context: Context) -> tuple[tuple[str, str, InstanceState], ...]:
    """Journey instances that this event ends: goal reached, exit condition true, window over."""
    if context.asked.kind != "event":
        return ()
    ended: list[tuple[str, str, InstanceState]] = []
    for instance in context.instances:
        journey = workspace.plan(instance.journey, instance.journey_version)
        if instance.state != "active" or journey is None:
            continue
        if instance.ends_at <= context.now:
            ended.append((instance.journey, instance.key, "expired"))
        elif journey.goal == context.event.name and _concerns(context, instance):
            ended.append((instance.journey, instance.key, "reached"))
        elif _is_exit(workspace, instance, context):
            ended.append((instance.journey, instance.key, "exited"))
    return tuple(ended)
