"""Which lines of a long consent ledger bear on any answer: with these alone, all are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product

from domain.consent import Consent, ConsentQuestion, covers, is_torn, last_said, standing

ROUNDS_MAX = 4


_Scope = tuple[str, str, str, str | None, str | None, str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything that may be asked: of these people, by this controller, about these topics."""

    profile_ids: tuple[str, ...]
    controller: str
    brands: frozenset[str]
    purposes: frozenset[str]
    channels: frozenset[str]
    topics: frozenset[str]
    points: frozenset[str]


@dataclass(slots=True)
class _Trace:
    """Where folding some lines in order of receipt ends, and what decided it on the way."""

    value: str = "unset"
    grant: Consent | None = None
    denial: Consent | None = None
    firmest: Consent | None = None
    objection: Consent | None = None
    suspicion: Consent | None = None

    @property
    def end(self) -> tuple[str, str | None, str | None]:
        """The answer: its value and the lines it is given by."""
        grant = None if self.grant is None else self.grant.ref
        denial = None if self.denial is None else self.denial.ref
        if self.objection is not None:
            return "objection", self.objection.ref, None
        if self.value == "denied":
            return self.value, None, denial
        if self.value != "conflict" and self.suspicion is not None:
            return "suspicion", grant, self.suspicion.ref
        return self.value, grant, denial if self.value == "conflict" else None

    @property
    def held(self) -> list[Consent]:
        """The lines that decided it."""
        found = (self.grant, self.denial, self.firmest, self.objection, self.suspicion)
        return [line for line in found if line is not None]


@dataclass(slots=True)
class _Noes:
    """The noes met so far: whom a yes must overtake."""

    last: Consent | None = None
    firmest: Consent | None = None

    def add(self, line: Consent) -> None:
        self.last = line
        if self.firmest is None or line.occurred_at >= self.firmest.occurred_at:
            self.firmest = line

    def yield_to(self, grant: Consent) -> bool:
        # In order of receipt, so that the last no is the one received latest.
        return (
            self.last is None
            or self.firmest is None
            or (
                grant.occurred_at > self.firmest.occurred_at
                and grant.received_at > self.last.received_at
            )
        )


def bearing(lines: Iterable[Consent], asked: Asked) -> tuple[Consent, ...]:
    """Those of the lines, in order of receipt, that give every question its full answer.

    Questions that the same lines bear on have the same answer, so each such set is folded once.
    What is kept of a set is folded again among all that is kept, and where the answer is another
    one, more is kept; so it is exact, and long only where the lines themselves are of many scopes.
    """
    ordered = sorted(standing(list(lines)), key=_order)
    sets = _sets(ordered, asked)
    full = [_trace([ordered[index] for index in one]) for one in sets]
    kept = {line.ref for trace in full for line in trace.held}
    for round_ in range(ROUNDS_MAX + 1):
        missing: set[str] = set()
        for one, trace in zip(sets, full, strict=True):
            found = [ordered[index] for index in one]
            if _trace([line for line in found if line.ref in kept]).end != trace.end:
                missing |= _whole(found) if round_ == ROUNDS_MAX else _around(found, kept)
        if missing <= kept:
            break
        kept |= missing
    return tuple(line for line in ordered if line.ref in kept)


def _order(line: Consent) -> tuple[datetime, datetime, bool, str]:
    return line.received_at, line.occurred_at, line.kind != "grant", line.ref


def _sets(ordered: Sequence[Consent], asked: Asked) -> list[list[int]]:
    """The sets of lines that some question is answered by."""
    scopes: dict[_Scope, list[int]] = {}
    for index, line in enumerate(ordered):
        scopes.setdefault(_scope(line), []).append(index)
    named = [(ordered[indexes[0]], indexes) for indexes in scopes.values()]
    found: dict[tuple[bool, ...], list[int]] = {}
    for question in _questions([line for line, _ in named], asked):
        mask = tuple(covers(line, question) for line, _ in named)
        if mask not in found:
            hit = [indexes for (_, indexes), is_in in zip(named, mask, strict=True) if is_in]
            found[mask] = sorted(index for indexes in hit for index in indexes)
    return list(found.values())


def _questions(lines: Sequence[Consent], asked: Asked) -> Iterator[ConsentQuestion]:
    """One question of each kind; what no line names is asked about once, as the empty name."""

    def values(name: str, may: frozenset[str]) -> list[str]:
        return ["", *sorted({getattr(line, name) for line in lines} & may)]

    for brand, channel, purpose, topic, point in product(
        values("brand", asked.brands),
        values("channel", asked.channels),
        values("purpose", asked.purposes),
        values("topic", asked.topics),
        values("contact_point", asked.points),
    ):
        yield ConsentQuestion(
            asked.profile_ids, asked.controller, brand, channel, purpose, topic, point or None
        )


def _scope(line: Consent) -> _Scope:
    return (
        line.kind,
        line.profile_id,
        line.controller,
        line.brand,
        line.channel,
        line.purpose,
        line.topic,
        line.contact_point,
    )


def _trace(lines: Sequence[Consent]) -> _Trace:
    """`domain.consent.answer`, in one pass and without what depends on the present."""
    trace, denials, objections = _Trace(), _Noes(), _Noes()
    suspicions: list[Consent] = []
    for line in lines:
        match line.kind:
            case "objection":
                objections.add(line)
            case "suspicion":
                suspicions.append(line)
            case "imported":
                if denials.last is None and objections.last is None and not suspicions:
                    trace.value, trace.grant = "granted", line
            case "denial":
                torn = trace.grant is not None and is_torn(trace.grant, line)
                is_open = trace.value in ("granted", "conflict")
                trace.value = "conflict" if torn and is_open else "denied"
                denials.add(line)
            case _:
                if denials.yield_to(line):
                    trace.grant = last_said(trace.grant, line)
                    trace.value = "pending" if trace.grant.kind == "pending" else "granted"
                    if line.kind == "grant":
                        suspicions = [one for one in suspicions if not _is_after(line, one)]
                clears = line.kind == "grant" and line.topic is not None
                if clears and objections.yield_to(line):
                    objections = _Noes()
    trace.denial, trace.firmest, trace.objection = denials.last, denials.firmest, objections.last
    trace.suspicion = suspicions[-1] if suspicions else None
    return trace


def _is_after(one: Consent, other: Consent) -> bool:
    return one.occurred_at > other.occurred_at and one.received_at > other.received_at


def _around(lines: Sequence[Consent], kept: set[str]) -> set[str]:
    """What holds kept grants back, and which grant does away with a kept objection."""
    denials, objections = _Noes(), _Noes()
    needed: list[Consent | None] = []
    standing: set[str] = set()
    for line in lines:
        if line.kind == "denial":
            denials.add(line)
        elif line.kind == "objection":
            objections.add(line)
            standing.add(line.ref)
        elif line.kind != "suspicion":
            if line.ref in kept:
                needed += [denials.last, denials.firmest, objections.last, objections.firmest]
            clears = line.kind == "grant" and line.topic is not None
            if clears and standing and objections.yield_to(line):
                needed += [line] if standing & kept else []
                objections, standing = _Noes(), set()
    return {line.ref for line in needed if line is not None}


def _whole(lines: Sequence[Consent]) -> set[str]:
    return {line.ref for line in lines}
