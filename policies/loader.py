"""Turns the YAML files under `policies/` into a `PolicySet`, or says where they are wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256

from domain.budget import Budget
from domain.canonical import canonical
from domain.caps import CapScope, Dimension
from domain.context import FieldLabel
from domain.errors import ConfigurationError
from domain.verdict import EVERYONE, Audience
from domain.windows import Calendar, DayParts, Rolling, Window
from policies.documents import Document, parse_yaml
from policies.expressions import Condition, compile_condition
from policies.hours import ALL_DAY, EVERY_DAY, NO_HOLIDAYS, Hours, never_open
from policies.media import ADDRESSES, media
from policies.policy_set import (
    BUILT_IN_FIELDS,
    BUILT_IN_RULES,
    ChannelPolicy,
    PolicySet,
    Purpose,
)
from policies.purposes import read_purpose
from policies.question import Rule
from policies.rules.budgets import BudgetLeft
from policies.rules.caps import FrequencyCap
from policies.rules.cool_offs import CoolOff
from policies.rules.engagement import ApprovalRule, EngagementRule
from policies.rules.exclusion import AMONG, Among, Exclusive, SameCreative
from policies.rules.look_ahead import LookAhead
from policies.rules.quiet import QuietHours
from policies.schema import (
    CapEntry,
    ChannelEntry,
    ExclusiveEntry,
    HoursEntry,
    LawEntry,
    Member,
    PolicyFile,
    ShownTo,
    SlotEntry,
)

Loaded = tuple[Document, PolicyFile]

_SCOPED = (
    "frequency_caps",
    "slots",
    "quiet_hours",
    "cool_offs",
    "same_creative",
    "look_ahead",
    "budgets",
    "rules",
)
"""Sections whose entries may name purposes and channels."""


def load_policies(files: Mapping[str, str]) -> PolicySet:
    """Compile the policy files of a workspace.

    Args:
        files: text by path as shown to people (`policies/contact.yaml`).

    Raises:
        ConfigurationError: with file, line, what is wrong and the remedy.
    """
    loaded: list[Loaded] = []
    for path in sorted(files):
        document = parse_yaml(files[path], path)
        loaded.append((document, document.validate(PolicyFile)))
    channels = _channels(loaded)
    fields = _fields(loaded) | {
        label.name: label
        for label in (FieldLabel(f"signal.engagement.{name}", "double") for name in channels)
    }
    purposes = _purposes(loaded, channels, fields)
    caps = (*_caps(loaded), *_slots(loaded))
    rules: tuple[Rule, ...] = (
        *caps,
        *_hours(loaded, channels),
        *_across_teams(loaded, purposes),
        *_engagement(loaded, fields),
    )
    approvals: tuple[Rule, ...] = tuple(_approvals(loaded, fields))
    _check_unique((*rules, *approvals))
    _check_scopes(loaded, purposes, channels)
    version = sha256(canonical(dict(files))).hexdigest()[:16]
    return PolicySet(
        version,
        purposes,
        channels,
        fields,
        rules,
        approvals,
        caps,
        tuple(band for _, file in loaded for band in file.minors),
        _access_needs(loaded, channels),
    )


def compile_text(
    document: Document, keys: tuple[str | int, ...], text: str, fields: Mapping[str, FieldLabel]
) -> Condition:
    """Compile one CEL condition, its errors placed in the YAML it stands in."""
    return compile_condition(
        text,
        fields,
        shown_as=document.path,
        line=document.line_of_text(*keys),
        spot=lambda offset: document.spot(keys, text, offset),
    )


def context_fields(fields: Mapping[str, FieldLabel]) -> dict[str, FieldLabel]:
    """The fields that a condition about the customer and the event may read."""
    return {name: label for name, label in fields.items() if not name.startswith("action.")}


def _fields(loaded: Iterable[Loaded]) -> dict[str, FieldLabel]:
    fields = {label.name: label for label in BUILT_IN_FIELDS}
    for document, file in loaded:
        for name, entry in file.fields.items():
            place = document.place("fields", name)
            if name in fields:
                raise ConfigurationError(
                    f"field `{name}` is declared twice",
                    **document.at("fields", name),
                    remedy=f"remove one; the other is at {fields[name].place or 'built in'}",
                )
            if name.split(".")[0] not in ("profile", "event"):
                raise ConfigurationError(
                    f"field `{name}` belongs to no known root",
                    **document.at("fields", name),
                    remedy="begin it with `profile.` or `event.`; `signal.` fields are built in",
                )
            within = [known for known in fields if _is_within(name, known)]
            if within:
                raise ConfigurationError(
                    f"field `{name}` and field `{within[0]}` are one inside the other",
                    **document.at("fields", name),
                    remedy="rename one of them",
                )
            if entry.retention != "erasable" and not name.startswith("profile."):
                raise ConfigurationError(
                    f"field `{name}` is `{entry.retention}`, and only a profile's fields can be "
                    "kept after an erasure",
                    place=place,
                    remedy="leave `retention` out, or have the producer send it as a trait",
                )
            fields[name] = FieldLabel(
                name=name,
                type=entry.type,
                optional=entry.optional,
                controller=entry.controller,
                category=entry.category,
                uses=tuple(entry.uses),
                retention=entry.retention,
                names=entry.names,
                place=place,
            )
    return fields


def _is_within(one: str, other: str) -> bool:
    return one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _purposes(
    loaded: Iterable[Loaded],
    channels: Mapping[str, ChannelPolicy],
    fields: Mapping[str, FieldLabel],
) -> dict[str, Purpose]:
    purposes: dict[str, Purpose] = {}
    for document, file in loaded:
        for name, entry in file.purposes.items():
            place = document.place("purposes", name)
            if name in purposes:
                raise _twice("purpose", name, place, purposes[name].place)
            purposes[name] = read_purpose(document, name, entry, channels, fields)
    return purposes


def _channels(loaded: Iterable[Loaded]) -> dict[str, ChannelPolicy]:
    channels: dict[str, ChannelPolicy] = {}
    for document, file in loaded:
        for name, entry in file.channels.items():
            place = document.place("channels", name)
            if name in channels:
                raise _twice("channel", name, place, channels[name].place)
            if entry.address == "phone" and entry.zones == "first_known":
                raise ConfigurationError(
                    f"channel `{name}` rings a phone and asks one zone only whether it is night",
                    place=document.place("channels", name, "zones"),
                    remedy="use `zones: all`, or leave it out",
                )
            _check_medium(name, entry, place)
            all_zones = entry.zones == "all" or entry.address == "phone"
            channels[name] = ChannelPolicy(
                name,
                entry.title,
                entry.address,
                all_zones,
                place,
                media(name, entry.address, entry.medium),
            )
    return channels


def _access_needs(
    loaded: Iterable[Loaded], channels: Mapping[str, ChannelPolicy]
) -> dict[str, frozenset[str]]:
    needs: dict[str, frozenset[str]] = {}
    places: dict[str, str] = {}
    for document, file in loaded:
        for name, closes in file.access_needs.items():
            place = document.place("access_needs", name)
            if name in needs:
                raise _twice("access need", name, place, places[name])
            unknown = [channel for channel in closes if channel not in channels]
            if unknown:
                raise ConfigurationError(
                    f"access need `{name}` closes `{unknown[0]}`, which is not among channels",
                    place=place,
                    remedy=f"use one of {', '.join(sorted(channels)) or 'none declared'}",
                )
            needs[name], places[name] = frozenset(closes), place
    return needs


def _check_medium(name: str, entry: ChannelEntry, place: str) -> None:
    if entry.medium is None:
        return
    address = ADDRESSES[entry.medium]
    contrary = name in ADDRESSES and name != entry.medium
    if contrary or address != entry.address:
        cause = "bears the name of another" if contrary else f"is reached by `{entry.address}`"
        remedy = "rename it" if contrary else f"use `address: {address}`, or the right medium"
        raise ConfigurationError(
            f"channel `{name}` is declared as `{entry.medium}` and {cause}",
            place=place,
            remedy=remedy,
        )


def _caps(loaded: Iterable[Loaded]) -> Iterable[FrequencyCap]:
    for document, file in loaded:
        for index, entry in enumerate(file.frequency_caps):
            scope = CapScope(
                entry.id,
                entry.limit,
                _window(document, index, entry),
                entry.per,
                entry.counts,
                tuple(_among(entry)),
            )
            yield FrequencyCap(
                document.place("frequency_caps", index),
                scope,
                on_capped=entry.on_capped,
                reason=entry.reason,
                shown_to=_audience(entry.shown_to),
            )


def _slots(loaded: Iterable[Loaded]) -> Iterable[FrequencyCap]:
    """A slot is a part of the day in which a brand contacts a person once."""
    for document, file in loaded:
        for index, entry in enumerate(file.slots):
            if list(entry.day_parts) != sorted(set(entry.day_parts)):
                raise ConfigurationError(
                    f"slot `{entry.id}` has day parts out of order",
                    place=document.place("slots", index, "day_parts"),
                    remedy="name when each begins, once and in order: `[06:00, 12:00, 18:00]`",
                )
            scope = CapScope(
                entry.id,
                1,
                DayParts("day", entry.tz, starts=tuple(entry.day_parts)),
                among=tuple(_among(entry)),
                same_brand=True,
                counts_held=entry.while_held == "wait",
            )
            yield FrequencyCap(
                document.place("slots", index),
                scope,
                on_capped=entry.on_taken,
                reason=entry.reason or "something else had this part of the day",
                code="slot_taken",
                shown_to=_audience(entry.shown_to),
            )


_DIMENSIONS: tuple[Dimension, ...] = (
    "brand",
    "channel",
    "purpose",
    "topic",
    "journey",
    "team",
    "group",
)


def _among(entry: CapEntry | SlotEntry) -> Iterable[tuple[Dimension, frozenset[str]]]:
    for dimension in _DIMENSIONS:
        names: list[str] | None = getattr(entry, f"{dimension}s", None)
        if names is not None:
            yield dimension, frozenset(names)


def _window(document: Document, index: int, entry: CapEntry) -> Window:
    def wrong(cause: str, remedy: str, key: str = "id") -> ConfigurationError:
        place = document.place("frequency_caps", index, key)
        return ConfigurationError(f"cap `{entry.id}` {cause}", place=place, remedy=remedy)

    if entry.calendar is None:
        if entry.window is None:
            raise wrong("has no `window`", "add one such as `window: 7d`, or `calendar: week`")
        for key in ("tz", "week_start"):
            if getattr(entry, key) is not None:
                raise wrong(
                    f"has a `{key}`, which its `window` of elapsed time does not go by",
                    f"remove `{key}`, or write `calendar: week` for `window`",
                    key,
                )
        return Rolling(entry.window)
    if entry.window is not None:
        raise wrong("has a `window` and a `calendar`", "keep one of them", "calendar")
    if entry.tz is None:
        raise wrong(
            f"counts by the {entry.calendar} and has no `tz`",
            "add one such as `tz: Europe/Berlin`, or `tz: person`",
            "calendar",
        )
    if entry.calendar != "week":
        if entry.week_start is not None:
            raise wrong(
                f"counts by the {entry.calendar} and has a `week_start`", "remove it", "week_start"
            )
        return Calendar(entry.calendar, entry.tz)
    if entry.week_start is None:
        raise wrong(
            "counts by the week and has no `week_start`",
            "add `week_start: monday` or `week_start: sunday`",
            "calendar",
        )
    return Calendar("week", entry.tz, entry.week_start)


def _hours(loaded: Iterable[Loaded], channels: Mapping[str, ChannelPolicy]) -> Iterable[QuietHours]:
    all_zones = frozenset(name for name, channel in channels.items() if channel.all_zones)
    kept: dict[str, list[Hours]] = {}
    for document, file in loaded:
        for index, entry in enumerate(file.quiet_hours):
            place = document.place("quiet_hours", index)
            general = _hours_of(entry)
            for channel in entry.channels:
                kept.setdefault(channel, []).append(general)
                if never_open(*kept[channel]):
                    raise _impossible(entry.id, place, f"the other quiet hours of `{channel}`")
            laws = {code: _hours_of(law) for code, law in entry.jurisdictions.items()}
            for code, law in laws.items():
                if never_open(general, law):
                    at = document.place("quiet_hours", index, "jurisdictions", code)
                    raise _impossible(entry.id, at, f"the hours of `{code}`")
            yield QuietHours(
                entry.id,
                place,
                channels=frozenset(entry.channels),
                all_zones=all_zones,
                hours=general,
                laws=laws,
                on_quiet=entry.on_quiet,
                reason=entry.reason,
                shown_to=_audience(entry.shown_to),
            )


def _hours_of(entry: HoursEntry | LawEntry) -> Hours:
    return Hours(
        ALL_DAY if entry.window is None else entry.window,
        EVERY_DAY if entry.days is None else entry.days,
        NO_HOLIDAYS if entry.holidays is None else entry.holidays,
    )


def _impossible(rule: str, place: str, other: str) -> ConfigurationError:
    return ConfigurationError(
        f"rule `{rule}` is never open: its window and {other} do not meet",
        place=place,
        remedy="widen one of them",
    )


def _across_teams(loaded: Iterable[Loaded], purposes: Mapping[str, Purpose]) -> Iterable[Rule]:
    marketing = frozenset(purpose.name for purpose in purposes.values() if purpose.marketing)
    for document, file in loaded:
        for index, cool_off in enumerate(file.cool_offs):
            yield CoolOff(
                cool_off.id,
                document.place("cool_offs", index),
                after=frozenset(cool_off.after),
                lasts=cool_off.lasts,
                purposes=_frozen(cool_off.purposes) or marketing,
                match=(cool_off.match or "").removeprefix("event."),
                reason=cool_off.reason,
                shown_to=_audience(cool_off.shown_to),
            )
        for index, exclusive in enumerate(file.exclusive):
            yield _exclusive(document, index, exclusive)
        for index, creative in enumerate(file.same_creative):
            yield SameCreative(
                creative.id,
                document.place("same_creative", index),
                within=creative.within,
                purposes=_frozen(creative.purposes) or marketing,
                reason=creative.reason or "the same words were sent before",
                shown_to=_audience(creative.shown_to),
            )
        for index, ahead in enumerate(file.look_ahead):
            yield LookAhead(
                ahead.id,
                document.place("look_ahead", index),
                horizon=ahead.horizon,
                below=ahead.below,
                journeys=_frozen(ahead.journeys),
                purposes=_frozen(ahead.purposes),
                exempt=frozenset(p.name for p in purposes.values() if p.model == "exempt"),
                reason=ahead.reason or "something better is scheduled",
                shown_to=_audience(ahead.shown_to),
            )
        for index, budget in enumerate(file.budgets):
            yield BudgetLeft(
                budget.id,
                document.place("budgets", index),
                budget=Budget(
                    budget.id,
                    budget.amount,
                    budget.period,
                    budget.tz,
                    _frozen(budget.purposes),
                    _frozen(budget.journeys),
                    _frozen(budget.teams),
                    _frozen(budget.brands),
                ),
                reason=budget.reason or f"the budget of {budget.amount}",
                shown_to=_audience(budget.shown_to),
            )


def _exclusive(document: Document, index: int, entry: ExclusiveEntry) -> Exclusive:
    place = document.place("exclusive", index)
    given: list[tuple[Among, list[Member]]] = []
    for among in AMONG:
        members = getattr(entry, among)
        if members is not None:
            given.append((among, members))
    if len(given) != 1:
        raise ConfigurationError(
            f"rule `{entry.id}` is about {len(given)} kinds of things",
            place=place,
            remedy=f"give it one of {', '.join(f'`{among}`' for among in AMONG)}",
        )
    ((among, members),) = given
    parts = [frozenset([part] if isinstance(part, str) else part) for part in members]
    names = [name for part in parts for name in part]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError(
            f"rule `{entry.id}` has `{twice}` in two parts of its set",
            place=document.place("exclusive", index, among),
            remedy="leave it in one of them",
        )
    return Exclusive(
        entry.id,
        place,
        among=among,
        members=parts,
        within=entry.within,
        reason=entry.reason or "another of the set comes first",
        shown_to=_audience(entry.shown_to),
    )


def _engagement(
    loaded: Iterable[Loaded], fields: Mapping[str, FieldLabel]
) -> Iterable[EngagementRule]:
    readable = context_fields(fields)
    for document, file in loaded:
        for index, entry in enumerate(file.rules):
            yield EngagementRule(
                entry.id,
                document.place("rules", index),
                stage=entry.stage,
                condition=compile_text(document, ("rules", index, "when"), entry.when, readable),
                reason=entry.reason,
                scope={
                    "actions": _frozen(entry.actions),
                    "purposes": _frozen(entry.purposes),
                    "channels": _frozen(entry.channels),
                    "journeys": _frozen(entry.journeys),
                },
                shown_to=_audience(entry.shown_to),
            )


def _approvals(
    loaded: Iterable[Loaded], fields: Mapping[str, FieldLabel]
) -> Iterable[ApprovalRule]:
    for document, file in loaded:
        for index, entry in enumerate(file.approvals):
            yield ApprovalRule(
                entry.id,
                document.place("approvals", index),
                condition=compile_text(document, ("approvals", index, "when"), entry.when, fields),
                reason=entry.reason,
                role=entry.role,
                quorum=entry.quorum,
                expires_in=entry.expires_in,
                shown_to=_audience(entry.shown_to),
            )


def _check_unique(rules: Iterable[Rule]) -> None:
    seen = dict.fromkeys(BUILT_IN_RULES, "built in, under this very name")
    for rule in rules:
        if rule.id in seen:
            raise _twice("rule", rule.id, rule.place, seen[rule.id])
        seen[rule.id] = rule.place


def _check_scopes(
    loaded: Iterable[Loaded],
    purposes: Mapping[str, Purpose],
    channels: Mapping[str, ChannelPolicy],
) -> None:
    for document, file in loaded:
        for section in _SCOPED:
            for index, entry in enumerate(getattr(file, section)):
                for key, known in (("purposes", purposes), ("channels", channels)):
                    for name in getattr(entry, key, None) or ():
                        if name not in known:
                            raise ConfigurationError(
                                f"rule `{entry.id}` names `{name}`, which is not among {key}",
                                **document.at(section, index, key),
                                remedy=f"use one of {', '.join(sorted(known)) or 'none declared'}",
                            )


def _twice(kind: str, name: str, place: str, other: str) -> ConfigurationError:
    return ConfigurationError(
        f"{kind} `{name}` is declared twice", place=place, remedy=f"the other is at {other}"
    )


def _frozen(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _audience(shown_to: ShownTo | None) -> tuple[Audience, ...]:
    return EVERYONE if shown_to is None else tuple(shown_to)
