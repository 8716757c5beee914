"""Computes how hard somebody finds it to get done what they are after.

    friction = repeats x 1 + errors x 2 + channel switches x 2 + back-and-forth x 1

over those of the newest 20 events that happened within 7 days; the weights are the workspace's.
`docs/signals.md` defines each part.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from domain.event import Event
from profiles.activity import RECENT_MAX, Moment
from profiles.terms import FrictionWeights, SignalTerms
from store.instants import micros

WINDOW = timedelta(days=7)
CHANNEL_CHARACTERS_MAX = 40
PARTS = ("repeats", "errors", "switches", "back_and_forth")
NAMES = ("friction", *(f"friction_{part}" for part in PARTS))


def channel_of(event: Event) -> str:
    """The channel that an event says it came by; empty where it says none."""
    said = event.properties.get("channel")
    return said.strip().lower()[:CHANNEL_CHARACTERS_MAX] if isinstance(said, str) else ""


def friction(recent: Sequence[Moment], now: datetime, terms: SignalTerms) -> dict[str, Any]:
    """The parts, as counts, and their weighted sum; nothing where no event means anything.

    Args:
        recent: the newest events, newest first.
    """
    if not terms.intents and not terms.errors:
        return {}
    since = micros(now - WINDOW)
    moments = [moment for moment in reversed(recent) if moment.at > since]
    by_intent: dict[str, list[Moment]] = defaultdict(list)
    for moment in moments:
        if moment.name in terms.intents:
            by_intent[terms.intents[moment.name]].append(moment)
    ways = list(by_intent.values())
    counts = {
        "repeats": sum(map(_repeats, ways)),
        "errors": sum(moment.name in terms.errors for moment in moments),
        "switches": sum(map(_switches, ways)),
        "back_and_forth": sum(map(_back_and_forth, ways)),
    }
    total = sum(getattr(terms.friction, part) * counts[part] for part in PARTS)
    named = {f"signal.friction_{part}": count for part, count in counts.items()}
    return {"signal.friction": float(total), **named}


def _repeats(way: Sequence[Moment]) -> int:
    """Events that had been there before, on the way to one thing."""
    return sum(count - 1 for count in Counter(moment.name for moment in way).values())


def _switches(way: Sequence[Moment]) -> int:
    """How often the next event that names a channel names another one."""
    channels = [moment.channel for moment in way if moment.channel]
    return sum(one != other for one, other in pairwise(channels))


def _back_and_forth(way: Sequence[Moment]) -> int:
    """How often somebody returns to what they had just left for something else: A, B, A."""
    names = [moment.name for moment in way]
    return sum(
        first == third != second
        for first, second, third in zip(names, names[1:], names[2:], strict=False)
    )


def source(fields: Mapping[str, Any], weights: FrictionWeights) -> str:
    """What a person's friction was made of."""
    parts = (
        f"{fields.get(f'signal.friction_{part}', 0)} {part.replace('_', '-')} "
        f"x {getattr(weights, part):g}"
        for part in PARTS
    )
    return f"{' + '.join(parts)}, {EVENTS}"


EVENTS = f"of the newest {RECENT_MAX} events those of {WINDOW.days} days"
