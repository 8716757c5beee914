"""What policies say in vain: rules that cannot bind, hide one another, or that no case tries.

A finding here is no mistake of form; the files load and the guard goes by them. It is something
that whoever wrote it would want to know. Each check is a function, and `CHECKS` is their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import permutations
from typing import Literal

from domain.action import Action
from domain.caps import CapScope, Dimension
from domain.journey import Journey
from domain.proposal import Candidate
from domain.windows import Rolling
from policies.cases import Judged
from policies.formulas import implies
from policies.guard import Guard
from policies.promotions import promotional_words
from policies.question import Rule
from policies.rules.caps import FrequencyCap
from policies.rules.engagement import ApprovalRule, EngagementRule
from policies.rules.quiet import QuietHours
from policies.troubles import Trouble

CheckName = Literal[
    "doubtful-hours",
    "no-quiet-hours",
    "shadowed-rule",
    "idle-cap",
    "no-action",
    "unused",
    "sounds-promotional",
    "untried-rule",
]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at: the guard's policies, what could be done under them, and judged cases."""

    guard: Guard
    actions: Mapping[str, Action]
    journeys: Mapping[str, Journey]
    judged: tuple[Judged, ...]

    @property
    def written(self) -> tuple[Rule, ...]:
        """The rules that the policy files write, in order."""
        return (*self.guard.policies.rules, *self.guard.policies.approvals)

    def candidates(self) -> Iterator[Candidate]:
        """Every action, in every journey that names it."""
        for action in self.actions.values():
            within = [one for one in self.journeys.values() if action.name in one.actions]
            for journey in within:
                yield Candidate(action, journey.name, journey.brand, journey.team, "", None)


def troubles(subject: Subject) -> tuple[Trouble, ...]:
    """Everything that the checks find, in their order."""
    return tuple(trouble for check in CHECKS for trouble in check(subject))


# Quiet hours


def doubtful_hours(subject: Subject) -> Iterator[Trouble]:
    """Hours that can hardly be meant. Hours that are never open do not load at all."""
    for rule in subject.written:
        for words in rule.troubles() if isinstance(rule, QuietHours) else ():
            yield Trouble(
                "doubtful-hours",
                rule.place,
                f"rule `{rule.id}`: {words}",
                "correct its windows, or leave out what changes nothing",
            )


def channels_without_hours(subject: Subject) -> Iterator[Trouble]:
    """Channels that ring or buzz by day and by night."""
    covered = {
        channel
        for rule in subject.written
        if isinstance(rule, QuietHours)
        for channel in rule.channels
    }
    for channel in subject.guard.policies.channels.values():
        if channel.address == "phone" and channel.name not in covered:
            yield Trouble(
                "no-quiet-hours",
                channel.place,
                f"channel `{channel.name}` goes to a phone at any hour of the night",
                f"add quiet hours such as `{{id: {channel.name}-hours, channels: [{channel.name}], "
                'window: "08:00-21:00"}`',
            )


# Rules that another one makes idle


def shadowed_rules(subject: Subject) -> Iterator[Trouble]:
    """Rules that refuse nothing that another one does not refuse as well."""
    written = [rule for rule in subject.written if isinstance(rule, EngagementRule | ApprovalRule)]
    met: set[frozenset[str]] = set()
    for rule, other in permutations(written, 2):
        pair = frozenset((rule.id, other.id))
        if pair in met or not _is_shadowed(rule, other):
            continue
        met.add(pair)  # of two that say the same, one is enough to tell
        yield Trouble(
            "shadowed-rule",
            rule.place,
            f"rule `{rule.id}` changes nothing: `{other.id}` ({other.place}) covers all of it",
            "remove one of them",
        )


def _is_shadowed(rule: EngagementRule | ApprovalRule, by: EngagementRule | ApprovalRule) -> bool:
    match rule, by:
        case EngagementRule(), EngagementRule():
            return _is_within(rule.scope, by.scope) and implies(
                by.condition.formula, rule.condition.formula
            )
        case ApprovalRule(), ApprovalRule():
            return (
                (rule.role, rule.quorum, rule.expires_in) == (by.role, by.quorum, by.expires_in)
            ) and implies(rule.condition.formula, by.condition.formula)
        case _:
            return False


def _is_within(
    scope: Mapping[str, frozenset[str] | None], wide: Mapping[str, frozenset[str] | None]
) -> bool:
    return all(_is_part(scope.get(key), wider) for key, wider in wide.items())


def idle_caps(subject: Subject) -> Iterator[Trouble]:
    """Caps that are reached only after a tighter one of the same or a wider scope."""
    caps = [cap for cap in subject.guard.policies.caps if isinstance(cap, FrequencyCap)]
    met: set[frozenset[str]] = set()
    for cap, tighter in permutations(caps, 2):
        pair = frozenset((cap.id, tighter.id))
        if pair in met or not _is_idle(cap, tighter):
            continue
        met.add(pair)
        yield Trouble(
            "idle-cap",
            cap.place,
            f"cap `{cap.id}` never binds: `{tighter.id}` ({tighter.place}) is reached first",
            "lower its limit, or remove it",
        )


def _is_idle(cap: FrequencyCap, tighter: FrequencyCap) -> bool:
    """Whether so many contacts as it takes cannot lie in its window while the other one passes.

    A window is covered by `n` of the other's, each of which holds at most the other's limit.
    """
    one, other = cap.scope, tighter.scope
    if (one.per, one.counts) != (other.per, other.counts) or not _counts_part(one, other):
        return False
    if not (isinstance(one.window, Rolling) and isinstance(other.window, Rolling)):
        return False
    n = -(-one.window.span // other.window.span) if other.window.span > timedelta(0) else 0
    return 0 < n * other.limit <= one.limit


def _is_part(names: frozenset[str] | None, of: frozenset[str] | None) -> bool:
    return of is None or (names is not None and names <= of)


def _counts_part(one: CapScope, other: CapScope) -> bool:
    """Whether the other counts all that the one counts."""
    own = dict(one.among)
    return all(name in own and own[name] <= names for name, names in other.among)


# What is named and not there, and what is there and not named


def rules_for_nothing(subject: Subject) -> Iterator[Trouble]:
    """Rules that no action of any journey is ever asked about."""
    candidates = list(subject.candidates())
    for rule in subject.written:
        yield from _named_in_vain(rule, subject)
        if isinstance(rule, ApprovalRule) or any(
            _concerns(rule, candidate, subject.guard) for candidate in candidates
        ):
            continue
        yield Trouble(
            "no-action",
            rule.place,
            f"rule `{rule.id}` is about no action of any journey",
            "widen its scope, or remove it",
        )


def _named_in_vain(rule: Rule, subject: Subject) -> Iterator[Trouble]:
    if not isinstance(rule, EngagementRule):
        return
    known: tuple[tuple[str, Mapping[str, object]], ...] = (
        ("actions", subject.actions),
        ("journeys", subject.journeys),
    )
    for key, names in known:
        for name in sorted(rule.scope.get(key) or ()):
            if name not in names:
                yield Trouble(
                    "no-action",
                    rule.place,
                    f"rule `{rule.id}` names `{name}`, which is not among {key}",
                    f"use one of {', '.join(sorted(names)) or 'none declared'}",
                )


def _concerns(rule: Rule, candidate: Candidate, guard: Guard) -> bool:
    purpose, mixed = guard.judged(candidate)
    action, is_contact = candidate.action, guard.kind(candidate) == "contact"
    match rule:
        case EngagementRule():
            said = {
                "actions": action.name,
                "purposes": purpose,
                "channels": action.channel,
                "journeys": candidate.journey,
            }
            return all(names is None or said[key] in names for key, names in rule.scope.items())
        case QuietHours():
            return is_contact and action.channel in rule.channels
        case FrequencyCap():
            return (
                is_contact
                and (action.obeys_caps or mixed)
                and all(
                    not names.isdisjoint(_values(candidate, purpose)[dimension])
                    for dimension, names in rule.scope.among
                )
            )
        case _:
            return True


def _values(candidate: Candidate, purpose: str) -> Mapping[Dimension, set[str | None]]:
    action = candidate.action
    return {
        "brand": {candidate.brand},
        "channel": {action.channel},
        "purpose": {purpose},
        "topic": {action.topic},
        "journey": {candidate.journey},
        "team": {candidate.team},
        "group": set(action.groups),
    }


def promotional_words_in_service(subject: Subject) -> Iterator[Trouble]:
    """Texts that go without consent, are declared as information and sound like a promotion."""
    purposes = subject.guard.policies.purposes
    for action in subject.actions.values():
        purpose = purposes.get(action.purpose)
        if purpose is None or purpose.model != "exempt" or action.is_promotional:
            continue
        words = promotional_words(f"{action.subject}\n{action.body}")
        if words:
            yield Trouble(
                "sounds-promotional",
                action.place,
                f"action `{action.name}` goes without consent and says {_listed(words)}",
                "give it `blocks` and say of each what it is, or leave that out",
            )


def unused_names(subject: Subject) -> Iterator[Trouble]:
    """Purposes and channels that no action is for."""
    policies = subject.guard.policies
    candidates = [
        Candidate(action, "", "", "", "", None) for action in subject.actions.values()
    ]  # fmt: skip
    purposes = {name for c in candidates for name in (c.action.purpose, subject.guard.judged(c)[0])}
    channels = {c.action.channel for c in candidates}
    for purpose in policies.purposes.values():
        if purpose.name not in purposes:
            yield _unused("purpose", purpose.name, purpose.place)
    for channel in policies.channels.values():
        if channel.name not in channels:
            yield _unused("channel", channel.name, channel.place)


def _unused(what: str, name: str, place: str) -> Trouble:
    return Trouble("unused", place, f"no action is for {what} `{name}`", "remove it, or use it")


def untried_rules(subject: Subject) -> Iterator[Trouble]:
    """Rules that refuse nothing in any case, so that nobody would notice if they stopped."""
    tried = {rule for one in subject.judged for rule in one.because}
    for rule in subject.written:
        if rule.id not in tried:
            path = rule.place.rpartition(":")[0].removesuffix(".yaml")
            yield Trouble(
                "untried-rule",
                rule.place,
                f"no case shows rule `{rule.id}` refusing anything",
                f"add one to {path}.cases.yaml, with `because: [{rule.id}]`",
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


Check = Callable[[Subject], Iterable[Trouble]]
CHECKS: tuple[Check, ...] = (
    doubtful_hours,
    channels_without_hours,
    shadowed_rules,
    idle_caps,
    rules_for_nothing,
    unused_names,
    promotional_words_in_service,
    untried_rules,
)
