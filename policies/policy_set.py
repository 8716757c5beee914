"""A policy set as the guard uses it: compiled, immutable, named by the hash of its text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from domain.consent import ConsentModel
from domain.context import FieldLabel, Jurisdiction
from policies.media import Medium

if TYPE_CHECKING:
    from policies.question import Rule

BUILT_IN_FIELDS: tuple[FieldLabel, ...] = (
    FieldLabel("signal.open_cases", "int", optional=False),
    FieldLabel("signal.events_before", "int", optional=False),
    FieldLabel("signal.contacts_7d", "int", optional=False),
    FieldLabel("signal.shared_address", "bool", optional=False),
    FieldLabel("signal.opted_out", "bool", optional=False),
    FieldLabel("signal.recency_days", "double"),
    FieldLabel("signal.events_30d", "int"),
    FieldLabel("signal.events_90d", "int"),
    FieldLabel("signal.purchases_30d", "int"),
    FieldLabel("signal.purchases_90d", "int"),
    FieldLabel("signal.value_365d", "double"),
    FieldLabel("signal.days_since_contact", "double"),
    FieldLabel("signal.intent", "string"),
    FieldLabel("signal.intent_share", "double"),
    FieldLabel("signal.churn_hazard", "double"),
    FieldLabel("signal.friction", "double"),
    FieldLabel("signal.friction_repeats", "int"),
    FieldLabel("signal.friction_errors", "int"),
    FieldLabel("signal.friction_switches", "int"),
    FieldLabel("signal.friction_back_and_forth", "int"),
    FieldLabel("action.name", "string", optional=False),
    FieldLabel("action.tool", "string", optional=False),
    FieldLabel("action.channel", "string", optional=False),
    FieldLabel("action.purpose", "string", optional=False),
    FieldLabel("action.amount", "int", optional=False),
)
"""Fields that every workspace has, beside a `signal.engagement.*` for each channel.

`action.*` exist in approval conditions only."""

BUILT_IN_RULES: tuple[str, ...] = (
    "known-tool",
    "policy-exists",
    "kill-switch",
    "still-wanted",
    "restricted",
    "human-in-charge",
    "access-need",
    "shared-address",
    "reachable",
    "consent",
    "paused",
    "exempt-ceiling",
    "suppression",
    "confidential-suppression",
    "offer-left",
    "offer-scope",
    "offer-eligible",
    "offer-exclusive",
    "offer-per-person",
    "human-decision",
)
"""Rules that every workspace has; no rule of its own may bear one of these names."""


SOFT_OPT_IN = "soft_opt_in"


@dataclass(frozen=True, slots=True)
class ConsentTerms:
    """A consent model, and where it holds; None is on every channel, or in every jurisdiction.

    `basis` says why silence will do under `opt_out`: a jurisdiction's code, or `soft_opt_in` with
    `evidence`, a field that says that the address was got in a sale.
    """

    model: ConsentModel
    basis: str | None = None
    evidence: str | None = None
    channels: frozenset[str] | None = None
    jurisdictions: frozenset[str] | None = None
    place: str = ""

    def concerns(self, channel: str | None) -> bool:
        """Whether it holds on this channel, somewhere."""
        return self.channels is None or channel in self.channels


@dataclass(frozen=True, slots=True)
class Purpose:
    """Why a customer may be contacted, and under which consent model.

    `exceptions` are models that hold on some channels or in some jurisdictions only. `templates`
    are the messages that may be sent without consent, and `exemption` the rule by which they may
    be texted to the United States. More than `sends_max` in `sends_window` to one person under an
    exempt purpose is for a person to look at.
    """

    name: str
    title: str
    model: ConsentModel
    marketing: bool = False
    legal_basis: str | None = None
    place: str = ""
    own: ConsentTerms = field(default=ConsentTerms("opt_in"))
    exceptions: tuple[ConsentTerms, ...] = ()
    templates: frozenset[str] = frozenset()
    exemption: str | None = None
    sends_max: int = 0
    sends_window: timedelta = timedelta()

    def terms(
        self, channel: str | None, jurisdictions: Iterable[Jurisdiction]
    ) -> tuple[ConsentTerms, ...]:
        """The models under which a contact is judged: it must pass all of them.

        Of each jurisdiction the nearest: one that names it before one that does not, and then one
        that names the channel before one that does not. Where no jurisdiction is known, every
        model that is configured for the channel.
        """
        if not self.exceptions:
            return (self.own,)
        codes = dict.fromkeys(one.code for one in jurisdictions)
        if not codes:
            return (*(one for one in self.exceptions if one.concerns(channel)), self.own)
        found: list[ConsentTerms] = []
        for code in codes:
            found += self.terms_in(channel, code)
        return tuple(dict.fromkeys(found))

    def terms_in(self, channel: str | None, code: str) -> Sequence[ConsentTerms]:
        """The nearest models of one jurisdiction; a part of a country is under its law as well."""
        fitting = [one for one in self.exceptions if one.concerns(channel)]
        found: list[ConsentTerms] = []
        for name in dict.fromkeys((code, code.partition("-")[0])):
            naming = [one for one in fitting if name in (one.jurisdictions or ())]
            found += [one for one in naming if one.channels is not None] or naming
        if found:
            return found
        return [one for one in fitting if one.jurisdictions is None] or [self.own]


@dataclass(frozen=True, slots=True)
class ChannelPolicy:
    """A way to reach a person. `address` names the identifier that is its address, or `none`.

    `media` are what it may be: one, or where nothing tells, all that its address allows.
    """

    name: str
    title: str
    address: str
    all_zones: bool = False
    place: str = ""
    media: frozenset[Medium] = frozenset()


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Everything the guard goes by. `version` is the SHA-256 of the files' text.

    `minors` are the age bands of minors, `access_needs` the channels that each need closes.
    """

    version: str
    purposes: Mapping[str, Purpose]
    channels: Mapping[str, ChannelPolicy]
    fields: Mapping[str, FieldLabel]
    rules: tuple[Rule, ...] = ()
    approvals: tuple[Rule, ...] = ()
    caps: tuple[Rule, ...] = field(default=())
    minors: tuple[str, ...] = ()
    access_needs: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def is_marketing(self, purpose: str) -> bool:
        """Whether this purpose is marketing; an undeclared one is taken to be."""
        known = self.purposes.get(purpose)
        return known is None or known.marketing

    @property
    def promotion(self) -> str:
        """The purpose by which something promotional inside an exempt message is judged."""
        return next((p.name for p in self.purposes.values() if p.marketing), "promotion")
