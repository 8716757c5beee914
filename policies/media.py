"""What a channel is, whatever it is called: the law speaks of text messages, not of `sms_2`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Address = Literal["email", "phone", "none"]
Medium = Literal[
    "email", "sms", "voice", "recorded_voice", "ai_voice", "whatsapp", "push", "web", "in_app"
]
ADDRESSES: Mapping[Medium, Address] = {
    "email": "email",
    "sms": "phone",
    "voice": "phone",
    "recorded_voice": "phone",
    "ai_voice": "phone",
    "whatsapp": "phone",
    "push": "none",
    "web": "none",
    "in_app": "none",
}
"""By which kind of address each medium reaches people."""
NEVER_OPT_OUT: frozenset[Medium] = frozenset(
    ("sms", "voice", "recorded_voice", "ai_voice", "whatsapp", "push")
)
"""Where silence is no yes to marketing, in any jurisdiction."""
NEVER_EXEMPT: frozenset[Medium] = frozenset(("whatsapp", "recorded_voice", "ai_voice"))
"""Where nothing may be sent without a yes."""


def media(name: str, address: Address, declared: Medium | None) -> frozenset[Medium]:
    """What a channel may be: as declared, else by its very name, else all that its address allows.

    So a channel that says nothing of itself is held to the strictest of what it may be.
    """
    fitting = frozenset(medium for medium, by in ADDRESSES.items() if by == address)
    if declared is not None:
        return frozenset((declared,)) & fitting
    return frozenset(medium for medium in fitting if medium == name) or fitting
