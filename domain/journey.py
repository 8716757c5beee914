"""A journey is a goal with triggers, not a flow chart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

MindName = Literal["formula", "model", "model_if_unsure"]
LearningName = Literal["constant", "logistic", "bandit"]
InstanceState = Literal["active", "reached", "exited", "expired", "merged"]
Arm = Literal["treated", "held_out"]


@dataclass(frozen=True, slots=True)
class Journey:
    """A goal pursued for a person from `trigger` until `goal`, `exit` or the end of `window`.

    `instance_key` is the event field that tells two instances of one person apart (two carts),
    or None for one per person. `entry` is a CEL condition. `holdout` is the share (0 to 1) of
    people who never get this journey's marketing. `max_age` is how old an event may be and still
    cause an action. `escalation` is the case or hand-off of actions that name none of their own.
    `learning` is how its candidates' propensities come about, from the context fields `features`;
    `exploration` is the share (0 to 1) of choices left to chance; `model` is the version it is
    pinned to, None for the newest.
    """

    name: str
    title: str
    brand: str
    trigger: str
    goal: str
    actions: tuple[str, ...]
    owner: str
    team: str
    instance_key: str | None = None
    entry: str | None = None
    exit: str | None = None
    window: timedelta = timedelta(days=7)
    max_age: timedelta = timedelta(minutes=15)
    holdout: float = 0.0
    priority: float = 1.0
    mind: MindName = "formula"
    escalation: str | None = None
    learning: LearningName = "constant"
    exploration: float = 0.0
    features: tuple[str, ...] = ()
    model: str | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class Instance:
    """One person's run of one journey. `key` is the keyed fingerprint of what tells it apart."""

    journey: str
    key: str
    state: InstanceState
    entered_at: datetime
    ends_at: datetime
    journey_version: str
