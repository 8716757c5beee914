"""What profiles need to know of a workspace to read a context for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from domain.budget import Budget
from domain.caps import CapScope
from domain.context import FieldLabel
from domain.event import Event
from domain.journey import Journey, PlanOf
from profiles.identity import IdentityRules
from profiles.words import Words, read_words


@dataclass(frozen=True, slots=True)
class Category:
    """What a consent category of another system is about."""

    purpose: str
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class FrictionWeights:
    """What one of each counts for in a person's friction."""

    repeats: float = 1.0
    errors: float = 2.0
    switches: float = 2.0
    back_and_forth: float = 1.0


@dataclass(frozen=True, slots=True)
class SignalTerms:
    """What a workspace's event names mean for signals.

    `purchases` are events that are a purchase, worth their property `value` in the brand's
    currency (`currencies`, by brand). `engagement` maps an event to the channel whose message it
    answers, `intents` an event to what it shows an interest in. `errors` are events that tell of
    something that went wrong.
    """

    purchases: frozenset[str] = frozenset()
    value: str = "value"
    currencies: Mapping[str, str] = field(default_factory=dict)
    engagement: Mapping[str, str] = field(default_factory=dict)
    intents: Mapping[str, str] = field(default_factory=dict)
    errors: frozenset[str] = frozenset()
    friction: FrictionWeights = field(default_factory=FrictionWeights)


@dataclass(frozen=True, slots=True)
class Terms:
    """The workspace as `profiles` sees it.

    `brand` is the default one; `controllers` names each brand's controller. `addresses` maps a
    channel to the identifier that is its address (or `none`). `look_back` is the longest window
    of any cap. `stock` is each offer's number to grant. `region` is the country whose phone
    numbers may be written without their prefix. `purposes` are those that can be consented to,
    `promotion` the one that counts where a purpose is unclear. `exits` are the journeys that a
    condition ends. `consented` are the purposes that need a yes, `marketing` those that are
    marketing. `categories` are Segment's, `senders` the brand of each own address or number (case
    folded), `words` those that end messages. `identity` is how telling each type of identifier is.
    `minors` are the age bands of minors, `access_needs` the needs that close a channel.
    `signals` says what events mean for signals. `caps` are the frequency caps, `topics` those of
    all actions. `max_lag` is for how long each source may be silent, where it is declared.
    `occasions` are the events that a cool-off begins with, each with the properties by which it is
    told what they were about (empty: none); `cool_off` is the longest. `told_within` is the longest
    window of a rule that asks what a person was told. `look_ahead` is how far ahead scheduled
    contacts matter. `budgets` are those of offers. `ceilings` are the windows in which contacts of
    exempt purposes are counted. `watched` are the events that absences are made of, told apart as
    `occasions` are. `plan_of` finds a journey as an earlier version of the workspace had it, and
    `version` is this one's.
    """

    brand: str
    controllers: Mapping[str, str]
    addresses: Mapping[str, str]
    fields: tuple[FieldLabel, ...]
    look_back: timedelta
    journeys: tuple[Journey, ...] = ()
    region: str | None = None
    purposes: frozenset[str] = frozenset()
    promotion: str = ""
    stock: Mapping[str, int] = field(default_factory=dict)
    exits: frozenset[str] = frozenset()
    identity: IdentityRules = field(default_factory=IdentityRules)
    consented: frozenset[str] = frozenset()
    marketing: frozenset[str] = frozenset()
    categories: Mapping[str, Category] = field(default_factory=dict)
    senders: Mapping[str, str] = field(default_factory=dict)
    words: Words = field(default_factory=read_words)
    caps: tuple[CapScope, ...] = ()
    topics: frozenset[str] = frozenset()
    ceilings: Mapping[str, timedelta] = field(default_factory=dict)
    signals: SignalTerms = field(default_factory=SignalTerms)
    max_lag: Mapping[str, timedelta] = field(default_factory=dict)
    occasions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cool_off: timedelta = timedelta(0)
    told_within: timedelta = timedelta(0)
    look_ahead: timedelta = timedelta(0)
    budgets: tuple[Budget, ...] = ()
    minors: tuple[str, ...] = ()
    access_needs: tuple[str, ...] = ()
    watched: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    version: str = ""
    plan_of: PlanOf = field(default=lambda _name, _version: None, compare=False)

    def brand_of(self, event: Event) -> str:
        """The brand an event is about: its own where somebody controls it, else the default."""
        brand = event.brand or ""
        return brand if brand in self.controllers else self.brand

    def brands_beside(self, brand: str) -> tuple[str, ...]:
        """The brands of the same controller, which alone may use what was done with this one."""
        mine = self.controllers[brand]
        return tuple(sorted(b for b, controller in self.controllers.items() if controller == mine))
