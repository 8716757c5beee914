"""Shows journeys: who is on them, what their files mean, and what they say in vain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, func, select

from agents import journey_checks
from agents.workspace import Workspace
from domain.errors import UsageError
from domain.journey import Journey
from service.assemble import assemble_reading
from service.lines import Printed, printable
from service.settings import find_workspace, instant_given, load
from service.troubles import trouble_lines
from store import tables as t
from store.database import Database
from store.instants import micros
from store.statements import Statement

STATES = ("waiting", "active", "reached", "exited", "expired", "merged")
_OVER = (t.instances.c.state == "active") & (t.instances.c.ends_at <= bindparam("now"))
_RUNS = Statement(
    select(t.instances.c.journey, t.instances.c.state, _OVER.label("is_over"), func.count())
    .group_by(t.instances.c.journey, t.instances.c.state, "is_over")
    .order_by(t.instances.c.journey)
)
_WAITING = Statement(
    select(t.timers.c.journey, func.count())
    .where(t.timers.c.state == "pending", t.timers.c.kind == "absence")
    .group_by(t.timers.c.journey)
)
_ARMS = Statement(
    select(t.assignments.c.journey, func.count())
    .where(t.assignments.c.arm == "held_out")
    .group_by(t.assignments.c.journey)
)
_VERSIONS = Statement(
    select(t.instances.c.journey, func.count())
    .where(t.instances.c.state == "active", t.instances.c.ends_at > bindparam("now"))
    .where(t.instances.c.journey_version != bindparam("version"))
    .group_by(t.instances.c.journey)
)


@dataclass(frozen=True, slots=True)
class Numbers:
    """How many runs of a journey are in each state; whose window is over, has expired.

    `waiting` are absences that are waited for, `held_out` people who are kept out, `earlier` those
    of the active that keep an earlier version.
    """

    states: Mapping[str, int] = field(default_factory=dict)
    held_out: int = 0
    earlier: int = 0


def counted(database: Database, version: str, now: datetime) -> dict[str, Numbers]:
    """The numbers of every journey that anybody is or was on."""
    states: dict[str, Counter[str]] = {}
    for journey, state, is_over, count in database.rows(_RUNS, now=micros(now)):
        states.setdefault(journey, Counter())["expired" if is_over else state] += count
    for journey, count in database.rows(_WAITING):
        states.setdefault(journey, Counter())["waiting"] = count
    held_out = dict(database.rows(_ARMS))
    earlier = dict(database.rows(_VERSIONS, now=micros(now), version=version))
    return {
        name: Numbers(states.get(name, {}), held_out.get(name, 0), earlier.get(name, 0))
        for name in sorted({*states, *held_out})
    }


def _read(
    workspace: Path | None, store: str | None, at: str | None
) -> tuple[Workspace, dict[str, Numbers], datetime]:
    loaded = load(find_workspace(workspace))
    database = assemble_reading(workspace, store)
    try:
        now = instant_given(at) or database.clock()
        return loaded, counted(database, loaded.version, now), now
    finally:
        database.close()


def list_lines(
    workspace: Path | None, store: str | None, at: str | None, *, as_json: bool
) -> Printed:
    """A line a journey: how many are on it, who owns it, and by when it is to be reviewed."""
    loaded, numbers, now = _read(workspace, store, at)
    if as_json:
        for name in sorted({*loaded.journeys, *numbers}):
            yield _as_json(name, loaded.journeys.get(name), numbers.get(name, Numbers()), now)
        return
    rows: list[tuple[str, ...]] = [("journey", *STATES, "held out", "owner", "review by")]
    for name in sorted({*loaded.journeys, *numbers}):
        found, journey = numbers.get(name, Numbers()), loaded.journeys.get(name)
        counts = (str(found.states.get(state, 0)) for state in STATES)
        owner = "(no such file any more)" if journey is None else printable(journey.owner)
        rows.append((name, *counts, str(found.held_out), owner, _review(journey, now)))
    yield from _aligned(rows)


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            text.rjust(width) if 0 < column < len(row) - 2 else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _review(journey: Journey | None, now: datetime) -> str:
    if journey is None or journey.review_by is None:
        return "-"
    overdue = " (overdue)" if journey.review_by < now.date() else ""
    return f"{journey.review_by}{overdue}"


def _as_json(name: str, journey: Journey | None, numbers: Numbers, now: datetime) -> dict[str, Any]:
    said: dict[str, Any] = {
        "journey": name,
        **{state: numbers.states.get(state, 0) for state in STATES},
        "held_out": numbers.held_out,
        "on_an_earlier_version": numbers.earlier,
    }
    if journey is None:
        return said
    due = journey.review_by
    return said | {
        "title": journey.title,
        "owner": journey.owner,
        "team": journey.team,
        "metric": journey.metric,
        "review_by": None if due is None else due.isoformat(),
        "is_overdue": due is not None and due < now.date(),
    }


# One journey


def show_lines(
    workspace: Path | None, store: str | None, name: str, at: str | None, *, as_json: bool
) -> Printed:
    """What a journey's file means in words, and how many are on it."""
    loaded, numbers, now = _read(workspace, store, at)
    journey, found = _named(loaded, name), numbers.get(name, Numbers())
    if as_json:
        yield _as_json(name, journey, found, now) | {"meaning": list(meaning(journey))}
        return
    yield f"{name}: {printable(journey.title)}  ({journey.place})"
    yield ""
    for line in meaning(journey):
        yield f"  {printable(line)}"
    yield ""
    counts = ", ".join(f"{found.states.get(state, 0)} {state}" for state in STATES)
    yield f"  {counts}; {found.held_out} people are held out"
    if found.earlier:
        yield f"  {found.earlier} of the active keep the version that they entered"
    yield f"  review by {_review(journey, now)}"


def _named(workspace: Workspace, name: str) -> Journey:
    if name not in workspace.journeys:
        raise UsageError(
            f"there is no journey `{name}`",
            place="argument `JOURNEY`",
            remedy=f"use one of {', '.join(sorted(workspace.journeys))}",
        )
    return workspace.journeys[name]


def meaning(journey: Journey) -> Iterator[str]:
    """The file in sentences, one fact each."""
    if journey.trigger is not None:
        yield f"It begins with `{journey.trigger}`, no older than {span(journey.max_age)}."
    absence = journey.absence
    if absence is not None:
        yield (
            f"It begins {span(absence.within)} after `{absence.after}` "
            f"if no `{absence.of}` has come."
        )
        if absence.sources:
            sources = ", ".join(f"`{source}`" for source in absence.sources)
            then = "begins all the same" if absence.on_lag == "act" else "does not begin"
            yield (
                f"It waits for {sources} to tell of that time, "
                f"at most {span(absence.max_wait)} longer; then it {then}."
            )
    if journey.entry is not None:
        yield f"It is entered where `{journey.entry}`."
    apart = f"for each `event.{journey.instance_key}`" if journey.instance_key else "at most once"
    yield f"A customer is on it {apart}, for {span(journey.window)}."
    yield f"Its goal is `{journey.goal}`; it is measured by {journey.metric.replace('_', ' ')}."
    if journey.exit is not None:
        yield f"It ends before that where `{journey.exit}`."
    names = ", ".join(f"`{name}`" for name in journey.actions)
    yield f"It may take {names}; the {journey.mind.replace('_', ' ')} chooses."
    if journey.again_after is not None:
        yield f"While its goal is not reached it tries again {span(journey.again_after)} later."
    if journey.escalation is not None:
        yield f"What is refused and asks for a person becomes `{journey.escalation}`."
    if journey.holdout:
        yield f"{journey.holdout:.0%} of people never get its marketing, to measure it."
    yield (
        f"`{journey.owner}` of team `{journey.team}` owns it, for brand `{journey.brand}`; "
        f"its priority is {journey.priority:g}."
    )


def span(time: timedelta) -> str:
    """A duration as the files write it."""
    seconds = int(time.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


# What is said in vain


def check_lines(workspace: Path | None, at: str | None, *, as_json: bool) -> tuple[Printed, int]:
    """A line for each thing said in vain, and the exit code: 1 where there is one."""
    loaded = load(find_workspace(workspace))
    today = (instant_given(at) or datetime.now().astimezone()).date()
    found = journey_checks.troubles(loaded, today)
    return trouble_lines(
        found, f"{len(loaded.journeys)} journeys", as_json=as_json
    ), 1 if found else 0


def draw_lines(workspace: Path | None, names: list[str], output: Path | None) -> Printed:
    """The picture of these journeys, or of all; written to a file where one is named."""
    from service.drawing import picture

    loaded = load(find_workspace(workspace))
    drawn = picture(loaded, [_named(loaded, name) for name in names or sorted(loaded.journeys)])
    if output is None:
        yield drawn
        return
    try:
        output.write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the picture cannot be written: {error.strerror}",
            place=str(output),
            remedy="name another file",
        ) from error
    yield f"drawn: {output}"
