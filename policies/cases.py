"""Cases beside a policy file: in this situation, about this action, the guard says this, because.

    read_cases   the files, checked against the policies they are about
    judged       one case put to the guard, and where it answers otherwise

A situation is written in the words of the business and becomes the very context that the guard
judges in production. What a case does not mention is as it is for somebody of whom nothing is
known: no address, no consent, no contact.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from domain.action import Action, ContactKind, Offer, Significance, Step, Urgency
from domain.consent import PERMISSIONS, Consent, ConsentKind
from domain.context import (
    ApprovalFact,
    Contact,
    ContactPoint,
    ContactState,
    Context,
    EventView,
    Jurisdiction,
    Occurrence,
    OfferState,
    Pass,
    PassKind,
    Scheduled,
    Spending,
    Suppression,
    Told,
)
from domain.errors import ConfigurationError
from domain.journey import Instance, InstanceState, Journey
from domain.proposal import Candidate, Proposal, Upcoming
from domain.verdict import EVERYONE, Audience, Code, Denial, HeldFor, Hold, Verdict
from policies.documents import Document, Duration, Instant, MoneyText, TimeZoneName, parse_yaml
from policies.guard import Guard
from policies.rules.budgets import BudgetLeft
from policies.schema import Id, Strict

CASES_SUFFIX = ".cases.yaml"
CASES_MAX = 2_000

PERSON, OTHER = "this customer", "somebody else"
_HASH = "0" * 64
_LONG_AGO = timedelta(days=30)

Address = Literal["email", "phone"]
Speaker = Literal["customer", "other"]
VerdictName = Literal["permitted", "held", "denied"]
Sentence = Annotated[str, StringConstraints(min_length=3, max_length=200)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Scalar = Any


def _as_list(value: Any) -> Any:
    """One of something, where several may be given."""
    return [value] if isinstance(value, str) else value


# What a file says


class EventGiven(Strict):
    """The event that makes the question come up. It happened at `now` unless it says otherwise."""

    name: Word = "asked"
    occurred_at: Instant | None = None
    undated: bool = False
    properties: dict[Word, Scalar] = {}


class ZonesGiven(Strict):
    """The time zones that the customer names, and those the postal address may be in."""

    person: TimeZoneName | None = None
    address: Annotated[list[TimeZoneName], BeforeValidator(_as_list)] = []


class LeftGiven(Strict):
    """A time zone that the customer has left, and until when it may have been theirs."""

    zone: TimeZoneName = Field(examples=["Europe/Berlin"])
    until: Instant


class JurisdictionGiven(Strict):
    """A law that may apply, and what says so."""

    code: Word = Field(examples=["DE"])
    source: Literal["address", "billing", "residence", "number"] = "address"


class ConsentGiven(Strict):
    """One line of the consent ledger. What it does not name, it is about all of."""

    said: ConsentKind = Field(examples=["grant"])
    purpose: Id | None = None
    channel: Id | None = None
    topic: Id | None = None
    brand: Id | None = None
    contact_point: Address | None = None
    by: Speaker = "customer"
    at: Instant | None = None
    received_at: Instant | None = None
    expires_at: Instant | None = None


class ContactGiven(Strict):
    """One contact that was made."""

    at: Instant = Field(examples=["2026-11-22T17:00:00Z"])
    channel: Id = Field(examples=["email"])
    purpose: Id = Field(examples=["marketing"])
    contact_point: Address | None = None
    to: Speaker = "customer"
    brand: Id | None = None
    topic: Id | None = None
    journey: Id | None = None
    team: Id | None = None
    action: Id = "contacted"
    groups: list[Id] = []
    state: ContactState = "made"
    continues: bool = False


class SuppressionGiven(Strict):
    """A block on an address, a domain or the person."""

    reason: Word = Field(examples=["spam complaint"])
    target: Literal["address", "domain", "person"] = "person"
    contact_point: Address | None = None
    brand: Id | None = None
    channels: list[Id] | None = None
    blocks: Literal["marketing", "all_but_mandatory", "all"] = "marketing"
    since: Instant | None = None
    until_grant: bool = False
    expires_at: Instant | None = None
    shown_to: list[Audience] | None = None


class ApprovalGiven(Strict):
    """What a person said about this very proposal."""

    state: Literal["pending", "approved", "rejected", "expired", "superseded", "withdrawn"] = Field(
        examples=["approved"]
    )
    by: Word = "a colleague"


class InstanceGiven(Strict):
    """The customer's run of the journey that the action belongs to, or of another one."""

    journey: Id | None = None
    state: InstanceState = "active"
    entered_at: Instant | None = None
    ends_at: Instant | None = None


class OccurrenceGiven(Strict):
    """The last time that an event happened; with `match`, one about the same thing."""

    event: Word = Field(examples=["order_completed"])
    match: Word | None = None
    at: Instant


class ToldGiven(Strict):
    """What was said to the customer before, by an action; `same_words` as the case's action."""

    action: Id = Field(examples=["remind_by_email"])
    journey: Id | None = None
    team: Id | None = None
    same_words: bool = False
    at: Instant


class ScheduledGiven(Strict):
    """A contact that waits for a better time, about an event of these fields."""

    action: Id = Field(examples=["remind_by_sms"])
    journey: Id | None = None
    due_at: Instant
    expires_at: Instant | None = None
    fields: dict[Word, Scalar] = {}


class AskedGiven(Strict):
    """Why the question is asked: an event came in, or a dated fact re-opens it."""

    kind: PassKind = "event"
    expires_at: Instant | None = None


class Given(Strict):
    """A situation: the instant, the customer, and all that is on record."""

    now: Instant | None = None
    brand: Id | None = None
    event: EventGiven = EventGiven()
    asked: AskedGiven = AskedGiven()
    email: Word | None = None
    phone: Word | None = None
    shared: list[Address] = []
    unreachable_until: dict[Address, Instant] = {}
    traits: dict[Word, Scalar] = {}
    signals: dict[Word, Scalar] = {}
    zones: ZonesGiven = ZonesGiven()
    zones_before: list[LeftGiven] = []
    household: Word | None = None
    jurisdictions: list[JurisdictionGiven] = []
    consents: list[ConsentGiven] = []
    contacts: list[ContactGiven] = []
    suppressions: list[SuppressionGiven] = []
    instances: list[InstanceGiven] = []
    approvals: list[ApprovalGiven] = []
    offers_left: dict[Id, int] = {}
    offers_held: list[Id] = Field(default=[], max_length=100)
    open_cases: list[Word] = []
    kill_switches: list[Word] = []
    stale: dict[Word, Word] = {}
    occurrences: list[OccurrenceGiven] = []
    told: list[ToldGiven] = []
    spent: dict[Id, MoneyText] = {}
    scheduled: list[ScheduledGiven] = []
    human_in_charge: bool = False
    restricted: bool = False
    minor: bool = False
    access_needs: list[Word] = []
    paused_until: Instant | None = None
    exempt_sends: dict[Id, int] = {}


class ActionGiven(Strict):
    """How the action differs from the one that `actions.yaml` declares, or, of one that it does not
    declare, what it is (then `purpose` at least)."""

    tool: Word | None = None
    kind: ContactKind | None = None
    purpose: Id | None = None
    channel: Id | None = None
    topic: Id | None = None
    offer: Id | None = None
    amount: MoneyText | None = None
    obeys_caps: bool | None = None
    counts_toward_caps: bool | None = None
    mandatory: bool | None = None
    urgency: Urgency | None = None
    promotional: bool | None = None
    significance: Significance | None = None
    groups: list[Id] | None = None
    defer_for: Duration | None = None
    team: Id | None = None


class CaseEntry(Strict):
    """One case. `because` are the ids of exactly the rules that do not pass, in any order."""

    name: Sentence = Field(examples=["no second offer on one day"])
    given: Given = Given()
    action: Id = Field(examples=["remind_by_email"])
    journey: Id | None = None
    changes: ActionGiven = ActionGiven()
    verdict: VerdictName = Field(examples=["denied"])
    held_for: HeldFor | None = None
    because: list[Id] = []
    codes: list[Code] | None = None
    next_eligible_at: Instant | None = None


class CasesFile(Strict):
    """A `*.cases.yaml` file. What its `given` says holds in every case that says nothing else."""

    given: Given = Given()
    cases: list[CaseEntry] = Field(max_length=CASES_MAX)


# What a case is about


@dataclass(frozen=True, slots=True)
class Bench:
    """What cases are judged with: a guard, and what they may name.

    `controllers` maps each brand to whose data it is; `zones_of` tells the time zones of an E.164
    number.
    """

    guard: Guard
    controllers: Mapping[str, str]
    brand: str
    actions: Mapping[str, Action]
    journeys: Mapping[str, Journey]
    offers: Mapping[str, Offer]
    zones_of: Callable[[str], tuple[str, ...]]

    @property
    def rules(self) -> frozenset[str]:
        """The ids of every rule that is asked."""
        return frozenset(rule.id for rule in self.guard.rules)


@dataclass(frozen=True, slots=True)
class Case:
    """One case, ready to be judged. `place` is its `file:line`, `upcoming` what is scheduled."""

    entry: CaseEntry
    given: Given
    place: str
    proposal: Proposal
    context: Context
    upcoming: tuple[Upcoming, ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """What the guard said of a case, and in what that differs from what the case says."""

    case: Case
    verdict: VerdictName
    held_for: HeldFor | None
    because: tuple[str, ...]
    codes: tuple[str, ...]
    next_eligible_at: datetime | None
    differs: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        """Whether the guard says what the case says."""
        return not self.differs


def read_cases(files: Mapping[str, str], bench: Bench) -> tuple[Case, ...]:
    """Every case of some files, in order.

    Args:
        files: text by path as shown to people (`policies/contact.cases.yaml`).

    Raises:
        ConfigurationError: with file, line, what is wrong and the remedy.
    """
    found: list[Case] = []
    for path in sorted(files):
        document = parse_yaml(files[path], path)
        file = document.validate(CasesFile)
        named: dict[str, str] = {}
        for index, entry in enumerate(file.cases):
            writer = _Writer(document, index, entry, _merged(file.given, entry.given), bench)
            if entry.name in named:
                raise writer.wrong(
                    f"`{entry.name}` is there twice", f"the other is at {named[entry.name]}", "name"
                )
            named[entry.name] = document.place("cases", index)
            found.append(writer.case())
    return tuple(found)


def judged(case: Case, guard: Guard) -> Judged:
    """Put one case to the guard."""
    verdict = guard.review(case.proposal, case.context, case.upcoming)
    against = [finding for finding in verdict.findings if not finding.passed]
    said = Judged(
        case,
        _word(verdict),
        verdict.held_for if isinstance(verdict, Hold) else None,
        tuple(finding.rule for finding in against),
        tuple(str(finding.code) for finding in against),
        None if not isinstance(verdict, Hold | Denial) else verdict.next_eligible_at,
        (),
    )
    return replace(said, differs=tuple(_differences(case.entry, said)))


def _word(verdict: Verdict) -> VerdictName:
    match verdict:
        case Hold():
            return "held"
        case Denial():
            return "denied"
        case _:
            return "permitted"


def _differences(entry: CaseEntry, said: Judged) -> Iterator[str]:
    if said.verdict != entry.verdict:
        yield f"it is {said.verdict}, not {entry.verdict}"
    if entry.held_for is not None and said.held_for != entry.held_for:
        yield f"it is held for {said.held_for or 'nothing'}, not for {entry.held_for}"
    missing, more = set(entry.because) - {*said.because}, set(said.because) - {*entry.because}
    if missing:
        yield f"{_listed(missing)} did not refuse it"
    if more:
        yield f"{_listed(more)} refused it too" if entry.because else f"{_listed(more)} refused it"
    if entry.codes is not None and sorted(entry.codes) != sorted(said.codes):
        yield f"the codes are {', '.join(said.codes) or 'none'}, not {', '.join(entry.codes)}"
    if "next_eligible_at" in entry.model_fields_set:
        wanted, found = _spoken(entry.next_eligible_at), _spoken(said.next_eligible_at)
        if wanted != found:
            yield f"next eligible at {found}, not at {wanted}"


def _listed(names: Iterable[str]) -> str:
    return " and ".join(f"`{name}`" for name in sorted(names))


def _spoken(at: datetime | None) -> str:
    return "no time" if at is None else at.isoformat().replace("+00:00", "Z")


def _merged(every: Given, one: Given) -> Given:
    """The file's situation, with what the case itself says in place of the same keys."""
    return every.model_copy(update={key: getattr(one, key) for key in one.model_fields_set})


# From words to a context


class _Writer:
    """Writes one case's proposal and context. Each method makes a part of the context."""

    def __init__(
        self, document: Document, index: int, entry: CaseEntry, given: Given, bench: Bench
    ) -> None:
        self._document = document
        self._index = index
        self._entry = entry
        self._given = given
        self._bench = bench
        self._policies = bench.guard.policies

    def wrong(self, cause: str, remedy: str, *keys: str | int) -> ConfigurationError:
        """An error at a key of this case."""
        return ConfigurationError(
            f"case {cause}", **self._document.at("cases", self._index, *keys), remedy=remedy
        )

    def case(self) -> Case:
        """The case, or what is wrong with it."""
        self._check_said()
        points = {point.kind: point for point in self._points()}
        candidate = self._candidate(points)
        step = Step(candidate.action.tool, {"body": candidate.action.body})
        proposal = Proposal(candidate, (step,), _HASH)
        context = self._context(candidate, points)
        place = self._document.place("cases", self._index)
        upcoming = tuple(self._upcoming(points))
        return Case(self._entry, self._given, place, proposal, context, upcoming)

    def _check_said(self) -> None:
        entry = self._entry
        if entry.verdict == "permitted" and entry.because:
            raise self.wrong("is permitted, and rules are against it", "leave one out", "because")
        if entry.verdict != "permitted" and not entry.because:
            raise self.wrong(
                f"is {entry.verdict}, and no rule is why",
                "name the rules under `because`",
                "verdict",
            )
        if entry.held_for is not None and entry.verdict != "held":
            raise self.wrong(f"is {entry.verdict} and held", "use `verdict: held`", "held_for")
        for index, rule in enumerate(entry.because):
            self._known("rule", rule, self._bench.rules, "because", index)

    def _known(self, what: str, name: str | None, known: Collection[str], *keys: str | int) -> None:
        if name is None or name in known:
            return
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        raise self.wrong(
            f"names {what} `{name}`, which there is not",
            f"did you mean `{close[0]}`?" if close else f"use one of {', '.join(sorted(known))}",
            *keys,
        )

    # The proposal

    def _upcoming(self, points: Mapping[str, ContactPoint]) -> Iterator[Upcoming]:
        for index, waits in enumerate(self._given.scheduled):
            bench, keys = self._bench, ("given", "scheduled", index)
            self._known("action", waits.action, bench.actions, *keys, "action")
            action = bench.actions[waits.action]
            journey = self._journey_of(action, waits.journey, *keys, "journey")
            made = self._made(action, waits.journey, journey, points)
            yield Upcoming(made, waits.due_at, self._wanted(waits), waits.fields)

    def _wanted(self, waits: ScheduledGiven) -> datetime:
        return waits.expires_at or waits.due_at + self._bench.actions[waits.action].defer_for

    def _action(self) -> Action:
        entry, bench = self._entry, self._bench
        own = {field.name for field in fields(Action)}
        changes = {
            name: getattr(entry.changes, name)
            for name in entry.changes.model_fields_set & own
        }  # fmt: skip
        declared = bench.actions.get(entry.action)
        if declared is not None:
            return replace(declared, **changes)
        if "purpose" not in changes:
            self._known("action", entry.action, bench.actions, "action")
        kind = "contact" if changes.get("tool", "message") == "message" else "internal"
        unnamed = {"title": entry.action, "tool": "message", "kind": kind}
        return Action(name=entry.action, **(unnamed | changes))

    def _journey_of(self, action: Action, name: str | None, *keys: str | int) -> Journey | None:
        journeys = self._bench.journeys
        if name is not None:
            if journeys:
                self._known("journey", name, journeys, *keys)
            return journeys.get(name)
        return next((one for one in journeys.values() if action.name in one.actions), None)

    def _candidate(self, points: Mapping[str, ContactPoint]) -> Candidate:
        action = self._action()
        self._known("offer", action.offer, self._bench.offers, "changes", "offer")
        name, changes = self._entry.journey, self._entry.changes
        journey = self._journey_of(action, name, "journey")
        made = self._made(action, name, journey, points)
        return replace(made, team=changes.team or made.team, amount=changes.amount or made.amount)

    def _made(
        self,
        action: Action,
        name: str | None,
        journey: Journey | None,
        points: Mapping[str, ContactPoint],
    ) -> Candidate:
        offer = self._bench.offers.get(action.offer or "")
        channel = self._policies.channels.get(action.channel or "")
        candidate = Candidate(
            action=action,
            journey=name or (journey.name if journey else "unnamed"),
            brand=self._brand(),
            team=journey.team if journey else "unnamed",
            instance="this run",
            contact_point=points.get(channel.address) if channel else None,
            amount=offer.worth if offer else None,
        )
        if journey is None:
            return candidate
        return replace(candidate, max_age=journey.max_age, journey_priority=journey.priority)

    def _brand(self) -> str:
        brand = self._given.brand or self._bench.brand
        self._known("brand", brand, self._bench.controllers, "given", "brand")
        return brand

    # The context

    def _context(self, candidate: Candidate, points: Mapping[str, ContactPoint]) -> Context:
        given, now = self._given, self._now()
        return Context(
            now=now,
            seed=0,
            event=self._event(),
            brand=candidate.brand,
            controller=self._controller(candidate.brand),
            profile_ids=(PERSON,),
            asked=Pass(given.asked.kind, expires_at=given.asked.expires_at),
            contact_points=tuple(points.values()),
            zone_of_person=given.zones.person,
            zones_of_address=tuple(given.zones.address),
            zones_before=tuple((left.zone, left.until) for left in given.zones_before),
            household=given.household,
            jurisdictions=tuple(Jurisdiction(j.code, j.source) for j in given.jurisdictions),
            consents=tuple(self._consents(candidate.brand)),
            suppressions=tuple(self._suppressions()),
            contacts=self._contacts(candidate.brand),
            instances=tuple(self._instances(candidate)),
            offers=self._offers(),
            approvals=tuple(self._approvals()),
            open_cases=tuple(given.open_cases),
            human_in_charge=given.human_in_charge,
            restricted=given.restricted,
            minor=given.minor,
            access_needs=tuple(given.access_needs),
            paused_until=given.paused_until,
            exempt_sends=given.exempt_sends,
            kill_switches=tuple(given.kill_switches),
            stale=given.stale,
            occurrences=tuple(
                Occurrence(one.event, one.match or "", one.at) for one in given.occurrences
            ),
            told=tuple(self._told(candidate.action)),
            budgets=self._budgets(),
            scheduled=tuple(
                Scheduled(
                    waits.action,
                    waits.journey or "unnamed",
                    "another run",
                    waits.due_at,
                    self._wanted(waits),
                    waits.fields,
                )
                for waits in given.scheduled
            ),
            **self._fields(candidate.brand, points),
        )

    def _told(self, action: Action) -> Iterator[Told]:
        for said in self._given.told:
            words = action.creative if said.same_words else None
            yield Told(said.action, said.journey, said.team, words, said.at)

    def _budgets(self) -> dict[str, Spending]:
        """What is spent of each budget: nothing, where the case says nothing."""
        budgets = [rule.id for rule in self._policies.rules if isinstance(rule, BudgetLeft)]
        for name in self._given.spent:
            self._known("budget", name, budgets, "given", "spent", name)
        spent = {name: money.amount for name, money in self._given.spent.items()}
        return {name: Spending(spent.get(name, 0), name) for name in budgets}

    def _now(self) -> datetime:
        if self._given.now is None:
            raise self.wrong(
                "does not say when it is", "add `now` to its `given`, or to the file's", "given"
            )
        return self._given.now

    def _controller(self, brand: str) -> str:
        return self._bench.controllers[brand]

    def _event(self) -> EventView:
        given, now = self._given.event, self._now()
        happened = None if given.undated else given.occurred_at or now
        return EventView("case/1", given.name, "track", happened, now, given.properties)

    def _points(self) -> Iterator[ContactPoint]:
        given = self._given
        kinds: tuple[tuple[Address, str | None], ...] = (
            ("email", given.email),
            ("phone", given.phone),
        )
        for kind, address in kinds:
            if address is not None:
                yield ContactPoint(
                    ref=kind,
                    kind=kind,
                    address=address,
                    shared=kind in given.shared,
                    unreachable_until=given.unreachable_until.get(kind),
                    zones=self._bench.zones_of(address) if kind == "phone" else (),
                    domain="domain" if kind == "email" else None,
                )

    def _fields(self, brand: str, points: Mapping[str, ContactPoint]) -> dict[str, Any]:
        """The labelled fields, as a profile, an event and their signals would give them."""
        given, controller = self._given, self._controller(brand)
        fields: dict[str, Any] = {
            "signal.open_cases": len(given.open_cases),
            "signal.events_before": 0,
            "signal.contacts_7d": self._contacts_of_a_week(),
            "signal.shared_address": any(point.shared for point in points.values()),
            "signal.opted_out": False,
        }
        withheld = []
        for root, said, keys in (
            ("profile", given.traits, ("traits",)),
            ("event", given.event.properties, ("event", "properties")),
            ("signal", given.signals, ("signals",)),
        ):
            for name, value in said.items():
                label = self._policies.fields.get(f"{root}.{name}")
                if label is None:
                    known = [k for k in self._policies.fields if k.startswith(f"{root}.")]
                    self._known("field", f"{root}.{name}", known, "given", *keys, name)
                    continue
                is_closed = label.category in ("special", "secret")
                if is_closed or label.controller not in (None, controller):
                    withheld.append(label.name)
                elif value is not None:
                    fields[label.name] = value
        return {"fields": fields, "withheld": tuple(withheld)}

    def _contacts_of_a_week(self) -> int:
        recent = self._now() - timedelta(days=7)
        return sum(1 for c in self._given.contacts if c.at > recent and c.to == "customer")

    def _consents(self, brand: str) -> Iterator[Consent]:
        for index, line in enumerate(self._given.consents):
            self._check_scope(line.purpose, line.channel, line.brand, "consents", index)
            at = line.at or self._now() - _LONG_AGO
            yield Consent(
                kind=line.said,
                profile_id=PERSON if line.by == "customer" else OTHER,
                controller=self._controller(line.brand or brand),
                brand=line.brand,
                channel=line.channel,
                purpose=line.purpose,
                topic=line.topic,
                contact_point=line.contact_point,
                occurred_at=at,
                received_at=line.received_at or at,
                expires_at=line.expires_at,
                source="case",
                ref=f"{line.said} {index + 1}",
            )

    def _check_scope(
        self, purpose: str | None, channel: str | None, brand: str | None, *keys: str | int
    ) -> None:
        self._known("channel", channel, self._policies.channels, "given", *keys, "channel")
        self._known("brand", brand, self._bench.controllers, "given", *keys, "brand")
        if purpose is not None and self._policies.purposes:
            known = {*self._policies.purposes, *PERMISSIONS}
            self._known("purpose", purpose, known, "given", *keys, "purpose")

    def _contacts(self, brand: str) -> tuple[Contact, ...]:
        made = []
        for index, contact in enumerate(self._given.contacts):
            self._check_scope(contact.purpose, contact.channel, contact.brand, "contacts", index)
            channel = self._policies.channels[contact.channel]
            reached = None if channel.address == "none" else channel.address
            made.append(
                Contact(
                    at=contact.at,
                    profile_id=PERSON if contact.to == "customer" else OTHER,
                    contact_point=contact.contact_point or reached,
                    brand=contact.brand or brand,
                    channel=contact.channel,
                    purpose=contact.purpose,
                    topic=contact.topic,
                    journey=contact.journey,
                    team=contact.team,
                    action=contact.action,
                    groups=tuple(contact.groups),
                    state=contact.state,
                    continues=contact.continues,
                )
            )
        return tuple(sorted(made, key=lambda one: one.at, reverse=True))

    def _suppressions(self) -> Iterator[Suppression]:
        for index, block in enumerate(self._given.suppressions):
            if block.target == "address" and block.contact_point is None:
                raise self.wrong(
                    "suppresses an address and does not say which",
                    "add `contact_point: email`",
                    "given",
                    "suppressions",
                    index,
                )
            yield Suppression(
                # The domain that is blocked is that of the customer's e-mail address.
                ref="domain" if block.target == "domain" else block.contact_point or block.target,
                target=block.target,
                brand=block.brand,
                channels=None if block.channels is None else tuple(block.channels),
                blocks=block.blocks,
                reason=block.reason,
                expires_at=block.expires_at,
                shown_to=EVERYONE if block.shown_to is None else tuple(block.shown_to),
                until_grant=block.until_grant,
                since=block.since,
            )

    def _instances(self, candidate: Candidate) -> Iterator[Instance]:
        for run in self._given.instances:
            own = run.journey in (None, candidate.journey)
            entered_at = run.entered_at or self._now()
            yield Instance(
                journey=run.journey or candidate.journey,
                key=candidate.instance if own else "another run",
                state=run.state,
                entered_at=entered_at,
                ends_at=run.ends_at or entered_at + timedelta(days=7),
                journey_version="case",
            )

    def _offers(self) -> Mapping[str, OfferState]:
        for name in self._given.offers_left:
            self._known("offer", name, self._bench.offers, "given", "offers_left", name)
        for index, name in enumerate(self._given.offers_held):
            self._known("offer", name, self._bench.offers, "given", "offers_held", index)
        stock = {name: offer.stock for name, offer in self._bench.offers.items()}
        held = Counter(self._given.offers_held)
        return {
            name: OfferState(name, left, held=held[name] > 0, given=held[name])
            for name, left in (stock | self._given.offers_left).items()
        }

    def _approvals(self) -> Iterator[ApprovalFact]:
        for index, said in enumerate(self._given.approvals):
            yield ApprovalFact(
                approval_id=f"approval {index + 1}",
                proposal_hash=_HASH,
                state=said.state,
                decided_by=said.by,
                decided_at=self._now(),
                expires_at=self._now() + timedelta(hours=1),
            )
