"""Writes a message as an e-mail, word for word, so that every channel sends the same one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC
from email.header import Header
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime, quote

from domain.errors import DeliveryError
from tools.channels.channel import Message, check

KEY_HEADER = "X-Safeconduct-Key"
HEADER_CHARACTERS_MAX = 900
"""Below the 998 a line may have (RFC 5322 §2.1.1), with room for the name."""

_ATOM = r'[^\s@<>()\[\],;:\\"]'
_ADDRESS = re.compile(rf"{_ATOM}{{1,64}}@{_ATOM}{{1,253}}")
_NAMED = re.compile(rf"(?P<name>[^<>]*)<(?P<address>{_ADDRESS.pattern})>")
_OURS = frozenset(
    "from sender to cc bcc subject date message-id mime-version auto-submitted return-path received"
    f" {KEY_HEADER.lower()}".split()
)
_OURS_BEGIN = ("content-", "resent-")


class _Verbatim(EmailPolicy):
    """Keeps header values as given.

    The library would parse them: it unpacks encoded words that a customer's name happens to
    contain, folds a long unsubscribe address into something no mail reader recognises, and takes
    most of the time that composing a message takes.
    """

    def header_store_parse(self, name: str, value: str) -> tuple[str, str]:
        """The field as it will be written."""
        return name, value

    def header_fetch_parse(self, name: str, value: str) -> str:
        """The field as it will be written."""
        return value

    def header_max_count(self, name: str) -> int | None:
        """No limit: `_extra` has seen to it that nothing is there twice."""
        return None


_POLICY = _Verbatim(linesep="\r\n", refold_source="none", utf8=True)


def compose(message: Message) -> EmailMessage:
    """The e-mail a message becomes. Raises `DeliveryError` where it cannot be one."""
    check(message)
    name, address = parted(message.sender)
    if _ADDRESS.fullmatch(message.to) is None:
        raise DeliveryError("`to` is not one e-mail address")
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = f"{_phrase(name)} <{address}>" if name else address
    mail["To"] = message.to
    mail["Subject"] = _text(message.subject)
    mail["Date"] = format_datetime(message.sent_at.astimezone(UTC))
    mail["Message-ID"] = f"<{message.key}@{address.partition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail[KEY_HEADER] = message.key
    for field, value in _extra(message):
        mail[field] = _text(value)
    # Quoted-printable passes every relay as it is: no 8-bit text, no long lines, no lost blanks.
    mail.set_content(message.body, charset="utf-8", cte="quoted-printable")
    return mail


def parted(sender: str) -> tuple[str, str]:
    """A sender's display name and address. Raises `DeliveryError`."""
    if _ADDRESS.fullmatch(sender):
        return "", sender
    named = _NAMED.fullmatch(sender.strip())
    if named is None:
        raise DeliveryError(
            "`sender` is not one e-mail address",
            remedy="write one such as `The Shop <hello@shop.example>` in the brand's `senders`",
        )
    name = named["name"].strip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return name, named["address"]


def _extra(message: Message) -> Iterator[tuple[str, str]]:
    """The headers a message adds: none that says who it is from, whom it reaches or what it is."""
    seen = set(_OURS)
    for name, value in message.headers.items():
        if name.lower() in seen or name.lower().startswith(_OURS_BEGIN):
            raise DeliveryError(f"header `{name}` cannot be set by a message, or is set twice")
        if len(value) > HEADER_CHARACTERS_MAX:
            raise DeliveryError(f"header `{name}` exceeds {HEADER_CHARACTERS_MAX} characters")
        seen.add(name.lower())
        yield name, value


def _phrase(name: str) -> str:
    return f'"{quote(name)}"' if _plain(name) else _words(name)


def _text(value: str) -> str:
    return value if _plain(value) else _words(value)


def _plain(value: str) -> bool:
    """Whether a reader gets these characters back when they are written as they stand."""
    return (
        value.isascii()
        and "=?" not in value
        and value == value.strip()
        and len(value) <= HEADER_CHARACTERS_MAX
    )


def _words(value: str) -> str:
    """RFC 2047 encoded words, folded."""
    return Header(value, "utf-8", maxlinelen=75, header_name="X-Safeconduct").encode(linesep="\r\n")
