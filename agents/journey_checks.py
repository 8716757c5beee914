"""What journeys say in vain: actions that nothing lets through, ends that come at once.

A finding here is no mistake of form; the files load and are gone by. It is something that whoever
wrote it would want to know. Each check is a function, and `CHECKS` is their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal

from agents.thinking import can_be_withheld
from agents.workspace import Workspace
from domain.action import Action
from domain.journey import Journey
from domain.proposal import Candidate
from policies.documents import Document, parse_yaml
from policies.formulas import Both, Formula, can_be, implies
from policies.rules.engagement import EngagementRule
from policies.troubles import Trouble

CheckName = Literal[
    "goal-is-beginning",
    "renamed-event",
    "ends-at-once",
    "idle-again",
    "idle-action",
    "named-twice",
    "idle-holdout",
    "overdue-review",
    "unknown-owner",
]


@dataclass(frozen=True, slots=True)
class Subject:
    """One journey, the document that it was written in, and the day on which it is looked at."""

    journey: Journey
    document: Document
    workspace: Workspace
    today: date

    def trouble(self, check: CheckName, keys: tuple[str | int, ...], *said: str) -> Trouble:
        """Something wrong with a key of the document: what, and what to do."""
        cause, remedy = said
        whose = f"journey `{self.journey.name}` {cause}"
        return Trouble(check, self.document.place(*keys), whose, remedy)


def troubles(workspace: Workspace, today: date) -> tuple[Trouble, ...]:
    """Everything that the checks find, journey by journey."""
    return tuple(
        trouble
        for subject in _subjects(workspace, today)
        for check in CHECKS
        for trouble in check(subject)
    )


def _subjects(workspace: Workspace, today: date) -> Iterator[Subject]:
    for name, journey in sorted(workspace.journeys.items()):
        path = f"journeys/{name}.yaml"
        yield Subject(journey, parse_yaml(workspace.files[path], path), workspace, today)


# Beginnings and ends


def goals_that_begin(subject: Subject) -> Iterator[Trouble]:
    """Journeys that are over with the event that begins them."""
    journey = subject.journey
    if journey.goal in journey.begins_with:
        cause = f"begins with its own goal, `{journey.goal}`"
        yield subject.trouble("goal-is-beginning", ("goal",), cause, "name what it is to achieve")


def renamed_events(subject: Subject) -> Iterator[Trouble]:
    """Events that never come under this name, because `[input.names]` gives them another."""
    journey, names = subject.journey, subject.workspace.input.names
    said: list[tuple[tuple[str | int, ...], str | None]] = [
        (("trigger",), journey.trigger),
        (("goal",), journey.goal),
    ]
    if journey.absence is not None:
        said.append((("absence", "after"), journey.absence.after))
        said.append((("absence", "of"), journey.absence.of))
    for keys, event in said:
        if event in names and names[event] != event:
            cause = f"waits for `{event}`, which comes in as `{names[event]}`"
            yield subject.trouble("renamed-event", keys, cause, f"write `{names[event]}`")


def ends_at_once(subject: Subject) -> Iterator[Trouble]:
    """Journeys whose entry makes their exit true."""
    entry, end = _entry(subject), subject.workspace.exits.get(subject.journey.name)
    if entry is not None and end is not None and implies(entry, end.formula):
        cause = "ends whoever may enter it: its `exit` is true wherever its `entry` is"
        yield subject.trouble("ends-at-once", ("exit",), cause, "correct one of them")


def idle_agains(subject: Subject) -> Iterator[Trouble]:
    """Journeys that would try again only when they are over."""
    again, window = subject.journey.again_after, subject.journey.window
    if again is not None and again >= window:
        cause = "tries again only when its `window` is over"
        yield subject.trouble("idle-again", ("again_after",), cause, "shorten it, or take it out")


def _entry(subject: Subject) -> Formula | None:
    found = subject.workspace.entries.get(subject.journey.name)
    return None if found is None else found.formula


# Actions


def idle_actions(subject: Subject) -> Iterator[Trouble]:
    """Actions that no customer can ever get as part of this journey."""
    for index, name in enumerate(subject.journey.actions):
        why = _why_never(subject, subject.workspace.actions[name])
        if why is not None:
            cause = f"can never take `{name}`: {why}"
            remedy = "correct what is in its way, or take it out"
            yield subject.trouble("idle-action", ("actions", index), cause, remedy)


def _why_never(subject: Subject, action: Action) -> str | None:
    journey, workspace = subject.journey, subject.workspace
    if action.kind == "presentation" and journey.trigger is None:
        return "an absence begins with no session in which it could be shown"
    offer = workspace.offers.get(action.offer or "")
    if offer is not None and offer.stock == 0:
        return f"there is none of `{offer.name}` ({offer.place})"
    if offer is not None and offer.valid_until and offer.valid_until.date() < subject.today:
        return f"`{offer.name}` ended on {offer.valid_until:%Y-%m-%d} ({offer.place})"
    together = _entry(subject)
    for rule in _conditions(subject, action):
        formula = rule.condition.formula
        together = formula if together is None else Both(together, formula)
        if not can_be(together, True):
            return f"rule `{rule.id}` ({rule.place}) is never true with what else it needs"
    return None


def _conditions(subject: Subject, action: Action) -> Iterator[EngagementRule]:
    """The conditions that the guard asks about the action in this journey."""
    guard = subject.workspace.guard
    purpose, _ = guard.judged(_candidate(subject, action))
    said = {
        "actions": action.name,
        "purposes": purpose,
        "channels": action.channel,
        "journeys": subject.journey.name,
    }
    for rule in guard.policies.rules:
        if isinstance(rule, EngagementRule) and all(
            names is None or said[key] in names for key, names in rule.scope.items()
        ):
            yield rule


def _candidate(subject: Subject, action: Action) -> Candidate:
    journey = subject.journey
    return Candidate(action, journey.name, journey.brand, journey.team, "", None)


def repeated_actions(subject: Subject) -> Iterator[Trouble]:
    """Actions that are named twice: the second changes nothing."""
    names = subject.journey.actions
    for index, name in enumerate(names):
        if name in names[:index]:
            cause = f"names `{name}` twice"
            yield subject.trouble("named-twice", ("actions", index), cause, "take one out")


def idle_holdouts(subject: Subject) -> Iterator[Trouble]:
    """Holdouts of journeys that have nothing to withhold: service is never withheld."""
    journey, workspace = subject.journey, subject.workspace
    candidates = [_candidate(subject, workspace.actions[name]) for name in journey.actions]
    if journey.holdout and not any(can_be_withheld(workspace, one) for one in candidates):
        cause = "holds people out and has no marketing and no offer to withhold"
        yield subject.trouble("idle-holdout", ("holdout",), cause, "take the holdout out")


# Who looks after it


def overdue_reviews(subject: Subject) -> Iterator[Trouble]:
    """Journeys that should have been looked at again by now."""
    journey = subject.journey
    if journey.review_by is not None and journey.review_by < subject.today:
        cause = f"was to be reviewed by {journey.review_by}; `{journey.owner}` owns it"
        remedy = "look it through, and write the next day"
        yield subject.trouble("overdue-review", ("review_by",), cause, remedy)


def unknown_owners(subject: Subject) -> Iterator[Trouble]:
    """Journeys that somebody owns who is not among the people."""
    people, owner = subject.workspace.people, subject.journey.owner
    if people and owner not in people:
        remedy = f"use one of {', '.join(sorted(people))}, or add them to `people.yaml`"
        cause = f"is owned by `{owner}`, whom nobody can page"
        yield subject.trouble("unknown-owner", ("owner",), cause, remedy)


Check = Callable[[Subject], Iterable[Trouble]]
CHECKS: tuple[Check, ...] = (
    goals_that_begin,
    renamed_events,
    ends_at_once,
    idle_agains,
    idle_actions,
    repeated_actions,
    idle_holdouts,
    overdue_reviews,
    unknown_owners,
)
