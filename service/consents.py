"""What the commands write into the consent ledger: one statement, or a whole list of them."""

from __future__ import annotations

import asyncio
import difflib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from sqlalchemy import bindparam, select

from agents.steps import Line
from agents.supervisor import through_graph
from domain.consent import RESTRICTING, Consent, ConsentAnswer, ConsentQuestion, answer
from domain.errors import UsageError
from domain.event import Event
from profiles import queries
from profiles.consents import CONSENT_EVENT, kind_said
from profiles.prints import identifier_ref
from profiles.readers.claims import normalise
from profiles.views import View
from service.assemble import Assembly, make_terms, steady
from service.consent_lists import ConsentList
from service.desk import SHOWN_DEAD_MAX, Progress
from service.inputs import DeadRow, read_inputs
from service.lines import Printed
from service.portraits import answer_json, answer_text, questions
from service.running import Run
from service.settings import instant_given
from service.telling import seen, tell, writing
from store import tables as t
from store.database import Database, Snapshot
from store.statements import Statement

Value = Literal["granted", "denied", "objection", "pending"]
TALLIED_MAX = 256
_MEMBERS = Statement(
    select(t.profiles.c.root_id, t.profiles.c.profile_id).where(
        t.profiles.c.root_id.in_(bindparam("roots", expanding=True))
    )
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a statement is about; None: all of it, or what the event's own rules fill in."""

    channel: str | None = None
    purpose: str | None = None
    topic: str | None = None
    brand: str | None = None
    address: str | None = None


def chosen(*, grant: bool, deny: bool, objects: bool, pending: bool) -> Value:
    """What is said. Raises `UsageError` where that is not exactly one thing."""
    options: dict[Value, bool] = {
        "granted": grant,
        "denied": deny,
        "objection": objects,
        "pending": pending,
    }
    given = [value for value, is_given in options.items() if is_given]
    if len(given) != 1:
        raise UsageError(
            f"{len(given)} things are said at once" if given else "nothing is said",
            remedy="give one of `--grant`, `--deny`, `--object`, `--pending`",
        )
    return given[0]


def set_consent(
    workspace: Path | None,
    store: str | None,
    who: str,
    value: Value,
    scope: Scope,
    evidence: Mapping[str, str | None],
    at: str | None,
    *,
    as_json: bool,
) -> Printed:
    """Write one statement of a person, and print what the ledger answers then.

    Args:
        evidence: `wording`, `expires_at`, `reason`, `by`.
    """
    with writing(workspace, store) as assembly:
        now = instant_given(at) or assembly.database.clock()
        ref = _checked(assembly, value, scope)
        said = {
            "value": value,
            "channel": scope.channel,
            "purpose": scope.purpose,
            "topic": scope.topic,
            "brand": scope.brand,
            "contact_point": scope.address,
            **evidence,
        }
        properties = {key: one for key, one in said.items() if one is not None}
        decision = tell(
            assembly, who, "consent", ("track", CONSENT_EVENT), now, properties=properties
        )
        found = seen(assembly, decision.profile_id)
        wide = replace(scope, channel=None) if value == "objection" else scope
        answers = list(_answers(assembly, found, wide, ref, now))
    if as_json:
        yield {
            "decision_id": decision.decision_id,
            "profile_id": found.profile_id,
            "answers": [answer_json(*one) | {"topic": one[0].topic} for one in answers],
        }
        return
    yield from (answer_text(*one) for one in answers)
    yield f"decided: {decision.decision_id}"


def _checked(assembly: Assembly, value: Value, scope: Scope) -> str | None:
    """The address's keyed fingerprint, where one is named.

    Raises `UsageError` where a name is none that is known: an event's no is widened where it is
    unclear, but who types a command can be asked.
    """
    terms = make_terms(assembly.workspace)
    _check("--channel", scope.channel, terms.addresses)
    _check("--purpose", scope.purpose, terms.purposes)
    _check("--brand", scope.brand, terms.controllers)
    for option, given in (("--channel", scope.channel), ("--purpose", scope.purpose)):
        if value in ("granted", "pending") and given is None:
            raise UsageError(
                f"a yes lacks `{option}`", remedy="name the channel and the purpose agreed to"
            )
    if scope.address is None:
        return None
    kind = "email" if "@" in scope.address else "phone"
    wanted = terms.addresses.get(scope.channel or "", kind)
    known = normalise(kind, scope.address, terms.region)
    if known is None or (wanted != kind and value != "objection"):
        raise UsageError(
            f"`{scope.address}` is no {wanted if wanted != 'none' else 'address'} that is reached "
            f"by {scope.channel or 'any channel'}",
            place="option `--address`",
            remedy="write an e-mail address, or a number in E.164 such as `+4930123456`",
        )
    return identifier_ref(assembly.database.vault, known)


def _check(option: str, given: str | None, known: Collection[str]) -> None:
    if given is None or given in known:
        return
    close = difflib.get_close_matches(given, list(known), n=1)
    raise UsageError(
        f"`{given}` is none that is declared",
        place=f"option `{option}`",
        remedy=f"did you mean `{close[0]}`?" if close else f"use one of {', '.join(sorted(known))}",
    )


def _answers(
    assembly: Assembly, found: View, scope: Scope, ref: str | None, now: datetime
) -> Iterator[tuple[ConsentQuestion, str | None, ConsentAnswer]]:
    """What the ledger answers to every question in this scope."""
    lines = [said.line for said in found.said]
    asked: dict[ConsentQuestion, str | None] = {}
    people = tuple(member.profile_id for member in found.members)
    for ask, address in questions(assembly.workspace, people, found.points):
        purpose = scope.purpose or ask.purpose
        asked[ask._replace(purpose=purpose, topic=scope.topic)] = address
    for ask, address in asked.items():
        near = ref is None or ask.contact_point == ref
        if near and scope.channel in (None, ask.channel) and scope.brand in (None, ask.brand):
            yield ask, address, answer(lines, ask, now)


def import_lists(
    files: Sequence[str],
    workspace: Path | None,
    store: str | None,
    *,
    source: str,
    by: str | None,
    at: str | None,
    as_json: bool,
    strict: bool,
) -> tuple[Printed, int]:
    """Make every row of some lists a statement: the summary, and how the command ends.

    That is 1 with `strict` where a row could not be read.

    All are received at one instant, now or `at`, whenever they were said.
    """
    received_at = instant_given(at)
    listed = ConsentList(source, by)
    with Progress(files) as progress:
        with writing(workspace, store) as assembly:
            now = received_at or assembly.database.clock()
            items = read_inputs(
                files, assembly.reading, at=now, progress=progress.tell, shape=listed.shape
            )
            tally = Tally(assembly.database)
            run = Run(assembly, through_graph(assembly.deps), tally.take)
            run.now = now
            steady()
            asyncio.run(run.over(items))
            tally.settle()
        progress.stop()
    return tally.told(run.rows, as_json=as_json), int(strict and tally.counts["dead"] > 0)


class Tally:
    """Counts what an import changed, asking the ledger about some hundred rows at a time.

    `granted` and `pending` are rows that say yes, and count; `denied` are those that say no;
    `unchanged` are those that were read before, or whose yes is outweighed by a no. Rows that
    later passes speak of are none.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._yes: list[tuple[str, Event]] = []
        self._dead: list[dict[str, str | None]] = []
        self.counts: Counter[str] = Counter()

    def take(self, item: Line | DeadRow) -> None:
        """One row."""
        if isinstance(item, DeadRow) or item.decision is None:
            self._bury(item)
            return
        event = item.arrival.event
        if item.arrival.asked.kind != "event":
            return
        if item.verdict == "duplicate":
            self.counts["unchanged"] += 1
        elif kind_said(event) in RESTRICTING:
            self.counts["denied"] += 1
        else:
            self._yes.append((item.decision.profile_id, event))
            if len(self._yes) == TALLIED_MAX:
                self.settle()

    def settle(self) -> None:
        """Ask the ledger about the rows that said yes since it was last asked."""
        told, self._yes = self._yes, []
        if not told:
            return
        with self._database.read() as snapshot:
            ledger = _Ledger.read(snapshot, {profile_id for profile_id, _ in told})
        for profile_id, event in told:
            value = ledger.value_of(profile_id, event)
            self.counts[value if value in ("granted", "pending") else "unchanged"] += 1

    def told(self, rows: int, *, as_json: bool) -> Printed:
        """The summary: rows in = granted + pending + denied + unchanged + dead."""
        if as_json:
            counts = {word: self.counts[word] for word in _ORDER}
            yield {"rows": rows, **counts, "dead_letters": self._dead}
            return
        yield from (f"{word:<12}{self.counts[word]:>9}" for word in _ORDER if self.counts[word])
        yield f"{'rows in':<12}{rows:>9}"
        if self._dead:
            yield "\ndead letters"
        for dead in self._dead:
            remedy = f"; {dead['remedy']}" if dead["remedy"] else ""
            yield f"  {dead['place']}: {dead['reason']}{remedy}"
        if self.counts["dead"] > SHOWN_DEAD_MAX:
            yield "  ... all of them: `safeconduct events dead`"

    def _bury(self, item: Line | DeadRow) -> None:
        self.counts["dead"] += 1
        dead = item if isinstance(item, DeadRow) else item.refused
        assert dead is not None
        if len(self._dead) < SHOWN_DEAD_MAX:
            self._dead.append(
                {
                    "place": dead.place,
                    "code": dead.reason,
                    "reason": dead.cause,
                    "remedy": dead.remedy,
                }
            )


_ORDER = ("granted", "pending", "denied", "unchanged", "dead")


@dataclass(frozen=True, slots=True)
class _Ledger:
    """The lines on some people, and who is one with whom: each fragment's root, and its people."""

    roots: Mapping[str, str]
    people: Mapping[str, tuple[str, ...]]
    lines: Sequence[Consent]

    @classmethod
    def read(cls, snapshot: Snapshot, ids: Collection[str]) -> _Ledger:
        """Everything that bears on what was said by these, in four queries."""
        roots = dict(snapshot.rows(queries.ROOTS, people=sorted(ids)))
        people: dict[str, tuple[str, ...]] = {}
        for root, profile_id in snapshot.rows(_MEMBERS, roots=sorted(set(roots.values()))):
            people[root] = (*people.get(root, ()), profile_id)
        everybody = sorted(one for some in people.values() for one in some)
        own = _lines(snapshot, everybody, ())
        refs = sorted({line.contact_point for line in own if line.contact_point is not None})
        return cls(roots, people, _lines(snapshot, everybody, refs))

    def value_of(self, profile_id: str, event: Event) -> str:
        """What the ledger answers to the question that this event's yes is about."""
        people = self.people[self.roots[profile_id]]
        line = next(
            line
            for line in reversed(self.lines)
            if line.profile_id in people
            and (line.source, line.occurred_at, line.channel, line.purpose, line.topic)
            == (event.source, event.time, *_said(event, "channel", "purpose", "topic"))
        )
        ask = ConsentQuestion(
            people,
            line.controller,
            str(line.brand),
            str(line.channel),
            str(line.purpose),
            line.topic,
            line.contact_point,
        )
        return answer(self.lines, ask, event.received_at).value


def _lines(snapshot: Snapshot, people: Sequence[str], refs: Sequence[str]) -> list[Consent]:
    rows = snapshot.rows(queries.CONSENTS, people=list(people), refs=list(refs))
    return [queries.consent_line(row) for row in rows]


def _said(event: Event, *names: str) -> list[str | None]:
    values = [event.properties.get(name) for name in names]
    return [value.strip() if isinstance(value, str) else None for value in values]
