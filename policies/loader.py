"""Turns the YAML files under `policies/` into a `PolicySet`, or says where they are wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256

from domain.canonical import canonical
from domain.caps import CapScope, Dimension
from domain.context import FieldLabel
from domain.errors import ConfigurationError
from domain.verdict import EVERYONE, Audience
from domain.windows import Calendar, Rolling, Window
from policies.documents import Document, parse_yaml
from policies.expressions import Condition, compile_condition
from policies.policy_set import (
    BUILT_IN_FIELDS,
    BUILT_IN_RULES,
    ChannelPolicy,
    PolicySet,
    Purpose,
)
from policies.question import Rule
from policies.rules.caps import FrequencyCap
from policies.rules.engagement import ApprovalRule, EngagementRule
from policies.rules.quiet import QuietHours
from policies.schema import CapEntry, PolicyFile, ShownTo

Loaded = tuple[Document, PolicyFile]


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
    purposes = _purposes(loaded)
    caps = tuple(_caps(loaded))
    rules: tuple[Rule, ...] = (
        *caps,
        *_hours(loaded, channels),
        *_engagement(loaded, fields),
    )
    approvals: tuple[Rule, ...] = tuple(_approvals(loaded, fields))
    _check_unique((*rules, *approvals))
    _check_scopes(loaded, purposes, channels)
    version = sha256(canonical(dict(files))).hexdigest()[:16]
    return PolicySet(version, purposes, channels, fields, rules, approvals, caps)


def compile_text(
    document: Document, keys: tuple[str | int, ...], text: str, fields: Mapping[str, FieldLabel]
) -> Condition:
    """Compile one CEL condition, its errors placed in the YAML it stands in."""
    line, column = document.position(*keys)
    return compile_condition(text, fields, shown_as=document.path, line=line, column=column)


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
                    place=place,
                    remedy=f"remove one; the other is at {fields[name].place or 'built in'}",
                )
            if name.split(".")[0] not in ("profile", "event"):
                raise ConfigurationError(
                    f"field `{name}` belongs to no known root",
                    place=place,
                    remedy="begin it with `profile.` or `event.`; `signal.` fields are built in",
                )
            within = [known for known in fields if _is_within(name, known)]
            if within:
                raise ConfigurationError(
                    f"field `{name}` and field `{within[0]}` are one inside the other",
                    place=place,
                    remedy="rename one of them",
                )
            fields[name] = FieldLabel(
                name=name,
                type=entry.type,
                optional=entry.optional,
                controller=entry.controller,
                category=entry.category,
                uses=tuple(entry.uses),
                retention=entry.retention,
                place=place,
            )
    return fields


def _is_within(one: str, other: str) -> bool:
    return one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _purposes(loaded: Iterable[Loaded]) -> dict[str, Purpose]:
    purposes: dict[str, Purpose] = {}
    for document, file in loaded:
        for name, entry in file.purposes.items():
            place = document.place("purposes", name)
            if name in purposes:
                raise _twice("purpose", name, place, purposes[name].place)
            if entry.model == "exempt" and entry.marketing:
                raise ConfigurationError(
                    f"purpose `{name}` is marketing and cannot be `exempt` from consent",
                    place=place,
                    remedy="use `model: opt_in`",
                )
            if entry.model == "exempt" and not entry.legal_basis:
                raise ConfigurationError(
                    f"purpose `{name}` is exempt from consent without a `legal_basis`",
                    place=place,
                    remedy="name it, such as `legal_basis: contract`",
                )
            if entry.model == "opt_out" and entry.marketing:
                raise ConfigurationError(
                    f"purpose `{name}` takes silence for a yes to marketing",
                    place=place,
                    remedy="use `model: opt_in`",
                )
            purposes[name] = Purpose(
                name, entry.title, entry.model, entry.marketing, entry.legal_basis, place
            )
    return purposes


def _channels(loaded: Iterable[Loaded]) -> dict[str, ChannelPolicy]:
    channels: dict[str, ChannelPolicy] = {}
    for document, file in loaded:
        for name, entry in file.channels.items():
            place = document.place("channels", name)
            if name in channels:
                raise _twice("channel", name, place, channels[name].place)
            channels[name] = ChannelPolicy(
                name, entry.title, entry.address, entry.zones == "all", place
            )
    return channels


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


_DIMENSIONS: tuple[Dimension, ...] = (
    "brand",
    "channel",
    "purpose",
    "topic",
    "journey",
    "team",
    "group",
)


def _among(entry: CapEntry) -> Iterable[tuple[Dimension, frozenset[str]]]:
    for dimension in _DIMENSIONS:
        names: list[str] | None = getattr(entry, f"{dimension}s")
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
    for document, file in loaded:
        for index, entry in enumerate(file.quiet_hours):
            yield QuietHours(
                entry.id,
                document.place("quiet_hours", index),
                channels=frozenset(entry.channels),
                all_zones=all_zones,
                open_at=entry.window.open,
                close_at=entry.window.close,
                on_quiet=entry.on_quiet,
                reason=entry.reason,
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
        for section in ("frequency_caps", "quiet_hours", "rules"):
            for index, entry in enumerate(getattr(file, section)):
                for key, known in (("purposes", purposes), ("channels", channels)):
                    for name in getattr(entry, key, None) or ():
                        if name not in known:
                            raise ConfigurationError(
                                f"rule `{entry.id}` names `{name}`, which is not among {key}",
                                place=document.place(section, index, key),
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
