"""All a decision may look at: frozen, dated, and complete enough to decide again from it alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Literal

from domain.canonical import canonical
from domain.consent import Consent
from domain.journey import Arm, Instance
from domain.verdict import EVERYONE, Audience

Names = Literal["person", "nobody"]
FieldType = Literal["string", "int", "double", "bool"]
Category = Literal["ordinary", "sensitive", "special", "secret"]
Use = Literal["decide", "personalise", "learn", "model", "analytics"]
Retention = Literal["erasable", "evidence", "statutory"]
Blocks = Literal["marketing", "offers_and_marketing", "all_but_mandatory", "all"]
ContactState = Literal["made", "held", "failed", "undelivered"]
"""`held` is one that waits for a yes: it is reserved, and was not made yet."""
PassKind = Literal["event", "release", "approval", "retry", "displaced", "absence", "again"]

BEGINS_ANEW: tuple[PassKind, ...] = ("absence", "again")
"""The passes that are about one journey, and go on with nothing that their parent had wanted."""
CONTACTS_IN_CONTEXT_MAX = 256
INSTANCES_OF_JOURNEY_MAX = 64
SCHEDULED_IN_CONTEXT_MAX = 16
CONSENTS_WITHOUT_FOLD_MAX = 64
CONVERSATION = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class FieldLabel:
    """What a context field is, whose it is, and what it may serve.

    `name` is dotted (`profile.plan`, `event.value`, `signal.open_cases`). An optional field must
    be guarded with `has()` in rules. Fields that no label names never enter a context. `names` says
    whether its words may be somebody's name, or never are, like a number of an order.
    """

    name: str
    type: FieldType
    optional: bool = True
    controller: str | None = None
    category: Category = "ordinary"
    uses: tuple[Use, ...] = ("decide",)
    retention: Retention = "erasable"
    names: Names = "person"
    place: str = ""


@dataclass(frozen=True, slots=True)
class ContactPoint:
    """Where a person can be reached. `ref` is its keyed fingerprint, `kind` the identifier it is
    (`email`, `phone`); `zones` are the time zones the address itself implies (all those of a phone
    number), `domain` the fingerprint of the domain that an e-mail address is of. `shared`: other
    people use it too, so nothing sensitive and no name goes there."""

    ref: str
    kind: str
    address: str
    shared: bool = False
    unreachable_until: datetime | None = None
    zones: tuple[str, ...] = ()
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class Jurisdiction:
    """A law that may apply: `code` is ISO 3166-1 or 3166-2 (`DE`, `US-FL`), `source` what says so.

    A contact is under all of them at once, and the strictest applies.
    """

    code: str
    source: Literal["address", "billing", "residence", "number"]


@dataclass(frozen=True, slots=True)
class Contact:
    """One contact made, reserved or observed. Its instant, for every cap, is that of sending.

    `groups` are those of its action at that time, `household` the fingerprint of the one that the
    person was in. `continues` says that it went on with a conversation that was open, for as long
    as `CONVERSATION`, on its channel and contact point. It is `failed` where a provider refused it,
    `undelivered` where it is known not to have arrived; else `made`, whatever is not known yet.
    """

    at: datetime
    profile_id: str
    contact_point: str | None
    brand: str
    channel: str
    purpose: str
    topic: str | None
    journey: str | None
    team: str | None
    action: str
    groups: tuple[str, ...] = ()
    household: str | None = None
    continues: bool = False
    state: ContactState = "made"


@dataclass(frozen=True, slots=True)
class Tally:
    """What a cap counts where the contacts are too many to be looked at one by one, or not all of
    them this person's to look at.

    `count` contacts lie in the window; `last_at` is the instant of the newest one but `limit` - 1,
    None where fewer than `limit` do. `contact_point` is None for a cap per person or household.
    """

    rule: str
    contact_point: str | None
    count: int
    last_at: datetime | None
    limit: int


@dataclass(frozen=True, slots=True)
class Suppression:
    """A block on an address, a domain or a person, whatever the consent.

    `ref` is the fingerprint of the address or domain, else the suppression's own id. One
    `until_grant` ends where somebody explicitly agrees at that address after `since`. Under one
    that `holds_rest`, what it does not block is for a person to decide.
    """

    ref: str
    target: Literal["address", "domain", "person"]
    brand: str | None
    channels: tuple[str, ...] | None
    blocks: Blocks
    reason: str
    expires_at: datetime | None = None
    shown_to: tuple[Audience, ...] = EVERYONE
    until_grant: bool = False
    since: datetime | None = None
    holds_rest: bool = False


@dataclass(frozen=True, slots=True)
class ApprovalFact:
    """What a person said about one proposal, as a dated fact."""

    approval_id: str
    proposal_hash: str
    state: Literal["pending", "approved", "rejected", "expired", "superseded", "withdrawn"]
    decided_by: str | None
    decided_at: datetime | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OfferState:
    """How much of an offer is left to grant, and what the person has of it.

    One is `held` that was granted and not used, and `reserved` that is being granted or waits for
    an approval; none of them outlives `until`, if there is such an end. `given` counts all that the
    person was ever granted, or is being granted, but for those taken back.
    """

    name: str
    left: int
    held: bool = False
    reserved: bool = False
    given: int = 0
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """The last time, within the longest cool-off, that an event a cool-off is about happened.

    With `match`, a property's name, it is the last one about the same thing as the event at hand,
    or about one that cannot be told apart from it. `match` is empty where any one counts.
    """

    event: str
    match: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """The last contact, within the longest window asked about, of one action for one journey.

    `creative` is the fingerprint of the words it was written by.
    """

    action: str
    journey: str | None
    team: str | None
    creative: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A contact of this person that waits for a better time, wanted until `expires_at`.

    `fields` are those of the event that it is about.
    """

    action: str
    journey: str
    instance: str
    due_at: datetime
    expires_at: datetime
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spending:
    """What of a budget is given or reserved in the period that is on: minor units.

    `counter` names the period's counter; it is `kept` once somebody has reserved in that period.
    """

    spent: int
    counter: str
    kept: bool = True


@dataclass(frozen=True, slots=True)
class Silence:
    """What is known of a journey's absence: since when it is counted, and what ended it, if so.

    `since` is the last event that it is counted from, `broken_at` that of what was not to happen.
    """

    journey: str
    since: datetime
    broken_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """Why the question is asked: the event itself, or a dated fact that re-opens it.

    `n` counts the passes over one event (0 is the first). `want` is the action a timer or an
    approval is about; the whole funnel is asked again all the same. `reserved_offer` is the offer
    that the parent still holds one of, for this very pass. `journey` is the one journey that an
    absence or another try, and whatever follows from it, is about; `lagging` the source that has
    not told of all of the absence's time.
    """

    kind: PassKind = "event"
    n: int = 0
    parent_id: str | None = None
    want: str | None = None
    expires_at: datetime | None = None
    reserved_offer: str | None = None
    journey: str | None = None
    lagging: str | None = None

    @property
    def own_id(self) -> str | None:
        """The decision whose reservations are this pass's own: what begins anew has none."""
        return None if self.kind in BEGINS_ANEW else self.parent_id


@dataclass(frozen=True, slots=True)
class EventView:
    """The event as the decision sees it. `event_id` is `source/id`, or `source/` and a hash."""

    event_id: str
    name: str
    kind: str
    occurred_at: datetime | None
    received_at: datetime
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def time(self) -> datetime:
        """`occurred_at`, never later than `received_at`; `received_at` where undated."""
        if self.occurred_at is None or self.occurred_at > self.received_at:
            return self.received_at
        return self.occurred_at


@dataclass(frozen=True, slots=True)
class Context:
    """Everything one decision may look at. `now` is the decision's instant, `seed` its only
    source of chance.

    `profile_ids` are the person's fragments, the one that stands for the person first.
    `entering` maps each journey this event triggers to the key of the instance it would enter.
    `arms` are the person's assignments to holdouts.
    `zones_of_address` are the time zones the postal address may be in.
    `jurisdictions` are the laws that may apply to the person, by address, billing country,
    residence and numbers; none known means unknown, and the strictest that is configured applies.
    `fields` are labelled context fields by dotted name, `withheld` those that are kept from rules
    and texts, or from texts alone. `contacts` are the most recent ones, newest first;
    `contacts_truncated` says that older ones inside the longest window exist, and `tallies` then
    holds the count of every cap. `minor` says that the person is one, who is not profiled;
    `access_needs` are those that the policies name.
    `stale` are the fields that are too old to promote by, each with the source that is silent.
    `occurrences`, `told`, `budgets` and `scheduled` (the first due) are what rules across teams ask
    about, and are empty where there is no such rule.
    `paused_until` is until when the person wants no marketing. `exempt_sends` counts, of each
    exempt purpose, the contacts made with the person within that purpose's ceiling's window.
    `zones_before` are zones that the person has left, each with the instant until which it may have
    been theirs. `household` is the fingerprint of what the person's household is called. `tallies`
    are there, too, for caps that count what others of the household got, or what failed.
    `silences` are those that this event begins, or that this pass is about.
    `models` are the versions of the learnt models in force, by journey.
    `revisions` holds the revision of every contention key that was read.
    """

    now: datetime
    seed: int
    event: EventView
    brand: str
    controller: str
    profile_ids: tuple[str, ...]
    asked: Pass = field(default_factory=Pass)
    fields: Mapping[str, Any] = field(default_factory=dict)
    withheld: tuple[str, ...] = ()
    stale: Mapping[str, str] = field(default_factory=dict)
    contact_points: tuple[ContactPoint, ...] = ()
    zone_of_person: str | None = None
    zones_of_address: tuple[str, ...] = ()
    zones_before: tuple[tuple[str, datetime], ...] = ()
    household: str | None = None
    jurisdictions: tuple[Jurisdiction, ...] = ()
    consents: tuple[Consent, ...] = ()
    suppressions: tuple[Suppression, ...] = ()
    paused_until: datetime | None = None
    exempt_sends: Mapping[str, int] = field(default_factory=dict)
    contacts: tuple[Contact, ...] = ()
    contacts_truncated: bool = False
    tallies: tuple[Tally, ...] = ()
    instances: tuple[Instance, ...] = ()
    entering: Mapping[str, str] = field(default_factory=dict)
    arms: Mapping[str, Arm] = field(default_factory=dict)
    offers: Mapping[str, OfferState] = field(default_factory=dict)
    approvals: tuple[ApprovalFact, ...] = ()
    open_cases: tuple[str, ...] = ()
    human_in_charge: bool = False
    restricted: bool = False
    minor: bool = False
    access_needs: tuple[str, ...] = ()
    kill_switches: tuple[str, ...] = ()
    occurrences: tuple[Occurrence, ...] = ()
    told: tuple[Told, ...] = ()
    budgets: Mapping[str, Spending] = field(default_factory=dict)
    scheduled: tuple[Scheduled, ...] = ()
    silences: tuple[Silence, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    revisions: Mapping[str, int] = field(default_factory=dict)

    def digest(self) -> str:
        """SHA-256 of the canonical form: equal contexts have equal digests, in any process."""
        return sha256(canonical(self)).hexdigest()

    @property
    def profile_id(self) -> str:
        """The person's id: that of the fragment that stands for all."""
        return self.profile_ids[0]
