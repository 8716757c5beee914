"""What is asked about, and what was perceived of it: the hand-over between reading and deciding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from domain.consent import Consent
from domain.context import ContactPoint, Context, Pass, Suppression
from domain.errors import InputError
from domain.event import Event
from domain.journey import Journey
from profiles import consents
from profiles.activity import Activity
from profiles.bounces import ReachKind
from profiles.grants import Grant
from profiles.membership import Identified
from profiles.state import Fragment
from store.work import Work


@dataclass(frozen=True, slots=True)
class Arrival:
    """One question: an event that came in, or a later pass over one that did.

    `now` is the decision's instant. `event_key`, `event_id` and `root_id` are
    known on later passes only. One that `asks` has everything read that a verdict may look at,
    though its event triggers nothing.
    """

    event: Event
    now: datetime
    asked: Pass = field(default_factory=Pass)
    event_key: bytes | None = None
    event_id: str | None = None
    root_id: str | None = None
    asks: bool = False


@dataclass(slots=True)
class Perceived:
    """What was read for one arrival.

    Exactly one of these holds: `context` is set and `work` prepared; `duplicate_of` names the
    first decision on this event; `refused` says why it is a dead letter (`work` then holds what
    must be kept of it all the same, an opt-out); `again` asks for another round.
    """

    arrival: Arrival
    event_key: bytes
    event_id: str
    work: Work
    context: Context | None = None
    duplicate_of: str | None = None
    refused: InputError | None = None
    again: bool = False


@dataclass(slots=True)
class Draft:
    """One arrival on its way to a context.

    `keys` are contention keys that the event moves beside the person's, `reads` those of all that
    its verdict reads. `domains` are fingerprints
    of the domains of `points`, `household` that of what the person's household is called.
    `entering` is the instance that the event names of each journey it concerns. `said_again` are
    noes of those who turned out to be one person. `asks` says that there is something to decide:
    most events trigger no journey and end none by a condition. `reached` is an address as written,
    and whether it works. `opted_out` says that this very message ended what was not ended before.
    `lift` is what is blocked no more and `lifted` its ids, `opened_case` the reason of a case that
    somebody else opened, `redeemed` the grant that was used. `before` is what the person had done
    before this pass, by brand.
    """

    perceived: Perceived
    identified: Identified
    statements: tuple[consents.Statement, ...] = ()
    block: consents.Block | None = None
    lift: consents.Lift | None = None
    opened_case: str | None = None
    redeemed: Grant | None = None
    reached: tuple[ReachKind, str] | None = None
    consent_lines: list[Consent] = field(default_factory=list)
    said_again: tuple[Consent, ...] = ()
    block_lines: list[Suppression] = field(default_factory=list)
    lifted: set[str] = field(default_factory=set)
    points: tuple[ContactPoint, ...] = ()
    domains: tuple[str, ...] = ()
    household: str | None = None
    triggered: tuple[Journey, ...] = ()
    entering: dict[str, str] = field(default_factory=dict)
    asks: bool = False
    before: tuple[Mapping[str, Activity], ...] = ()
    keys: set[str] = field(default_factory=set)
    reads: set[str] = field(default_factory=set)
    opted_out: bool = False

    @property
    def root_id(self) -> str:
        """The fragment that stands for the person."""
        return self.identified.root_id

    @property
    def own(self) -> str:
        """The fragment through which the event speaks."""
        return self.identified.own or self.identified.root_id

    @property
    def members(self) -> dict[str, Fragment]:
        """The person's fragments, the root's first."""
        return self.identified.members
