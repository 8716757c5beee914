"""Teaches a journey's model what the ledger has to say since the last time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from agents.learning.lessons import Span, lessons
from agents.learning.models import Models, Version, untaught
from agents.learning.propensity import Lesson, Propensity, explored
from domain.journey import Journey
from store.database import Database

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Judged:
    """One lesson, and what the model would have done just before it took it.

    `logged` is the probability with which what was done had been chosen, `target` the model's,
    `off_support` the model's probability of what could not have been chosen then. `predicted` is
    how probable the model thought success with what was done, `expected` with what it would have
    done. Because each lesson is judged before it is learnt, the model is never judged by what it
    learnt from (progressive validation: Blum, Kalai and Langford, COLT 1999).
    """

    person: str
    reward: float
    logged: float
    target: float
    off_support: float
    predicted: float
    expected: float


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a training; `version` is None where there was nothing new to learn from."""

    journey: Journey
    version: Version | None
    parent: Version | None
    judged: tuple[Judged, ...]
    left_out: Mapping[str, int]
    until: datetime


def train(
    database: Database,
    models: Models,
    journey: Journey,
    *,
    at: datetime,
    until: datetime,
    since: datetime = BEGINNING,
) -> Trained:
    """Go on from the journey's newest model, and keep what it becomes as the next version.

    Args:
        at: when that is.
        until: up to when outcomes are known.
        since: leave out what was decided before.
    """
    parent = models.newest(journey)
    model = models.copy(parent.version) if parent else untaught(journey.learning)
    span = Span(since, parent.until if parent else BEGINNING, until)
    left_out: Counter[str] = Counter()
    judged = []
    for lesson in lessons(database, journey, span, left_out):
        judged.append(_judged(lesson, model, journey.exploration))
        model.learn(lesson)
    version = None
    if judged:
        version = models.keep(
            journey,
            model,
            parent,
            at=at,
            until=until,
            lessons=len(judged),
            rewarded=sum(one.reward > 0 for one in judged),
        )
    return Trained(journey, version, parent, tuple(judged), left_out, until)


def _judged(lesson: Lesson, model: Propensity, exploration: float) -> Judged:
    targets = explored(model.choice(lesson.options, lesson.facts), exploration)
    successes = model.success(lesson.options, lesson.facts)
    return Judged(
        person=lesson.person,
        reward=lesson.reward,
        logged=lesson.probabilities[lesson.chosen],
        target=targets[lesson.chosen],
        off_support=sum(
            target
            for target, logged in zip(targets, lesson.probabilities, strict=True)
            if logged == 0
        ),
        predicted=successes[lesson.chosen],
        expected=sum(target * p for target, p in zip(targets, successes, strict=True)),
    )
