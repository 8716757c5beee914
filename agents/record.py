"""Turns a thought into the one set of writes that records it, reserves for it and intends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, bindparam, null, select, update

from agents.thinking import Decided, Thought
from agents.timers import (
    About,
    TimerKind,
    ask_again,
    claimed,
    many_wait,
    share_of,
    wait_for,
)
from domain.approval import approval_id
from domain.canonical import canonical
from domain.caps import is_conversing
from domain.context import CONVERSATION, Context
from domain.decision import Decision
from domain.proposal import Candidate, Proposal
from domain.verdict import Finding, HeldFor, objections
from policies.guard import Guard
from profiles.arrivals import Perceived
from profiles.overtaking import late_since, overtake
from profiles.prints import content_print, pass_print
from profiles.queries import END_INSTANCE, barred
from store import keys
from store import tables as t
from store.ids import time_ordered
from store.instants import micros
from store.packing import pack
from store.statements import Statement
from store.vault import Vault
from store.work import Change, Work
from tools import budgets, offers
from tools.toolbox import Intent

SettledState = Literal["committed", "failed", "released", "unknown"]

_TIMERS: Mapping[HeldFor, TimerKind] = {
    "time": "release",
    "approval": "approval",
    "human": "switch",
}

CLAIM_TIMER = Statement(
    update(t.timers)
    .where(t.timers.c.timer_id == bindparam("timer"), t.timers.c.state == "pending")
    .values(state="done")
)
_SETTLE_CONTACT = Statement(
    update(t.contacts)
    .where(
        t.contacts.c.contact_id == bindparam("contact"),
        t.contacts.c.state.in_(("reserved", "held")),
    )
    .values(state=bindparam("to_state"))
)
_gone = t.contacts.alias("gone")


def _of_gone(column: ColumnElement[Any]) -> Any:
    gone = _gone.c.contact_id == bindparam("contact"), _gone.c.state.in_(("failed", "released"))
    return select(column).where(*gone).scalar_subquery()


_OPEN_AGAIN = Statement(
    update(t.contacts)
    .where(
        t.contacts.c.contact_point == _of_gone(_gone.c.contact_point),
        t.contacts.c.at >= _of_gone(_gone.c.at),
        t.contacts.c.at < _of_gone(_gone.c.at + int(CONVERSATION.total_seconds()) * 1_000_000),
        t.contacts.c.channel == _of_gone(_gone.c.channel),
        t.contacts.c.continues == 1,
    )
    .values(continues=null())
)
CLOSE_APPROVAL = Statement(
    update(t.approvals)
    .where(t.approvals.c.decision_id == bindparam("parent"), t.approvals.c.state == "pending")
    .values(state=bindparam("to_state"), decided_at=bindparam("at"), decided_by=bindparam("who"))
)


ASK_AGAIN_AFTER = timedelta(seconds=1)
DISPLACED = Statement(
    update(t.timers)
    .where(t.timers.c.profile_id.in_(bindparam("people", expanding=True)))
    .where(t.timers.c.state == "pending", t.timers.c.kind == "displaced")
    .where(t.timers.c.due_at > bindparam("due"))
    .values(due_at=bindparam("due"))
)
"""What made way for something that is over is asked about again at once."""


def contact_id(decision_id: str) -> str:
    """The one contact that a decision may lead to."""
    return f"k-{decision_id}"


def step_id(decision_id: str, index: int) -> str:
    """The id in the outbox of a decision's step."""
    return f"{decision_id}-{index}"


def settle_contact(work: Work, decision_id: str, state: SettledState) -> None:
    """Say, once, what became of the contact that a decision reserved, if it did.

    One that did not come about opened no conversation either: those that went on with it count.
    """
    work.change(_SETTLE_CONTACT, contact=contact_id(decision_id), to_state=state)
    if state in ("failed", "released"):
        work.change(_OPEN_AGAIN, contact=contact_id(decision_id))


@dataclass(frozen=True, slots=True)
class Recorded:
    """One decision ready to be committed, and the steps to take once it is.

    `revisions` are what the contention keys will read once the work is committed: a later step
    of the same proposal goes ahead only if nobody else has moved them. `household` is the one that
    a contact counts for. `wanted_until` is how long what does not come about is asked about again.
    `budgets` are those it may have taken from.
    """

    decision: Decision
    work: Work
    intents: tuple[Intent, ...]
    proposal: Proposal | None
    revisions: Mapping[str, int]
    wanted_until: datetime
    household: str | None
    budgets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """The sealed part of a decision's row: all it was decided from, and all that was decided."""

    event_id: str
    context: Context
    thought: Thought


_DECODER = msgspec.json.Decoder(Record)


def read_record(data: bytes) -> Record:
    """The record that was sealed."""
    return _DECODER.decode(data)


def record(
    perceived: Perceived,
    decided: Decided,
    guard: Guard,
    vault: Vault,
    *,
    version: str,
    owner: str,
    spread: timedelta,
) -> Recorded:
    """Prepare the whole commit of one decision.

    Everything rides in `perceived.work`: the profile's change, the decision's row in the person's
    chain, permit, reservations, outbox, approval, timer and journey state.

    Args:
        spread: how long after an hour that many wait for the last of them is asked about.
    """
    context, thought = perceived.context, decided.thought
    assert context is not None
    event, work = perceived.arrival.event, perceived.work
    digest = pass_print(vault, perceived.event_key, perceived.arrival.asked)
    decision = _decision(perceived, thought, guard, context, digest, version)
    sealed = vault.seal(
        context.profile_id,
        "erasable",
        "decisions",
        pack(canonical(Record(perceived.event_id, context, thought))),
    )
    work.append(
        t.decisions, context.profile_id, **_columns(decision, perceived, context), sealed=sealed
    )
    if context.asked.kind == "event":
        work.insert(
            t.events,
            event_key=perceived.event_key,
            content=content_print(vault, event),
            decision_id=decision.decision_id,
            profile_id=context.profile_id,
            received_at=micros(event.received_at),
        )
    else:
        _close_parent(work, context, thought)
        if thought.verdict != "held":  # sent, refused or no longer wanted: others need not wait
            work.change(DISPLACED, people=context.profile_ids, due=micros(context.now))
    _enter_and_end(work, context, thought, version, late_since(event))
    for waiting in thought.waiting:
        wait_for(work, vault, decision.decision_id, context.profile_ids, waiting)
    intents: tuple[Intent, ...] = ()
    if decided.permit is not None:
        _reserve(work, context, decision, decided, guard)
        intents = _intend(work, context, decision, decided, vault, owner)
    elif decided.hold is not None:
        _hold(work, context, decision, decided, guard, vault, share_of(spread, digest))
    moved = {key: rev + (key in work.moves) for key, rev in context.revisions.items()}
    return Recorded(
        decision,
        work,
        intents,
        decided.proposal,
        moved,
        _wanted_until(context, decided),
        context.household,
        tuple(context.budgets),
    )


def _wanted_until(context: Context, decided: Decided) -> datetime:
    """Until when the action is wanted: a later pass keeps to what its first one said."""
    if context.asked.expires_at is not None or decided.proposal is None:
        return context.asked.expires_at or context.now
    return context.now + decided.proposal.candidate.action.defer_for


def _decision(
    perceived: Perceived,
    thought: Thought,
    guard: Guard,
    context: Context,
    digest: bytes,
    version: str,
) -> Decision:
    return Decision(
        decision_id=time_ordered("d", context.now, digest),
        event_id=perceived.event_id,
        profile_id=context.profile_id,
        at=context.now,
        event=context.event.name,
        journey=thought.journey,
        action=thought.action,
        tool=thought.tool,
        channel=thought.channel,
        verdict=thought.verdict,
        held_for=thought.held_for,
        code=thought.code,
        reason=thought.reason,
        rule=thought.rule,
        mind=thought.mind,
        next_eligible_at=thought.next_eligible_at,
        asked=context.asked.kind,
        parent_id=context.asked.parent_id,
        workspace_version=version,
        policy_version=guard.policies.version,
    )


def _columns(decision: Decision, perceived: Perceived, context: Context) -> dict[str, Any]:
    return {
        "decision_id": decision.decision_id,
        "at": micros(decision.at),
        "recorded_at": micros(datetime.now(UTC)),
        "event_key": perceived.event_key,
        "event": decision.event,
        "pass_kind": decision.asked,
        "pass_n": context.asked.n,
        "parent_id": decision.parent_id,
        "journey": decision.journey,
        "action": decision.action,
        "tool": decision.tool,
        "channel": decision.channel,
        "verdict": decision.verdict,
        "held_for": decision.held_for,
        "code": decision.code,
        "reason": decision.reason,
        "rule": decision.rule,
        "mind": decision.mind,
        "next_eligible_at": micros(decision.next_eligible_at),
        "workspace_version": decision.workspace_version,
        "policy_version": decision.policy_version,
    }


def _close_parent(work: Work, context: Context, thought: Thought) -> None:
    """Claim the timer that led here, give back what the parent held, close its approval."""
    parent = context.asked.parent_id
    assert parent is not None
    work.changes.insert(0, Change(CLAIM_TIMER, {"timer": claimed(context.asked)}, 1))
    if context.asked.own_id is None:
        return
    settle_contact(work, parent, "released")
    if context.asked.reserved_offer is not None:
        offers.release(work, context.brand, context.asked.reserved_offer, parent)
        budgets.release(work, parent, context.budgets)
    if context.asked.kind != "approval":
        return
    late = context.asked.expires_at is not None and context.now >= context.asked.expires_at
    state = "expired" if late else "withdrawn"
    if thought.code != "approval_rejected":
        work.change(CLOSE_APPROVAL, parent=parent, to_state=state, at=micros(context.now), who=None)


def _enter_and_end(
    work: Work, context: Context, thought: Thought, version: str, since: datetime | None
) -> None:
    for journey, key, ends_at in thought.entered:
        work.insert(
            t.instances,
            profile_id=context.profile_id,
            journey=journey,
            key=key,
            state="active",
            entered_at=micros(context.now),
            ends_at=micros(ends_at),
            journey_version=version,
        )
    for journey, key, state in thought.ended:
        for profile_id in context.profile_ids:
            work.change(END_INSTANCE, person=profile_id, name=journey, ref=key, to_state=state)
        if state == "exited" and since is not None:
            overtake(work, context.profile_ids, journey, key, since)


def _reserve(
    work: Work, context: Context, decision: Decision, decided: Decided, guard: Guard
) -> None:
    """Take what the proposal needs, now, so that nobody else can promise it too."""
    proposal = decided.proposal
    assert proposal is not None
    candidate, action = proposal.candidate, proposal.candidate.action
    point = candidate.contact_point
    kind = guard.kind(candidate)
    if kind in ("contact", "presentation", "notice"):
        purpose, mixed = guard.judged(candidate)
        counted = kind == "contact" and (action.counts_toward_caps or mixed)
        work.insert(
            t.contacts,
            contact_id=contact_id(decision.decision_id),
            profile_id=context.profile_id,
            contact_point=point.ref if point else None,
            at=micros(context.now),
            brand=candidate.brand,
            channel=action.channel or "",
            purpose=purpose,
            topic=action.topic,
            journey=candidate.journey,
            instance=candidate.instance,
            team=candidate.team,
            action=action.name,
            creative=action.creative,
            action_groups=barred(action.groups),
            household=context.household,
            continues=1 if _continues(context, candidate) else None,
            decision_id=decision.decision_id,
            counted=int(counted),
            state="reserved" if decided.hold is None else "held",
        )
        if point is not None and counted:
            work.move(keys.point(point.ref))
        if context.household is not None and counted:
            work.move(keys.household(context.household))
    if action.offer is not None:
        key = keys.stock(candidate.brand, action.offer)
        lives = guard.offers[action.offer].expires_after
        offers.reserve(
            work,
            candidate.brand,
            action.offer,
            step_id(decision.decision_id, [step.tool for step in proposal.steps].index("offer")),
            profile_id=context.profile_id,
            decision_id=decision.decision_id,
            at=context.now,
            expires_at=None if lives is None else context.now + lives,
            first=context.revisions.get(key, 0) == 0,
        )
    for name in guard.paid_by(candidate):
        assert candidate.amount is not None
        state = context.budgets[name]
        budgets.reserve(
            work,
            decision.decision_id,
            name,
            state.counter,
            candidate.amount.amount,
            first=not state.kept,
        )


def _continues(context: Context, candidate: Candidate) -> bool:
    """Whether it goes on with a conversation, so that caps on conversations do not count it."""
    point = candidate.contact_point
    ref = None if point is None else point.ref
    return is_conversing(context.contacts, candidate.action.channel, ref, context.now)


def _intend(
    work: Work,
    context: Context,
    decision: Decision,
    decided: Decided,
    vault: Vault,
    owner: str,
) -> tuple[Intent, ...]:
    """Write the outbox: the first step is `sending` at once, this process being the sender."""
    permit, proposal = decided.permit, decided.proposal
    assert permit is not None and proposal is not None
    at = micros(context.now)
    work.insert(
        t.permits,
        permit_id=permit.permit_id,
        decision_id=decision.decision_id,
        proposal_hash=permit.proposal_hash,
        policy_version=permit.policy_version,
        not_after_at=micros(permit.not_after),
        spent_at=at,
    )
    intents = []
    for index, step in enumerate(proposal.steps):
        outbox_id = step_id(decision.decision_id, index)
        channel = proposal.candidate.action.channel if step.tool == "message" else None
        work.insert(
            t.outbox,
            outbox_id=outbox_id,
            decision_id=decision.decision_id,
            profile_id=context.profile_id,
            permit_id=permit.permit_id,
            step=index,
            tool=step.tool,
            channel=channel,
            journey=proposal.candidate.journey,
            team=proposal.candidate.team,
            state="sending" if index == 0 else "intended",
            owner=owner,
            not_after_at=micros(permit.not_after),
            created_at=at,
            updated_at=at,
            detail="",
            sealed=vault.seal(context.profile_id, "erasable", "outbox", canonical(step.arguments)),
        )
        intents.append(
            Intent(
                outbox_id,
                decision.decision_id,
                context.profile_id,
                permit.permit_id,
                index,
                step.tool,
                channel,
                step.arguments,
                context.now,
            )
        )
    return tuple(intents)


def _hold(
    work: Work,
    context: Context,
    decision: Decision,
    decided: Decided,
    guard: Guard,
    vault: Vault,
    apart: timedelta,
) -> None:
    """Arrange for the question to be asked again: by a timer, and by a person where one is due."""
    hold, proposal = decided.hold, decided.proposal
    assert hold is not None and proposal is not None
    expires_at = hold.expires_at or context.now
    kind = _TIMERS[hold.held_for]
    if kind == "release" and any(f.code == "lower_priority" for f in objections(hold)):
        kind = "displaced"
    due = expires_at
    if hold.held_for == "time" and hold.next_eligible_at is not None:
        at = hold.next_eligible_at + (apart if many_wait(hold, guard) else timedelta(0))
        due = min(expires_at, at)
    if due <= context.now:  # held by a rule that says it would pass now: never ask for ever
        due = context.now + ASK_AGAIN_AFTER
    if hold.held_for == "approval":
        _request(work, context, decision, decided, guard)
        _reserve(work, context, decision, decided, guard)
    action = proposal.candidate.action
    ask_again(
        work,
        vault,
        decision_id=decision.decision_id,
        profile_id=context.profile_id,
        kind=kind,
        due_at=due,
        expires_at=expires_at,
        want=action.name,
        purpose=guard.judged(proposal.candidate)[0],
        channel=action.channel,
        reserved_offer=action.offer if hold.held_for == "approval" else None,
        about=_about(proposal.candidate, context) if hold.held_for == "time" else None,
    )


def _about(candidate: Candidate, context: Context) -> About:
    fields = {name: said for name, said in context.fields.items() if name.startswith("event.")}
    return About(candidate.journey, candidate.instance, fields)


def _request(
    work: Work, context: Context, decision: Decision, decided: Decided, guard: Guard
) -> None:
    hold, proposal = decided.hold, decided.proposal
    assert hold is not None and proposal is not None and hold.expires_at is not None
    asking: Finding = next(f for f in objections(hold) if f.held_for == "approval")
    work.insert(
        t.approvals,
        approval_id=approval_id(decision.decision_id),
        decision_id=decision.decision_id,
        profile_id=context.profile_id,
        proposal_hash=proposal.hash,
        policy_version=guard.policies.version,
        rule=asking.rule,
        reason=asking.reason,
        role=hold.role or "admin",
        quorum=hold.quorum,
        action=proposal.candidate.action.name,
        journey=proposal.candidate.journey,
        state="pending",
        requested_at=micros(context.now),
        expires_at=micros(hold.expires_at),
        decided_at=None,
        decided_by=None,
    )
