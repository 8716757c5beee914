"""Reads from the ledger what was chosen for a journey, and what came of it.

A choice is rewarded where its journey's instance reached the goal within the window. It becomes a
lesson once that window is over, whatever came of it: learning successes before failures would
make every action look better than it is (Chapelle, "Modeling delayed feedback in display
advertising", KDD 2014). So each choice is learnt from once, by the first training after that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, or_, select

from agents.learning.features import TRAIN, facts, is_untaught
from agents.learning.propensity import Lesson, Option
from agents.record import Record, read_record
from agents.thinking import Considered
from domain.journey import Journey
from profiles.permissions import PROFILE
from store import tables as t
from store.database import Database
from store.instants import instant, micros
from store.statements import Statement
from traces.history import History, Kept

_DUE = Statement(
    select(t.instances.c.profile_id, t.instances.c.key, t.instances.c.state, t.instances.c.ends_at)
    .where(
        t.instances.c.journey == bindparam("journey"),
        t.instances.c.ends_at > bindparam("after"),
        t.instances.c.ends_at <= bindparam("until"),
        t.instances.c.state != "merged",
    )
    .order_by(t.instances.c.entered_at)
)
_FIRST = Statement(
    select(t.instances.c.entered_at)
    .where(
        t.instances.c.journey == bindparam("journey"),
        t.instances.c.ends_at > bindparam("after"),
    )
    .order_by(t.instances.c.entered_at)
    .limit(1)
)
_NOES = Statement(
    select(t.consents.c.profile_id, t.consents.c.received_at).where(
        t.consents.c.kind.in_(("denial", "objection")),
        or_(t.consents.c.purpose.in_((TRAIN, PROFILE)), t.consents.c.purpose.is_(None)),
    )
)


@dataclass(frozen=True, slots=True)
class Span:
    """Of which choices: those made `since`, whose windows ended after one instant, `until` another.

    Where outcomes are known only up to an instant, `until` is that instant.
    """

    since: datetime
    after: datetime
    until: datetime


def lessons(
    database: Database, journey: Journey, span: Span, left_out: Counter[str]
) -> Iterator[Lesson]:
    """What can be learnt, in the order in which it was decided; `left_out` counts what cannot."""
    asked = {"journey": journey.name, "after": micros(span.after)}
    due = {
        (person, key): state
        for person, key, state, _ in reversed(
            database.rows(_DUE, **asked, until=micros(span.until))
        )
    }
    first = database.rows(_FIRST, **asked)
    if not due or not first:
        return
    refused: dict[str, int] = {}
    for person, at in database.rows(_NOES):
        refused[person] = max(at, refused.get(person, at))
    for kept in History(database).done_for(journey.name, max(span.since, instant(first[0][0]))):
        data = kept.record()
        if data is None:
            left_out["erased"] += 1
            continue
        record = read_record(data)
        state = _state(record, journey.name, due)
        if state is None:
            continue
        why = _why_not(kept, record, refused)
        lesson = None if why else _lesson(kept, record, journey, float(state == "reached"))
        if lesson is None:
            left_out[why or "chosen otherwise"] += 1
        else:
            yield lesson


def _state(record: Record, journey: str, due: Mapping[tuple[str, str], str]) -> str | None:
    """How the decision's instance ended, whichever of the person's fragments had entered it."""
    key = record.context.entering.get(journey, "")
    found = (due.get((person, key)) for person in record.context.profile_ids)
    return next((state for state in found if state is not None), None)


def _why_not(kept: Kept, record: Record, refused: Mapping[str, int]) -> str:
    context = record.context
    later = any(refused.get(person, 0) > micros(context.now) for person in context.profile_ids)
    if later or is_untaught(context):
        return "not to be learnt from"
    if context.asked.kind == "approval":  # nothing was chosen then: it had been before
        return "chosen before an approval"
    return ""


def _lesson(kept: Kept, record: Record, journey: Journey, reward: float) -> Lesson | None:
    """The choice, where it is what was drawn: else nobody knows how probable it was."""
    among = [
        one
        for one in record.thought.considered
        if one.journey == journey.name and one.probability is not None
    ]
    chosen = next((place for place, one in enumerate(among) if one.note == "chosen"), None)
    if chosen is None:
        return None
    return Lesson(
        decision_id=kept.decision_id,
        person=kept.profile_id,
        facts=facts(journey, record.context),
        options=tuple(_option(one) for one in among),
        chosen=chosen,
        probabilities=tuple(one.probability or 0.0 for one in among),
        reward=reward,
    )


def _option(one: Considered) -> Option:
    factors = dict(one.factors)
    propensity = factors.pop("propensity")
    worth = 1.0
    for factor in factors.values():
        worth *= factor
    return Option(one.action, propensity, worth)
