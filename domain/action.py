"""What could be done, as the workspace declares it: actions and offers, and the steps they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Literal

from domain.canonical import canonical

ContactKind = Literal["contact", "presentation", "reply", "notice", "internal"]
ToolName = Literal["message", "offer", "case", "handoff"]
TOOL_NAMES: tuple[ToolName, ...] = ("message", "offer", "case", "handoff")
Significance = Literal["none", "similar", "legal"]
Urgency = Literal["normal", "now"]

BlockKind = Literal["information", "offer", "promotion", "referral", "cross_sell", "survey"]

NO_ACTION = "no_action"


@dataclass(frozen=True, slots=True)
class Block:
    """One part of a message, and what it is for; all but `information` promote something."""

    kind: BlockKind
    text: str


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units (cents) of one ISO 4217 currency."""

    amount: int
    currency: str

    def __str__(self) -> str:
        return f"{self.amount / 100:.2f} {self.currency}"


@dataclass(frozen=True, slots=True)
class Offer:
    """Something of value that can be granted: `stock` many of each brand.

    From `valid_from` until `valid_until` (exclusive), by these `brands` and over these `channels`
    (None: all). Of the offers of one `exclusive` group a person holds one at a time, and is granted
    this one `per_person` times at most. A grant lives for `expires_after`; what then was not used
    goes back into stock where it `returns`. `description` is what it is found by.
    """

    name: str
    title: str
    worth: Money
    stock: int
    valid_until: datetime | None = None
    place: str = ""
    valid_from: datetime | None = None
    brands: frozenset[str] | None = None
    channels: frozenset[str] | None = None
    exclusive: tuple[str, ...] = ()
    per_person: int | None = None
    expires_after: timedelta | None = None
    returns: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that could be done to or for a customer.

    `propensity` is a probability, `value` the worth of success in the brand's currency units,
    `context_weight` a factor (1 = neutral); `levers` are percentages that add up
    (20 and 35 make a factor of 1.55). `groups` are names by which caps count several actions
    together. `defer_for` bounds how long a held contact stays wanted.
    `substitutes` are the actions that say the same another way, `escalation` is the case or
    hand-off that it becomes where a rule asks for a person instead.
    `sensitive`: what it says is for the customer alone, and goes to no address that others share.
    `body` is the whole text; where it was given in `blocks`, those are its parts, in order.
    """

    name: str
    title: str
    tool: str
    kind: ContactKind
    purpose: str
    channel: str | None = None
    topic: str | None = None
    groups: tuple[str, ...] = ()
    subject: str = ""
    body: str = ""
    blocks: tuple[Block, ...] = ()
    offer: str | None = None
    case_reason: str | None = None
    queue: str | None = None
    propensity: float = 1.0
    value: float = 1.0
    context_weight: float = 1.0
    levers: Mapping[str, float] = field(default_factory=dict)
    obeys_caps: bool = True
    counts_toward_caps: bool = True
    mandatory: bool = False
    urgency: Urgency = "normal"
    promotional: bool = False
    sensitive: bool = False
    significance: Significance = "none"
    defer_for: timedelta = timedelta(days=1)
    substitutes: tuple[str, ...] = ()
    escalation: str | None = None
    place: str = ""

    @property
    def creative(self) -> str | None:
        """The fingerprint of the words a message is written by; equal words are one creative.

        Before they are filled in: a name or an order number makes no new one.
        """
        if self.tool != "message":
            return None
        return sha256(canonical([self.subject, self.body])).hexdigest()[:32]

    @property
    def is_promotional(self) -> bool:
        """Whether any part of it promotes something."""
        if self.promotional or self.offer is not None:
            return True
        return any(block.kind != "information" for block in self.blocks)

    @property
    def promotional_blocks(self) -> tuple[int, ...]:
        """Which blocks promote something, counted from 1."""
        return tuple(n for n, one in enumerate(self.blocks, 1) if one.kind != "information")


@dataclass(frozen=True, slots=True)
class Step:
    """One call of one tool, with the exact arguments; nothing is filled in later."""

    tool: str
    arguments: Mapping[str, Any]
