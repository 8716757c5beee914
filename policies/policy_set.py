"""A policy set as the guard uses it: compiled, immutable, named by the hash of its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from domain.consent import ConsentModel
from domain.context import FieldLabel

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
    "suppression",
    "offer-left",
    "human-decision",
)
"""Rules that every workspace has; no rule of its own may bear one of these names."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """Why a customer may be contacted, and under which consent model."""

    name: str
    title: str
    model: ConsentModel
    marketing: bool = False
    legal_basis: str | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class ChannelPolicy:
    """A way to reach a person. `address` names the identifier that is its address, or `none`."""

    name: str
    title: str
    address: str
    all_zones: bool = False
    place: str = ""


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
