"""What the YAML files under `policies/` may say (pydantic, at the edge)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from domain.context import Category, FieldType, Retention, Use
from domain.verdict import Audience
from policies.documents import Duration, WallWindow
from policies.media import Address, Medium

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

    `medium` says what it is where its name does not: a channel `sms` is text messages, and one
    called `text` may be anything that reaches a phone, and is held to the strictest of that.
    """

    title: str = Field(examples=["e-mail"])
    address: Address = Field(examples=["email"])
    medium: Medium | None = None
    zones: Literal["first_known", "all"] = "first_known"


class CapEntry(Strict):
    """At most `limit` contacts in any `window` of elapsed time."""

    id: Id
    limit: int = Field(ge=0, le=10_000, examples=[1])
    window: Duration = Field(examples=["7d"])
    per: Literal["person", "contact_point"] = "person"
    channels: Scope | None = None
    purposes: Scope | None = None
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
