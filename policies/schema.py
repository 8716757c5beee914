"""What the YAML files under `policies/` may say (pydantic, at the edge)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from domain.caps import Counts, Per
from domain.context import Category, FieldType, Retention, Use
from domain.verdict import Audience
from domain.windows import Unit, WeekStart
from policies.documents import CalendarZone, Duration, WallWindow

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
DottedName = Annotated[str, StringConstraints(pattern=r"^[a-z]+(\.[a-z][a-z0-9_]{0,63}){1,2}$")]
Reason = Annotated[str, StringConstraints(min_length=3, max_length=300)]
ShownTo = list[Audience]
Scope = list[Id]


class Strict(BaseModel):
    """A mapping in which an unknown key is a mistake, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldEntry(Strict):
    """A context field: its type, whose it is, and what it may serve."""

    type: FieldType = Field(examples=["string"])
    optional: bool = True
    controller: Id | None = None
    category: Category = "ordinary"
    uses: list[Use] = Field(default=["decide"], min_length=1)
    retention: Retention = "erasable"


class PurposeEntry(Strict):
    """Why a customer may be contacted, and whether the law wants their yes first."""

    title: str = Field(examples=["Offers and news"])
    model: Literal["opt_in", "opt_out", "exempt"] = Field(examples=["opt_in"])
    marketing: bool = False
    legal_basis: str | None = None


class ChannelEntry(Strict):
    """A way to reach a person, and which identifier is its address."""

    title: str = Field(examples=["e-mail"])
    address: Literal["email", "phone", "none"] = Field(examples=["email"])
    zones: Literal["first_known", "all"] = "first_known"


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
    on_capped: Literal["drop", "defer"] = "drop"
    reason: Reason | None = None
    shown_to: ShownTo | None = None


class HoursEntry(Strict):
    """When a channel may be used, in the customer's own wall time."""

    id: Id
    channels: Scope = Field(min_length=1, examples=[["sms"]])
    window: WallWindow = Field(examples=["08:00-21:00"])
    on_quiet: Literal["drop", "defer"] = "defer"
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


class PolicyFile(Strict):
    """One file of a policy set; what several files say is taken together."""

    fields: dict[DottedName, FieldEntry] = {}
    purposes: dict[Id, PurposeEntry] = {}
    channels: dict[Id, ChannelEntry] = {}
    frequency_caps: list[CapEntry] = []
    quiet_hours: list[HoursEntry] = []
    rules: list[RuleEntry] = []
    approvals: list[ApprovalEntry] = []
