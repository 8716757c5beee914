"""A journey is a goal with triggers, not a flow chart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

MindName = Literal["formula", "model", "model_if_unsure"]
LearningName = Literal["constant", "logistic", "bandit"]
InstanceState = Literal["active", "reached", "exited", "expired", "merged"]
Arm = Literal["treated", "held_out"]
OnLag = Literal["skip", "act"]
Metric = Literal[
    "conversion",
    "first_contact_resolution",
    "repeat_contact",
    "effort",
    "completion",
    "channel_switches",
]


@dataclass(frozen=True, slots=True)
class Absence:
    """A trigger that is something not happening: `after` an event, no `of` for as long as `within`.

    It is counted from `after`'s own time, and each further `after` begins it anew. `sources` are
    those that may be late in telling of `of`: until they have told of the whole time it waits, but
    for no longer than `max_wait` more; then, by `on_lag`, it is let go or taken for established.
    """

    after: str
    of: str
    within: timedelta
    max_wait: timedelta = timedelta(0)
    on_lag: OnLag = "skip"
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Journey:
    """A goal pursued for a person from `trigger` until `goal`, `exit` or the end of `window`.

    It begins with the event `trigger`, with an `absence`, or with either. `instance_key` is the
    event field that tells two instances of one person apart (two carts), or None for one per
    person. `entry` is a CEL condition. `holdout` is the share (0 to 1) of people who never get this
    journey's marketing. `max_age` is how old an event may be and still cause an action.
    `escalation` is the case or hand-off of actions that name none of their own. `again_after` is
    how long after something was done for it, in vain so far, the next is looked for. `metric` is
    what it is measured by, `review_by` the day by which its owner looks at it again.
    `learning` is how its candidates' propensities come about, from the context fields `features`;
    `exploration` is the share (0 to 1) of choices left to chance; `model` is the version it is
    pinned to, None for the newest.
    """

    name: str
    title: str
    brand: str
    trigger: str | None
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
    absence: Absence | None = None
    again_after: timedelta | None = None
    metric: Metric = "conversion"
    review_by: date | None = None
    learning: LearningName = "constant"
    exploration: float = 0.0
    features: tuple[str, ...] = ()
    model: str | None = None
    place: str = ""

    @property
    def begins_with(self) -> tuple[str, ...]:
        """The events that may begin it."""
        after = None if self.absence is None else self.absence.after
        return tuple(name for name in (self.trigger, after) if name is not None)

    @property
    def age_max(self) -> timedelta:
        """How old the event that an absence began with may be, once it is established."""
        absence = self.absence
        return self.max_age + (absence.within + absence.max_wait if absence else timedelta(0))


PlanOf = Callable[[str, str], Journey | None]
"""A journey as a workspace's version had it, by its name and the version."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One person's run of one journey. `key` is the keyed fingerprint of what tells it apart."""

    journey: str
    key: str
    state: InstanceState
    entered_at: datetime
    ends_at: datetime
    journey_version: str
