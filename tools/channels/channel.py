"""What a channel is: it takes a message at most once and says what it knows became of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from domain.errors import DeliveryError
from tools.toolbox import Recovery

NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""What a key or a channel may be called: it becomes part of a path and of a header."""

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
# Every character at which some reader of headers begins a new line, and the other controls; a tab
# is white space there and does no harm.
_UNSAFE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one contact point. `key` is its idempotency key."""

    key: str
    channel: str
    to: str
    sender: str
    subject: str
    body: str
    headers: Mapping[str, str]
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a message. `detail` is kept for ever: it names nobody and holds no secret."""

    state: Literal["sent", "failed", "unknown"]
    detail: str = ""
    provider_id: str | None = None


class Channel(Protocol):
    """One way out. Neither method raises for what a message holds or a server answers."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def recovery(self) -> Recovery:
        """What it can say about a sending that was interrupted."""
        ...

    async def send(self, message: Message) -> Receipt:
        """Send it. `failed` means provably not delivered, `unknown` that nobody can say."""
        ...

    async def lookup(self, key: str, sent_at: datetime) -> Receipt | None:
        """What became of this key: None where it provably was not sent."""
        ...


def check(message: Message) -> None:
    """Refuse what could reach beyond its own file or header. Raises `DeliveryError`."""
    for field, name in (("key", message.key), ("channel", message.channel)):
        if NAME.fullmatch(name) is None:
            raise DeliveryError(
                f"`{field}` is not 1 to 128 letters, digits, `_` and `-`",
                remedy="nothing was sent",
            )
    for field, value in _lines(message):
        if _UNSAFE.search(value):
            raise DeliveryError(
                f"`{field}` holds a line break or another control character",
                remedy="take it out of the template or the field that filled it",
            )
    _encodable(message)


def _lines(message: Message) -> Iterator[tuple[str, str]]:
    """Everything that becomes one header line, under a name that is safe to show."""
    yield "to", message.to
    yield "sender", message.sender
    yield "subject", message.subject
    for name, value in message.headers.items():
        if _HEADER_NAME.fullmatch(name) is None:
            raise DeliveryError("a header's name is not 1 to 64 letters, digits and hyphens")
        yield name, value


def _encodable(message: Message) -> None:
    parts = (message.to, message.sender, message.subject, message.body, *message.headers.values())
    try:
        for part in parts:
            part.encode()
    except UnicodeEncodeError:
        # The cause would quote the text, which may be personal.
        raise DeliveryError("the message holds half a surrogate pair") from None
