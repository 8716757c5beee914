"""What is known of the absences that an event begins, or that a pass is about.

It is read from the last time of each event, which is the same in whatever order events came in: so
late events and early ones give the same absences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from domain.context import Silence
from domain.event import Event
from domain.journey import Journey
from profiles.activity import Activity, Occasion
from profiles.occasions import things
from store.instants import instant


def silences(
    journeys: Iterable[Journey], event: Event, done: Iterable[Mapping[str, Activity]]
) -> tuple[Silence, ...]:
    """The journeys' absences, as far as they are known.

    Args:
        journeys: those whose absence is counted from the event.
        done: what each of the person's fragments has done with each brand.
    """
    parts = list(done)
    return tuple(
        _silence(journey, event, [part[journey.brand] for part in parts if journey.brand in part])
        for journey in journeys
    )


def _silence(journey: Journey, event: Event, done: Iterable[Activity]) -> Silence:
    assert journey.absence is not None
    match = journey.instance_key or ""
    about = things(event.properties, match) or ("",)
    occasions = [o for activity in done for o in activity.occasions if o.match == match]
    since = _last(occasions, journey.absence.after, about) or event.time
    # One that cannot be told apart may be about this very thing.
    broken_at = _last(occasions, journey.absence.of, (*about, "") if about != ("",) else None)
    is_broken = broken_at is not None and broken_at >= since
    return Silence(journey.name, since, broken_at if is_broken else None)


def _last(
    occasions: Iterable[Occasion], event: str, about: tuple[str, ...] | None
) -> datetime | None:
    """The last time of an event about one of some things, or about any."""
    found = [o.at for o in occasions if o.event == event and (about is None or o.key in about)]
    return instant(max(found)) if found else None
