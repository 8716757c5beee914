"""What an event was about, and when a person last did the like: what cool-offs go by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from domain.context import Occurrence
from domain.event import Event
from profiles.activity import Occasion, last_of
from profiles.terms import Terms
from store.instants import instant, micros

LINES = "products"
KEY_CHARACTERS_MAX = 200


def things(properties: Mapping[str, Any], match: str) -> tuple[str, ...]:
    """The values of a property, its own or those of each of the event's `products`."""
    if not match:
        return ()
    found = list(_texts(properties.get(match)))
    lines = properties.get(LINES)
    if isinstance(lines, list):
        for line in lines:
            found += _texts(line.get(match)) if isinstance(line, Mapping) else ()
    return tuple(dict.fromkeys(found))


def _texts(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, str | int) and not isinstance(item, bool) and str(item):
            yield str(item)[:KEY_CHARACTERS_MAX]


def of_event(event: Event, terms: Terms) -> tuple[Occasion, ...]:
    """What a cool-off or an absence may have to know of this event."""
    asked = (*terms.occasions.get(event.name, ()), *terms.watched.get(event.name, ()))
    if not asked:
        return ()
    matches = dict.fromkeys(asked)
    at = micros(event.time)
    return last_of(
        Occasion(event.name, match, key, at)
        for match in matches
        for key in things(event.properties, match) or ("",)
    )


def occurrences(
    kept: Iterable[Occasion], event: Event, terms: Terms, now: datetime
) -> tuple[Occurrence, ...]:
    """The last of each event that is about what this one is about, within the longest cool-off."""
    about = {m: things(event.properties, m) for ms in terms.occasions.values() for m in ms}
    since = micros(now - terms.cool_off)
    last: dict[tuple[str, str], int] = {}
    for occasion in kept:
        name = (occasion.event, occasion.match)
        if occasion.at <= since or occasion.match not in terms.occasions.get(occasion.event, ()):
            continue
        meant = about[occasion.match]
        if occasion.key in ("", *meant) or not meant:
            last[name] = max(occasion.at, last.get(name, occasion.at))
    return tuple(Occurrence(*name, instant(at)) for name, at in sorted(last.items()))
