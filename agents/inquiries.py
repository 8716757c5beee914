"""Answers why an action is or is not possible for somebody now: reads as a decision would, and
decides nothing.

Nothing that is read is changed. That it was asked is kept: who asked what about whom.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from agents.candidates import candidate_of, plan_of
from agents.steps import Deps
from agents.thinking import is_withheld, proposal
from agents.workspace import Workspace
from domain.action import Action
from domain.canonical import canonical
from domain.context import Context, Pass
from domain.errors import StoreError, UsageError
from domain.event import Event
from domain.journey import Journey
from domain.verdict import Audience, Denial, Hold, Permit, objections
from profiles.arrivals import Arrival
from store import tables as t
from store.ids import time_ordered
from store.instants import micros
from store.work import Work
from traces.inquiries import Answer, Inquiry

LOG = logging.getLogger("safeconduct.agents")
SOURCE = "inquiry"


@dataclass(frozen=True, slots=True)
class Question:
    """May this be done for this person (`root_id`) at `at`, if its journey's event came in then?

    `properties` are those of that event.
    """

    root_id: str
    action: str
    journey: str | None
    at: datetime
    properties: Mapping[str, Any] = field(default_factory=dict)


def inquire(deps: Deps, asked: Question, *, audience: Audience, by: str) -> Inquiry:
    """Ask the whole guard, and keep that it was asked. Raises `UsageError` or `StoreError`."""
    action, journey = _named(deps.workspace, asked)
    context = _context(deps, asked, journey)
    inquiry = _answer(deps, action, journey, context)
    _keep(deps, inquiry, audience, by)
    return inquiry


def _named(workspace: Workspace, asked: Question) -> tuple[Action, Journey]:
    action = workspace.actions.get(asked.action)
    if action is None:
        raise _unknown("action", asked.action, workspace.actions)
    journeys = {n: j for n, j in workspace.journeys.items() if asked.action in j.actions}
    if asked.journey is None and len(journeys) == 1:
        return action, next(iter(journeys.values()))
    if asked.journey is None:
        many = f"{len(journeys)} journeys" if journeys else "no journey"
        raise UsageError(
            f"action `{asked.action}` belongs to {many}",
            place="option `--journey`",
            remedy=f"name one of {', '.join(sorted(journeys or workspace.journeys))}",
        )
    journey = workspace.journeys.get(asked.journey)
    if journey is None:
        raise _unknown("journey", asked.journey, workspace.journeys)
    return action, journey


def _unknown(what: str, name: str, known: Mapping[str, Any]) -> UsageError:
    return UsageError(
        f"there is no {what} `{name}`",
        place=f"option `--{what}`",
        remedy=f"use one of {', '.join(sorted(known))}",
    )


def _context(deps: Deps, asked: Question, journey: Journey) -> Context:
    """What a decision would look at. It is read as for a later pass, which changes no profile."""
    event = Event(
        source=SOURCE,
        id=None,
        kind="track",
        name=journey.begins_with[0],
        occurred_at=asked.at,
        received_at=asked.at,
        identifiers=(),
        properties=asked.properties,
        brand=journey.brand,
    )
    arrival = Arrival(
        event=event,
        now=asked.at,
        asked=Pass("release", 1),
        event_key=deps.database.vault.fingerprint_bytes(SOURCE, asked.root_id.encode()),
        event_id=f"{SOURCE}/{asked.root_id}",
        root_id=asked.root_id,
    )
    (perceived,) = deps.people.read([arrival])
    if perceived.context is None:
        raise StoreError(f"nothing is known of `{asked.root_id}` any more")
    return replace(perceived.context, asked=Pass())


def _answer(deps: Deps, action: Action, journey: Journey, context: Context) -> Inquiry:
    workspace, guard = deps.workspace, deps.workspace.guard
    entered = context.entering.get(journey.name)
    journey = plan_of(workspace, context, journey.name, entered) or journey
    candidate, why_not = candidate_of(workspace, context, journey, action)
    if why_not is None and is_withheld(workspace, candidate, context):
        why_not = f"the customer is in the holdout of journey `{journey.name}`"
    made = proposal(workspace, candidate, context, deps.database.vault)
    verdict = guard.review(made, context)
    word: Answer = "permitted"
    if not isinstance(verdict, Permit):
        word = "held" if isinstance(verdict, Hold) else "denied"
    return Inquiry(
        profile_id=context.profile_id,
        at=context.now,
        action=action.name,
        title=action.title,
        journey=journey.name,
        tool=action.tool,
        channel=action.channel,
        verdict="none" if why_not else word,
        held_for=verdict.held_for if isinstance(verdict, Hold) else None,
        next_eligible_at=(verdict.next_eligible_at if isinstance(verdict, Hold | Denial) else None),
        findings=guard.ask_in_full(candidate, context, made.hash),
        against=objections(verdict),
        withheld=context.withheld,
        policy_version=workspace.policies.version,
        workspace_version=workspace.version,
        why_none=why_not,
    )


def _keep(deps: Deps, inquiry: Inquiry, audience: Audience, by: str) -> None:
    database, now = deps.database, deps.database.clock()
    told_apart = canonical(
        [inquiry.profile_id, inquiry.action, inquiry.journey, audience, by, inquiry.at, now]
    )
    digest = database.vault.fingerprint_bytes(SOURCE, told_apart)
    work = Work(shown_as="table inquiries")
    work.insert(
        t.inquiries,
        inquiry_id=time_ordered("i", now, digest),
        profile_id=inquiry.profile_id,
        action=inquiry.action,
        journey=inquiry.journey,
        audience=audience,
        by=by,
        at=micros(now),
        about_at=micros(inquiry.at),
        verdict=inquiry.verdict,
    )
    database.commit([work])
    said = {"action": inquiry.action, "journey": inquiry.journey, "audience": audience}
    LOG.info("a reason was asked for", extra={"fields": {**said, "verdict": inquiry.verdict}})
