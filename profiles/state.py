"""What is known of one profile fragment, and how an event changes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from domain.canonical import canonical
from domain.event import Event, Identifier
from profiles.activity import Activity, joined
from store.vault import Vault

TRAITS_MAX = 200
IDENTIFIERS_MAX = 200


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
    """One identifier of a fragment. `shared` ones no longer resolve; they are contact points.
    `zones` are the time zones a phone number implies, `source` is what first named it."""

    ns: str
    value: str
    since: datetime
    shared: bool = False
    zones: tuple[str, ...] = ()
    source: str = ""

    @property
    def identifier(self) -> Identifier:
        """The name itself."""
        return Identifier(self.ns, self.value)


@dataclass(frozen=True, slots=True)
class Fragment:
    """A profile as one unmerged identity: what is sealed under its own erasable key. `activity`
    is what was done with each brand."""

    identifiers: tuple[Known, ...] = ()
    traits: Mapping[str, Trait] = field(default_factory=dict)
    events: int = 0
    activity: Mapping[str, Activity] = field(default_factory=dict)

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


def with_event(
    fragment: Fragment, event: Event, attached: Iterable[Known], *, counts: bool = True
) -> Fragment:
    """The fragment after an event: new identifiers, and traits by event time, not by arrival.

    Of two values of one trait the later wins; at the same instant the surer, then the greater
    canonical form, so that the order of arrival never matters.
    """
    known = {(k.ns, k.value): k for k in fragment.identifiers}
    for new in attached:
        old = known.get((new.ns, new.value))
        if old is None:
            if len(known) < IDENTIFIERS_MAX:
                known[(new.ns, new.value)] = new
        else:
            first = min(old, new, key=lambda k: (k.since, k.source))
            known[(new.ns, new.value)] = replace(first, shared=old.shared or new.shared)
    return Fragment(
        identifiers=tuple(sorted(known.values(), key=lambda k: (k.since, k.ns, k.value))),
        traits=_with_traits(fragment.traits, event),
        events=fragment.events + (1 if counts else 0),
        activity=fragment.activity,
    )


def _with_traits(old: Mapping[str, Trait], event: Event) -> Mapping[str, Trait]:
    if not event.traits:
        return old
    traits = dict(old)
    for name, value in event.traits.items():
        new = Trait(value, event.time, event.source, event.confidence)
        if name not in traits:
            if len(traits) < TRAITS_MAX:
                traits[name] = new
        elif _order(new) > _order(traits[name]):
            traits[name] = new
    return traits


def _order(trait: Trait) -> tuple[datetime, float, bytes, str]:
    return trait.at, trait.confidence, canonical(trait.value), trait.source


def folded(fragments: Iterable[Fragment]) -> Fragment:
    """Several fragments of one person as one view; events add up, the latest trait wins."""
    identifiers: list[Known] = []
    traits: dict[str, Trait] = {}
    events = 0
    done: dict[str, list[Activity]] = {}
    for fragment in fragments:
        identifiers += fragment.identifiers
        events += fragment.events
        for brand, part in fragment.activity.items():
            done.setdefault(brand, []).append(part)
        for name, trait in fragment.traits.items():
            if name not in traits or _order(trait) > _order(traits[name]):
                traits[name] = trait
    identifiers.sort(key=lambda k: (k.since, k.ns, k.value))
    activity = {brand: joined(parts) for brand, parts in done.items()}
    return Fragment(tuple(identifiers), traits, events, activity)
