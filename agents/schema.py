"""What a workspace's own files may say: actions, offers, journeys, people, settings (pydantic)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from domain.action import BlockKind, Significance, Urgency
from domain.journey import LearningName, Metric, MindName, OnLag
from policies.documents import DURATION_MAX, Day, Duration, Instant, KeptFor, MoneyText, Span
from policies.schema import DottedName, EventName, Id, Strict

Text = Annotated[str, StringConstraints(max_length=10_000)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Percent = Annotated[float, Field(ge=-100, le=1000)]


class BlockEntry(Strict):
    """One part of a message. Any kind but `information` makes the whole message marketing."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
    kind: BlockKind = "information"


class ActionEntry(Strict):
    """One action of `actions.yaml`. A `sensitive` one goes to no address that others share.

    A message has its text in `body`, or in `blocks`, which say of each part what it is for. One
    under an exempt purpose must be among the purpose's `templates`.
    """

    title: Title = Field(examples=["Remind by e-mail"])
    tool: Literal["message", "offer", "case", "handoff"] = Field(examples=["message"])
    kind: Literal["contact", "presentation", "reply", "notice", "internal"] | None = None
    purpose: Id = Field(examples=["marketing"])
    channel: Id | None = None
    topic: Id | None = None
    groups: list[Id] = Field(default=[], max_length=8, examples=[["offers"]])
    subject: Text = ""
    body: Text = ""
    blocks: list[BlockEntry] = Field(default=[], max_length=50)
    offer: Id | None = None
    reason: Id | None = None
    queue: Id | None = None
    propensity: float = Field(default=1.0, ge=0, le=1)
    value: float = Field(default=1.0, ge=0, le=1e9)
    context_weight: float = Field(default=1.0, ge=0, le=1e6)
    levers: dict[Id, Percent] = {}
    obeys_caps: bool = True
    counts_toward_caps: bool = True
    mandatory: bool = False
    urgency: Urgency = "normal"
    promotional: bool = False
    sensitive: bool = False
    significance: Significance = "none"
    defer_for: Duration | None = None
    substitutes: list[Id] = Field(default=[], examples=[["remind_by_email"]])
    escalation: Id | None = None


class ActionsFile(Strict):
    """`actions.yaml`."""

    actions: dict[Id, ActionEntry]


class OfferEntry(Strict):
    """One offer of `offers.yaml`: `stock` many of each brand.

    `eligible` is a condition that must be true of whoever is granted one. `brands` and `channels`
    say by whom and over what it may be promised. Of the offers of one `exclusive` group a person
    holds one at a time, and is granted this one `per_person` times at most. A grant that is not
    used dies `expires_after` it was made; with `returns`, stock and money are then there again, as
    they are where it is revoked. `description` is what `safeconduct offers search` finds it by,
    beside its title.
    """

    title: Title = Field(examples=["5 EUR voucher"])
    worth: MoneyText = Field(examples=["5.00 EUR"])
    stock: int = Field(ge=0, le=10**9, examples=[100])
    description: Text = ""
    eligible: str | None = Field(default=None, examples=["signal.open_cases == 0"])
    valid_from: Instant | None = None
    valid_until: Instant | None = None
    brands: list[Id] | None = Field(default=None, min_length=1, max_length=100)
    channels: list[Id] | None = Field(default=None, min_length=1, max_length=100)
    exclusive: list[Id] = Field(default=[], max_length=8, examples=[["vouchers"]])
    per_person: int | None = Field(default=None, ge=1, le=10**6)
    expires_after: Duration | None = None
    returns: bool = False


class OffersFile(Strict):
    """`offers.yaml`."""

    offers: dict[Id, OfferEntry]


class AbsenceEntry(Strict):
    """What begins a journey by not happening: `after` an event, no `of` for as long as `within`.

    It waits for `sources` (all that declare a `max_lag`) to have told of that time, at most for
    `max_wait` longer (the longest `max_lag` of these); then `on_lag` says what to do.
    """

    after: EventName = Field(examples=["cart_updated"])
    of: EventName = Field(examples=["order_completed"])
    within: Duration = Field(examples=["30m"])
    max_wait: Duration | None = None
    on_lag: OnLag = "skip"
    sources: list[Title] | None = Field(default=None, min_length=1, examples=[["till"]])


class JourneyFile(Strict):
    """One file of `journeys/`; its name is the journey's.

    It begins with a `trigger`, an `absence`, or either. People who are on it keep the version that
    they entered: its actions, goal, exit and window.

    One that learns (`learning`) sees of a customer only the fields in `features`, leaves the share
    `exploration` of its choices to chance (0.1 of them), and is decided by its newest model unless
    `model` names the version to keep to.
    """

    title: Title = Field(examples=["Win back an abandoned cart"])
    trigger: EventName | None = Field(default=None, examples=["cart_abandoned"])
    absence: AbsenceEntry | None = None
    goal: EventName = Field(examples=["order_completed"])
    actions: list[Id] = Field(min_length=1, examples=[["remind_by_email"]])
    owner: Title = Field(examples=["ana"])
    team: Id = Field(examples=["growth"])
    brand: Id | None = None
    instance_key: Annotated[str, StringConstraints(pattern=r"^event\.[a-z][a-z0-9_]*$")] | None = (
        None
    )
    entry: str | None = None
    exit: str | None = None
    window: Duration | None = None
    max_age: Duration | None = None
    again_after: Duration | None = None
    holdout: float = Field(default=0.0, ge=0, le=0.9)
    priority: float = Field(default=1.0, gt=0, le=1000)
    mind: MindName = "formula"
    escalation: Id | None = None
    metric: Metric = "conversion"
    review_by: Day | None = Field(default=None, examples=["2027-06-30"])
    learning: LearningName = "constant"
    features: list[DottedName] = Field(default=[], max_length=32, examples=[["event.value"]])
    exploration: float | None = Field(default=None, ge=0, le=1)
    model: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")] | None = None


class PersonEntry(Strict):
    """One colleague of `people.yaml`."""

    title: Title = Field(examples=["Ana, growth marketing"])
    roles: list[Id] = Field(min_length=1, examples=[["marketing"]])


class PeopleFile(Strict):
    """`people.yaml`: who may approve what."""

    people: dict[Id, PersonEntry]


WebAddress = Annotated[
    str,
    StringConstraints(
        pattern=r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$", max_length=150
    ),
]


class BrandEntry(Strict):
    """One brand: whose data it is, who it writes as, and where one-click unsubscribing is answered.

    With `unsubscribe_url`, marketing by e-mail bears `List-Unsubscribe` (RFC 8058), at
    `/unsubscribe/TOKEN` below that address.
    """

    title: Title = Field(examples=["The Shop"])
    controller: Id = Field(examples=["shop"])
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "EUR"
    senders: dict[Id, Title] = {}
    unsubscribe_url: WebAddress | None = Field(default=None, examples=["https://shop.example"])


class CategoryEntry(Strict):
    """What a consent category of another system is about here."""

    purpose: Id = Field(examples=["marketing"])
    channel: Id | None = None


class InputEntry(Strict):
    """How rows become events.

    `max_lag` says for how long a source may be silent. What it told is then too old for rules that
    decide about marketing.
    """

    source: Title = Field(examples=["shop"])
    region: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    names: dict[Title, EventName] = {}
    blocked: dict[Id, list[Title]] = {}
    consent_categories: dict[Title, CategoryEntry] = {}
    stop_words: list[Title] = []
    confidence: dict[Title, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={}, examples=[{"crm": 0.9}]
    )
    max_lag: dict[Title, Duration] = Field(default={}, examples=[{"crm": "1d"}])


class IdentityEntry(Strict):
    """How people are told apart.

    `priority` lists identifier types, the most telling first; `limits` say how many of a type one
    person may have (50 of those not named). After an event in `logouts`, a device tells nothing
    any more of who used it before. `household` is the trait that says which household somebody is
    of, for caps per household.
    """

    priority: list[Id] = Field(
        default=["user_id", "email", "phone", "device_id", "anonymous_id"], min_length=1
    )
    limits: dict[Id, Annotated[int, Field(ge=1, le=50)]] = {"user_id": 1, "email": 5, "phone": 5}
    logouts: list[EventName] = []
    household: Title | None = Field(default=None, examples=["household_id"])


class RetentionEntry(Strict):
    """How long things are kept: after an erasure `evidence`, which proves consent, and fields that
    are `statutory`; in the `record` the decisions, as long as a rule may look back (400 days) or
    longer.
    """

    evidence: KeptFor = timedelta(days=3 * 365)
    statutory: KeptFor = timedelta(days=10 * 365)
    record: KeptFor = timedelta(days=3 * 365)

    @field_validator("record")
    @classmethod
    def _seen_by_every_rule(cls, record: timedelta) -> timedelta:
        if record < DURATION_MAX:
            raise ValueError(f"a rule may look back {DURATION_MAX.days} days; keep it that long")
        return record


Weight = Annotated[float, Field(ge=0, le=100)]


class FrictionEntry(Strict):
    """What one of each counts for in `signal.friction`."""

    repeats: Weight = 1.0
    errors: Weight = 2.0
    switches: Weight = 2.0
    back_and_forth: Weight = 1.0


class SignalsEntry(Strict):
    """What event names mean for the computed signals."""

    purchases: list[EventName] = Field(default=["order_completed"], examples=[["order_completed"]])
    value: EventName = Field(default="value", examples=["value"])
    engagement: dict[EventName, Id] = Field(default={}, examples=[{"email_opened": "email"}])
    intents: dict[EventName, Id] = Field(default={}, examples=[{"cart_abandoned": "buy"}])
    errors: list[EventName] = Field(default=[], examples=[["checkout_failed"]])
    friction: FrictionEntry = FrictionEntry()


class OutcomesEntry(Strict):
    """What event names mean for `safeconduct outcomes`.

    `contacts` are a customer's requests, about what their property `topic` says, by the channel in
    their property `channel`; `resolved` are events that close one, as a journey's goal does. A
    request on the same topic within `repeat_within` is a repeat.
    """

    contacts: list[EventName] = ["contact_opened", "message_received", "self_service_failed"]
    topic: EventName = Field(default="topic", examples=["topic"])
    channel: EventName = Field(default="channel", examples=["channel"])
    resolved: list[EventName] = ["case_closed"]
    repeat_within: Duration = timedelta(days=7)


class SmtpEntry(Strict):
    """An SMTP server; its password comes from the variable `SAFECONDUCT_SMTP_PASSWORD`."""

    host: Title = Field(examples=["smtp.example.com"])
    port: int = Field(default=587, ge=1, le=65535)
    username: Title | None = None
    starttls: bool | None = None
    timeout_seconds: float = Field(default=20, gt=0, le=120)


class ChannelEntry(Strict):
    """Which adapter serves a channel."""

    adapter: Literal["local", "smtp"] = "local"
    smtp: SmtpEntry | None = None


class SwitchesEntry(Strict):
    """Who may turn kill switches: one person stops, two different ones let things go on.

    Whoever is logged in on the machine may stop as well, so that it is always possible.

    What was held is then asked about again, at most `releases_per_minute`.
    """

    roles: list[Id] = Field(default=["admin"], min_length=1, examples=[["admin"]])
    releases_per_minute: int = Field(default=600, ge=1, le=60_000)


class ReleasesEntry(Strict):
    """How what waited for an hour that many wait for is asked about again.

    It is spread over the first minutes after that hour, so that they do not all go out at once;
    with `0s` they do.
    """

    spread: Span = timedelta(minutes=2)


class StoreEntry(Strict):
    """Where the workspace's store is; a relative path is relative to the workspace."""

    url: Title = Field(examples=["sqlite:///safeconduct.db"])


class SettingsFile(Strict):
    """`settings.toml`."""

    brand: Id = Field(examples=["shop"])
    brands: dict[Id, BrandEntry] = Field(min_length=1)
    input: InputEntry
    identity: IdentityEntry = IdentityEntry()
    retention: RetentionEntry = RetentionEntry()
    store: StoreEntry
    channels: dict[Id, ChannelEntry] = {}
    signals: SignalsEntry = SignalsEntry()
    outcomes: OutcomesEntry = OutcomesEntry()
    switches: SwitchesEntry = SwitchesEntry()
    releases: ReleasesEntry = ReleasesEntry()
