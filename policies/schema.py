"""What the YAML files under `policies/` may say (pydantic, at the edge)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from domain.budget import Period
from domain.caps import Counts, Per
from domain.context import Category, FieldType, Names, Retention, Use
from domain.verdict import Audience
from domain.windows import Unit, WeekStart
from policies.documents import (
    CalendarZone,
    Duration,
    HolidayList,
    MoneyText,
    PlaceCode,
    TimeZoneName,
    WallTime,
    WallWindows,
    WeekDays,
)
from policies.media import Address, Medium
from policies.question import Otherwise

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
DottedName = Annotated[str, StringConstraints(pattern=r"^[a-z]+(\.[a-z][a-z0-9_]{0,63}){1,2}$")]
EventName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._:-]{0,99}$")]
Reason = Annotated[str, StringConstraints(min_length=3, max_length=300)]
ShownTo = list[Audience]
Scope = list[Id]
Label = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Strict(BaseModel):
    """A mapping in which an unknown key is a mistake, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldEntry(Strict):
    """A context field: its type, whose it is, and what it may serve.

    Words out of an event go to an address that others share only where `names: nobody` says that
    they are nobody's name: those of an order's number do, those of a passenger do not.
    """

    type: FieldType = Field(examples=["string"])
    optional: bool = True
    controller: Id | None = None
    category: Category = "ordinary"
    uses: list[Use] = Field(default=["decide"], min_length=1)
    retention: Retention = "erasable"
    names: Names = "person"


JurisdictionCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]
Basis = Annotated[str, StringConstraints(pattern=r"^(soft_opt_in|[A-Z]{2}(-[A-Z0-9]{1,3})?)$")]


class ModelEntry(Strict):
    """Another consent model than the purpose's own, on some channels or in some jurisdictions.

    The nearest holds: one that names the jurisdiction before one that does not, then one that
    names the channel. A person under several jurisdictions is contacted only where every one of
    them lets it pass, and one of no known jurisdiction only where every model does.

    `opt_out` takes silence for a yes, and says by what right: `basis` is one of its
    `jurisdictions`, or `soft_opt_in` with `evidence`, a field of the purpose's own controller that
    is true, or is the address itself, where the address was got in a sale.
    """

    model: Literal["opt_in", "opt_out"] = Field(examples=["opt_out"])
    channels: Scope | None = Field(default=None, min_length=1, examples=[["email"]])
    jurisdictions: list[JurisdictionCode] | None = Field(
        default=None, min_length=1, examples=[["CA"]]
    )
    basis: Basis | None = Field(default=None, examples=["CA"])
    evidence: DottedName | None = None


class CeilingEntry(Strict):
    """Beyond `sends` contacts to one person in `window`, a person has to look at it."""

    sends: int = Field(default=20, ge=1, le=200)
    window: Duration = timedelta(hours=24)


class PurposeEntry(Strict):
    """Why a customer may be contacted, and whether the law wants their yes first.

    `model` holds where no entry of `models` does. An `exempt` purpose has a `legal_basis`, and
    `templates`: the messages that may be sent under it. By text message to the United States it
    asks for a yes all the same (an entry with `model: opt_in` for `US`), unless `exemption` names
    the rule by which it need not. `ceiling` bounds what one person gets under it.
    """

    title: str = Field(examples=["Offers and news"])
    model: Literal["opt_in", "opt_out", "exempt"] = Field(examples=["opt_in"])
    marketing: bool = False
    legal_basis: str | None = None
    basis: Basis | None = None
    evidence: DottedName | None = None
    models: list[ModelEntry] = []
    templates: Scope = []
    exemption: Reason | None = None
    ceiling: CeilingEntry | None = None


class ChannelEntry(Strict):
    """A way to reach a person, and which identifier is its address.

    A `phone` rings in `all` zones its owner may be in, and nothing less may be declared; the
    others go by the `first_known`. `medium` says what it is where its name does not: a channel
    `sms` is text messages, and one called `text` may be anything that reaches a phone, and is held
    to the strictest of that.
    """

    title: str = Field(examples=["e-mail"])
    address: Address = Field(examples=["email"])
    medium: Medium | None = None
    zones: Literal["first_known", "all"] | None = None


class CapEntry(Strict):
    """At most `limit` contacts in any `window` of elapsed time (`1d` is 24 hours, `1mo` 30 days),
    or in each `calendar` day, week or month of the zone `tz`.

    `tz: person` is the customer's own zone; where it is unknown, or was another one in the window,
    every zone it may be counts, and the tightest decides. A contact counts where it fits each of
    `brands`, `channels`, `purposes`, `topics`, `journeys`, `teams` and `groups` (of actions) that
    is given: made to the person, `per: contact_point` at the same address, or `per: household` to
    anybody in it. `counts`: `attempt` all that was begun, failed or not; `accepted` what no
    provider refused; `delivered` the same until it is known not to have arrived; `conversation`
    those of 24 hours on one channel at one address, however many messages. What is reserved, or
    of unknown outcome, counts in each of them.

    One too many is dropped, deferred until the cap allows it, substituted by an action that the
    action names in `substitutes`, or escalated to its own or its journey's `escalation`.
    """

    id: Id
    limit: int = Field(ge=0, le=10_000, examples=[1])
    window: Duration | None = Field(default=None, examples=["7d"])
    calendar: Unit | None = Field(default=None, examples=["week"])
    tz: CalendarZone | None = Field(default=None, examples=["Europe/Berlin"])
    week_start: WeekStart | None = Field(default=None, examples=["monday"])
    per: Per = "person"
    counts: Counts = "accepted"
    brands: Scope | None = None
    channels: Scope | None = None
    purposes: Scope | None = None
    topics: Scope | None = None
    journeys: Scope | None = None
    teams: Scope | None = None
    groups: Scope | None = None
    on_capped: Otherwise = "drop"
    reason: Reason | None = None
    shown_to: ShownTo | None = None


class SlotEntry(Strict):
    """Parts of the day, each of which is one action's: the best has it, the others lose.

    One contact of a brand to a person in each part, counted by the customer's own clock or by that
    of the zone `tz`. A contact that waits for a yes has its slot until that is decided, unless
    `while_held: next`. One too many is dropped, deferred until the next part, substituted or
    escalated.
    """

    id: Id
    day_parts: list[WallTime] = Field(
        min_length=1, max_length=24, examples=[["06:00", "12:00", "18:00"]]
    )
    tz: CalendarZone = "person"
    while_held: Literal["wait", "next"] = "wait"
    channels: Scope | None = None
    purposes: Scope | None = Field(default=None, examples=[["marketing"]])
    topics: Scope | None = None
    journeys: Scope | None = None
    teams: Scope | None = None
    groups: Scope | None = None
    on_taken: Otherwise = "drop"
    reason: Reason | None = None
    shown_to: ShownTo | None = None


def _hours_in_words(value: Any) -> Any:
    """A law's hours are often no more than a window."""
    return {"window": value} if isinstance(value, str) else value


class LawEntry(Strict):
    """When the law of a country or state lets a customer be contacted; a text is its `window`."""

    window: WallWindows | None = Field(default=None, examples=["08:00-20:00"])
    days: WeekDays | None = Field(default=None, examples=["mon-sat"])
    holidays: HolidayList | None = Field(default=None, examples=["[12-25, 2026-04-03]"])


class HoursEntry(Strict):
    """When a channel may be used, in the customer's own wall time, and by which laws.

    A contact is made only while `window` is open and the hours of every law that may apply; of
    somebody of whom no law is known, of all that are here. A law that names a state holds in it
    alone; one that names a country holds in all its states. What comes at a bad hour is deferred,
    dropped, substituted or escalated, as with caps.
    """

    id: Id
    channels: Scope = Field(min_length=1, examples=[["sms"]])
    window: WallWindows = Field(examples=["08:00-21:00"])
    days: WeekDays | None = Field(default=None, examples=["mon-sat"])
    holidays: HolidayList | None = Field(default=None, examples=["[12-25, 2026-04-03]"])
    jurisdictions: dict[PlaceCode, Annotated[LawEntry, BeforeValidator(_hours_in_words)]] = {}
    on_quiet: Otherwise = "defer"
    reason: Reason | None = None
    shown_to: ShownTo | None = None


class RuleEntry(Strict):
    """A condition that must be true for an action to be considered."""

    id: Id
    stage: Literal["eligibility", "applicability", "suitability"] = Field(examples=["suitability"])
    when: str = Field(min_length=1, examples=["signal.open_cases == 0"])
    reason: Reason = Field(examples=["a complaint is open"])
    actions: list[Id] | None = None
    purposes: Scope | None = None
    channels: Scope | None = None
    journeys: Scope | None = None
    shown_to: ShownTo | None = None


class ApprovalEntry(Strict):
    """A condition under which a person must say yes first."""

    id: Id
    when: str = Field(min_length=1, examples=["action.amount > 1000"])
    reason: Reason = Field(examples=["vouchers over 10 EUR need approval"])
    role: Id = Field(examples=["marketing"])
    quorum: int = Field(default=1, ge=1, le=5)
    expires_in: Duration = Field(examples=["30m"])
    shown_to: ShownTo | None = None


Member = Id | Annotated[list[Id], Field(min_length=1)]


class CoolOffEntry(Strict):
    """No promotion for a while after one of these events, by the events' own time.

    With `match`, only for what the event was about: `event.product_id` is read from the event at
    hand and from what happened, there also from each of its `products`. Where either names none,
    it holds all the same. Without `purposes`, it is for all marketing.
    """

    id: Id
    after: list[EventName] = Field(min_length=1, examples=[["order_completed"]])
    lasts: Duration = Field(examples=["7d"])
    match: Annotated[str, StringConstraints(pattern=r"^event\.[a-z][a-z0-9_]*$")] | None = None
    purposes: Scope | None = None
    reason: Reason = Field(examples=["it was bought a moment ago"])
    shown_to: ShownTo | None = None


class ExclusiveEntry(Strict):
    """Of these actions, journeys or teams only one may contact a person `within` a window.

    A list in the list is one part of the set: `[[a, b], c]` lets `a` follow `b`, and keeps both
    from `c`. While a journey of the set is under way, the others wait.
    """

    id: Id
    actions: Annotated[list[Member], Field(min_length=2)] | None = None
    journeys: Annotated[list[Member], Field(min_length=2)] | None = None
    teams: Annotated[list[Member], Field(min_length=2)] | None = None
    within: Duration = Field(examples=["7d"])
    reason: Reason | None = None
    shown_to: ShownTo | None = None


class SameCreativeEntry(Strict):
    """The same words at most once `within` a window; without `purposes`, all marketing."""

    id: Id
    within: Duration = Field(examples=["30d"])
    purposes: Scope | None = None
    reason: Reason | None = None
    shown_to: ShownTo | None = None


class LookAheadEntry(Strict):
    """A contact of low priority waits for a scheduled, better one that is due within the horizon.

    Low is what lies below a priority, and in these journeys and purposes; exempt is never low.
    """

    id: Id
    horizon: Duration = Field(examples=["3d"])
    below: Annotated[float, Field(gt=0)] | None = Field(default=None, examples=[20])
    journeys: Scope | None = None
    purposes: Scope | None = None
    reason: Reason | None = None
    shown_to: ShownTo | None = None


class BudgetEntry(Strict):
    """At most `amount` of offers in any calendar `period`, reserved and released like stock."""

    id: Id
    amount: MoneyText = Field(examples=["500.00 EUR"])
    period: Period = Field(examples=["month"])
    tz: TimeZoneName = "UTC"
    purposes: Scope | None = None
    journeys: Scope | None = None
    teams: Scope | None = None
    brands: Scope | None = None
    reason: Reason | None = None
    shown_to: ShownTo | None = None


class PolicyFile(Strict):
    """One file of a policy set; what several files say is taken together.

    `minors` are the values of the trait `age_band` that mean a minor, who is not profiled.
    `access_needs` maps what the trait `access_needs` may name to the channels that it closes.
    """

    fields: dict[DottedName, FieldEntry] = {}
    purposes: dict[Id, PurposeEntry] = {}
    channels: dict[Id, ChannelEntry] = {}
    frequency_caps: list[CapEntry] = []
    slots: list[SlotEntry] = []
    quiet_hours: list[HoursEntry] = []
    cool_offs: list[CoolOffEntry] = []
    exclusive: list[ExclusiveEntry] = []
    same_creative: list[SameCreativeEntry] = []
    look_ahead: list[LookAheadEntry] = []
    budgets: list[BudgetEntry] = []
    rules: list[RuleEntry] = []
    approvals: list[ApprovalEntry] = []
    minors: list[Label] = []
    access_needs: dict[Id, Annotated[Scope, Field(min_length=1)]] = {}
