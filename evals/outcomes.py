"""What came of each journey, by arm: people who were treated against those who were held out.

A journey's instance counts once its window is over. Whoever was in both arms, because two people
turned out to be one, is contaminated and left out; nothing is known any more of who was erased.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select

from agents.workspace import Workspace
from domain.journey import Journey
from evals.requests import Request, Requests
from evals.statistics import Interval, newcombe, wilson
from store import tables as t
from store.database import Database, Snapshot
from store.instants import instant, micros
from store.statements import Statement

UNASSIGNED = "all"
"""The arm of everybody where a journey holds nobody out."""

_ROOT = t.profiles.c.root_id
_INSTANCES = Statement(
    select(
        _ROOT,
        t.instances.c.state,
        t.instances.c.entered_at,
        t.instances.c.ends_at,
    )
    .join(t.profiles, t.profiles.c.profile_id == t.instances.c.profile_id)
    .where(
        t.instances.c.journey == bindparam("journey"),
        t.instances.c.ends_at <= bindparam("until"),
        t.instances.c.state != "merged",
    )
    .order_by(_ROOT, t.instances.c.entered_at, t.instances.c.key)
)
_ARMS = Statement(
    select(_ROOT, t.assignments.c.arm)
    .join(t.profiles, t.profiles.c.profile_id == t.assignments.c.profile_id)
    .where(t.assignments.c.journey == bindparam("journey"))
    .distinct()
)


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, and the interval of their proportion; of none, nothing is known."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The proportion."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> Interval | None:
        """Wilson's, 95 %."""
        return wilson(self.count, self.of) if self.of else None


@dataclass(frozen=True, slots=True)
class ArmOutcome:
    """What came of one arm.

    `conversion`: people who reached the goal, of those who entered. `completion`: instances that
    reached it. `resolved_first`: requests that were resolved without another on the same topic
    until `repeat_within` after; `repeated`: those with another within that time. These two, and the
    mean number of `channel_switches` a request, are for journeys that a request triggers.
    """

    arm: str
    conversion: Share
    completion: Share
    resolved_first: Share
    repeated: Share
    channel_switches: float | None


@dataclass(frozen=True, slots=True)
class JourneyOutcome:
    """A journey's arms; `uplift` is the conversion of the treated less that of the held out."""

    journey: str
    goal: str
    arms: tuple[ArmOutcome, ...]
    contaminated: int
    uplift: float | None = None
    uplift_interval: Interval | None = None


@dataclass(slots=True)
class _Sums:
    people: dict[str, bool] = field(default_factory=dict)
    entered: int = 0
    reached: int = 0
    requests: int = 0
    first: int = 0
    repeated: int = 0
    switches: int = 0


def outcomes(
    database: Database, workspace: Workspace, journeys: Iterable[Journey], until: datetime
) -> list[JourneyOutcome]:
    """What came of journeys whose windows were over by `until`."""
    with database.read() as snapshot:
        requests = Requests(snapshot, database.vault, workspace, until)
        within = workspace.outcomes.repeat_within
        return [_outcome(snapshot, journey, requests, within, until) for journey in journeys]


def _outcome(
    snapshot: Snapshot, journey: Journey, requests: Requests, within: timedelta, until: datetime
) -> JourneyOutcome:
    arms: dict[str, set[str]] = {}
    for root, arm in snapshot.rows(_ARMS, journey=journey.name):
        arms.setdefault(root, set()).add(arm)
    sums: dict[str, _Sums] = {}
    contaminated = set()
    for root, state, entered_at, ends_at in snapshot.rows(
        _INSTANCES, journey=journey.name, until=micros(until)
    ):
        mine = arms.get(root, {UNASSIGNED})
        if len(mine) > 1:
            contaminated.add(root)
            continue
        arm = sums.setdefault(next(iter(mine)), _Sums())
        arm.entered += 1
        arm.reached += state == "reached"
        arm.people[root] = arm.people.get(root, False) or state == "reached"
        entered, ends = instant(int(entered_at)), instant(int(ends_at))
        if ends + within <= until:
            _take_request(arm, requests.about(root, journey, entered, ends), within)
    found = {name: _arm(name, arm) for name, arm in sorted(sums.items(), reverse=True)}
    uplift, interval = _uplift(found)
    made = tuple(found.values())
    return JourneyOutcome(journey.name, journey.goal, made, len(contaminated), uplift, interval)


def _take_request(arm: _Sums, request: Request | None, within: timedelta) -> None:
    if request is None:
        return
    arm.requests += 1
    arm.repeated += request.is_repeated(within)
    arm.first += request.is_resolved_first(within)
    arm.switches += request.channel_switches(within)


def _arm(name: str, arm: _Sums) -> ArmOutcome:
    return ArmOutcome(
        arm=name,
        conversion=Share(sum(arm.people.values()), len(arm.people)),
        completion=Share(arm.reached, arm.entered),
        resolved_first=Share(arm.first, arm.requests),
        repeated=Share(arm.repeated, arm.requests),
        channel_switches=arm.switches / arm.requests if arm.requests else None,
    )


def _uplift(arms: Mapping[str, ArmOutcome]) -> tuple[float | None, Interval | None]:
    treated, held_out = arms.get("treated"), arms.get("held_out")
    if treated is None or held_out is None:
        return None, None
    one, other = treated.conversion, held_out.conversion
    interval = newcombe(one.count, one.of, other.count, other.of)
    return one.count / one.of - other.count / other.of, interval


def named(workspace: Workspace, names: Sequence[str]) -> list[Journey]:
    """The journeys of these names, or all."""
    return [workspace.journeys[name] for name in names or sorted(workspace.journeys)]
