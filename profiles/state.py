"""What is known of one profile fragment, and how an event changes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from domain.canonical import canonical
from domain.event import Event, Identifier
from profiles.activity import Activity, joined
from profiles.zones import zone
from store.vault import Vault

TRAITS_MAX = 200
IDENTIFIERS_MAX = 200
ADDRESS_KINDS = ("email", "phone")
"""Identifiers that are contact points as well."""
ZONES_MAX = 8
ZONE_TRAIT = "time_zone"

Spell = tuple[datetime, datetime]
"""When something was first said, and when last."""


@dataclass(frozen=True, slots=True)
class Trait:
    """One trait as last said: its value, when it was true, by which source, and how sure (0 to 1)
    that source is of it."""

    value: Any
    at: datetime
    source: str
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Known:
    """One identifier of a fragment. `zones` are the time zones a phone number implies, and
    `jurisdictions` the codes of its country and state; `source` is what first named it.
    `session` counts the logouts on a device before."""

    ns: str
    value: str
    since: datetime
    zones: tuple[str, ...] = ()
    source: str = ""
    session: int = 0
    jurisdictions: tuple[str, ...] = ()

    @property
    def identifier(self) -> Identifier:
        """The name itself."""
        return Identifier(self.ns, self.value)


@dataclass(frozen=True, slots=True)
class Fragment:
    """A profile as one unmerged identity: what is sealed under its own erasable key.

    `first_at` and `last_at` are the instants of the earliest and the latest event, `activity` is
    what was done with each brand. `zones` are those that the person named as theirs, the last
    `ZONES_MAX`.
    """

    identifiers: tuple[Known, ...] = ()
    traits: Mapping[str, Trait] = field(default_factory=dict)
    events: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    activity: Mapping[str, Activity] = field(default_factory=dict)
    zones: Mapping[str, Spell] = field(default_factory=dict)

    def sealed_form(self) -> bytes:
        """Canonical bytes for keeping."""
        return canonical(self)

    def values(self, ns: str) -> tuple[str, ...]:
        """The identifiers of one namespace, oldest first."""
        return tuple(known.value for known in self.identifiers if known.ns == ns)


_DECODER = msgspec.json.Decoder(Fragment)


def read_fragment(data: bytes) -> Fragment:
    """The fragment that `sealed_form` wrote."""
    return _DECODER.decode(data)


def opened(
    vault: Vault, profile_id: str, sealed: bytes | None, wrapped: bytes | None
) -> Fragment | None:
    """A kept fragment under its own key; None where either was erased."""
    if sealed is None or wrapped is None:
        return None
    vault.unwrap(profile_id, "erasable", wrapped)
    return read_fragment(vault.open(profile_id, "erasable", "profiles", sealed))


def with_event(fragment: Fragment, event: Event, bearing: Iterable[Known]) -> Fragment:
    """The fragment after an event: its identifiers, and traits by event time, not by arrival.

    Of two values of one trait the later wins; at the same instant the surer, then the greater
    canonical form. The identifiers named first and the traits told last are kept. So the same
    events give the same fragment in any order.

    Args:
        bearing: the event's identifiers.
    """
    return Fragment(
        identifiers=_with_identifiers(fragment.identifiers, bearing),
        traits=_with_traits(fragment.traits, event),
        events=fragment.events + 1,
        first_at=min(fragment.first_at or event.time, event.time),
        last_at=max(fragment.last_at or event.time, event.time),
        activity=fragment.activity,
        zones=_with_zones(fragment.zones, _zones_said(event)),
    )


def _with_identifiers(old: tuple[Known, ...], bearing: Iterable[Known]) -> tuple[Known, ...]:
    known = {(k.ns, k.value, k.session): k for k in old}
    changed = False
    for new in bearing:
        key = (new.ns, new.value, new.session)
        kept = known.get(key)
        if kept is None or (new.since, new.source) < (kept.since, kept.source):
            known[key] = new
            changed = True
    if not changed:
        return old
    return tuple(sorted(known.values(), key=_age)[:IDENTIFIERS_MAX])


def _age(known: Known) -> tuple[datetime, str, str, int]:
    return known.since, known.ns, known.value, known.session


def _with_traits(old: Mapping[str, Trait], event: Event) -> Mapping[str, Trait]:
    if not event.traits:
        return old
    traits = dict(old)
    for name, value in event.traits.items():
        new = Trait(value, event.time, event.source, event.confidence)
        if name not in traits or _order(new) > _order(traits[name]):
            traits[name] = new
    if len(traits) > TRAITS_MAX:
        latest = sorted(traits, key=lambda name: (_order(traits[name]), name), reverse=True)
        traits = {name: traits[name] for name in latest[:TRAITS_MAX]}
    return traits


def _zones_said(event: Event) -> Mapping[str, Spell]:
    named = zone(event.traits.get(ZONE_TRAIT)) if event.traits else None
    return {} if named is None else {named: (event.time, event.time)}


def _with_zones(old: Mapping[str, Spell], new: Mapping[str, Spell]) -> Mapping[str, Spell]:
    if not new:
        return old
    zones = dict(old)
    for name, (first, last) in new.items():
        kept = zones.get(name, (first, last))
        zones[name] = min(first, kept[0]), max(last, kept[1])
    latest = sorted(zones, key=lambda name: (zones[name][1], name), reverse=True)
    return {name: zones[name] for name in latest[:ZONES_MAX]}


def zones_left(zones: Mapping[str, Spell], now: str | None) -> dict[str, datetime]:
    """Until when each zone but the one of `now` may have been the person's.

    That is until another was named: of one that was named before as well, the last time.
    """
    left = {}
    for name, (_, last) in zones.items():
        after = [s if s > last else e for other, (s, e) in zones.items() if other != name]
        if name != now:
            left[name] = min((at for at in after if at > last), default=last)
    return left


def _order(trait: Trait) -> tuple[datetime, float, bytes, str]:
    return trait.at, trait.confidence, canonical(trait.value), trait.source


def folded(fragments: Iterable[Fragment]) -> Fragment:
    """Several fragments of one person as one view; events add up, the latest trait wins."""
    parts = list(fragments)
    if len(parts) == 1:
        return parts[0]
    identifiers: tuple[Known, ...] = ()
    traits: dict[str, Trait] = {}
    zones: Mapping[str, Spell] = {}
    done: dict[str, list[Activity]] = {}
    for part in parts:
        for brand, activity in part.activity.items():
            done.setdefault(brand, []).append(activity)
        identifiers = _with_identifiers(identifiers, part.identifiers)
        zones = _with_zones(zones, part.zones)
        for name, trait in part.traits.items():
            if name not in traits or _order(trait) > _order(traits[name]):
                traits[name] = trait
    return Fragment(
        identifiers,
        traits,
        sum(part.events for part in parts),
        min((part.first_at for part in parts if part.first_at is not None), default=None),
        max((part.last_at for part in parts if part.last_at is not None), default=None),
        {brand: joined(activities) for brand, activities in done.items()},
        zones,
    )
