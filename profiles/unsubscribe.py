"""Makes and answers the tokens by which a message can be unsubscribed from (RFC 2369, RFC 8058).

A token seals what it is about under a key of its own (AES-SIV, RFC 5297): nobody without the key
reads or makes one, and the same message always bears the same one. It holds no address, only the
address's keyed fingerprint, and never expires.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from uuid import uuid4

from sqlalchemy import bindparam, select

from domain.canonical import canonical, parse
from domain.errors import InputError
from domain.event import Event, Identifier
from profiles import queries
from profiles.consents import UNSUBSCRIBED_EVENT
from profiles.identifying import known_ref
from profiles.identity import IdentityRules
from profiles.state import opened
from store import tables as t
from store.database import Database, Snapshot
from store.statements import Statement
from store.vault import Vault

SOURCE = "safeconduct"
PREFIX = "u1."
TOKEN_CHARACTERS_MAX = 700
ABOUT_CHARACTERS_MAX = 100
ONE_CLICK = ("List-Unsubscribe", "One-Click")
"""The field and value that a mail program posts (RFC 8058 §3.2)."""

_HOLDER = Statement(
    select(t.identifiers.c.profile_id, t.profiles.c.root_id)
    .join(t.profiles, t.profiles.c.profile_id == t.identifiers.c.profile_id)
    .where(t.identifiers.c.ref == bindparam("point"))
    .order_by(t.identifiers.c.slot.desc(), t.identifiers.c.profile_id)
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one message belongs to: whose it is, where it went and what for.

    `contact_point` is the point's keyed fingerprint. A message without a `purpose` belongs to all
    marketing of the brand there. `about` is the id of the event that the message was decided on:
    it stays what it is while the decision is held and asked again.
    """

    brand: str
    channel: str
    contact_point: str
    purpose: str | None = None
    topic: str | None = None
    about: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request: what a page may show, and the event to run.

    `event` is None where nothing is to change.
    """

    page: Mapping[str, str | None] = field(default_factory=dict)
    event: Event | None = None


def make(seal: Callable[[bytes], bytes], subscription: Subscription) -> str:
    """The token of a subscription, for use in an address.

    Args:
        seal: `Vault.seal_token`.
    """
    about = subscription.about if len(subscription.about) <= ABOUT_CHARACTERS_MAX else ""
    said = [*asdict(subscription).values()][:-1]
    return PREFIX + _letters(seal(canonical([*said, about])))


def headers(url: str, seal: Callable[[bytes], bytes], about: Subscription) -> dict[str, str]:
    """The two header fields by which a mail program offers to unsubscribe in one click.

    Args:
        url: where requests are answered, as `https://shop.example`.
        seal: `Vault.seal_token`.
    """
    return {
        "List-Unsubscribe": f"<{url.rstrip('/')}/unsubscribe/{make(seal, about)}>",
        "List-Unsubscribe-Post": "=".join(ONE_CLICK),
    }


def read(vault: Vault, token: str) -> Subscription:
    """What a token is about. Raises `InputError` where it was forged or damaged."""
    data = None
    if token.startswith(PREFIX) and len(token) <= TOKEN_CHARACTERS_MAX:
        data = _opened(vault, token.removeprefix(PREFIX))
    if data is None:
        raise InputError(
            "invalid_token",
            "this is no unsubscribe token of ours, or it was damaged",
            place="unsubscribe token",
            remedy="use the whole address as it stands in the message's `List-Unsubscribe`",
        )
    return Subscription(*parse(data))


def answer(
    database: Database,
    rules: IdentityRules,
    token: str,
    method: str,
    at: datetime,
    form: Mapping[str, str] | None = None,
) -> Answer:
    """Answer a request to a token's address.

    GET says what the token is about and changes nothing: mail programs and scanners follow links.
    POST of `List-Unsubscribe=One-Click` has the address's user say no, as an event to be run.
    Where nobody has the address any more (all were erased) there is nothing to run: marketing to
    it is suppressed until somebody there explicitly agrees again, which is later than this no.

    Args:
        form: the fields that were posted.

    Raises:
        InputError: the token is not ours, or the request is neither.
    """
    about = read(database.vault, token)
    page = {key: getattr(about, key) for key in ("brand", "channel", "purpose", "topic")}
    if method == "GET":
        return Answer(page)
    field_name, value = ONE_CLICK
    if method != "POST" or (form or {}).get(field_name) != value:
        raise InputError(
            "invalid_request",
            "only GET, and POST of the one-click form, are answered here",
            place="unsubscribe token",
            remedy=f"post `{field_name}={value}`",
        )
    return Answer(page, _event(database, rules, about, at))


def _event(
    database: Database, rules: IdentityRules, about: Subscription, at: datetime
) -> Event | None:
    """The no, as said by somebody who has the address; None where nobody has it."""
    with database.read() as snapshot:
        known = _known(snapshot, database.vault, about.contact_point)
    if not known:
        return None
    address = known[0]
    said = {
        "channel": about.channel,
        "contact_point": address.value,
        "purpose": about.purpose,
        "topic": about.topic,
        "source": SOURCE,
        "wording": "=".join(ONE_CLICK),
        "reason": f"the message on {about.about}" if about.about else None,
    }
    return Event(
        source=SOURCE,
        # Somebody who agreed again may click the same link again.
        id=f"unsubscribe-{uuid4()}",
        kind="track",
        name=UNSUBSCRIBED_EVENT,
        occurred_at=at,
        received_at=at,
        identifiers=tuple(dict.fromkeys((rules.anchor(known), address))),
        properties={key: value for key, value in said.items() if value is not None},
        brand=about.brand,
        place="unsubscribe token",
    )


def _known(snapshot: Snapshot, vault: Vault, ref: str) -> list[Identifier]:
    """The address behind a contact point, then all that somebody who uses it is known by."""
    for profile_id, root_id in snapshot.rows(_HOLDER, point=ref):
        for row in snapshot.rows(queries.FRAGMENTS, roots=[root_id]):
            if row[0] != profile_id:
                continue
            fragment = opened(vault, profile_id, row[4], row[5])
            known = fragment.identifiers if fragment else ()
            named = [one.identifier for one in known if known_ref(vault, one) == ref]
            if named:
                return [*named, *(one.identifier for one in known)]
    return []


def _letters(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _opened(vault: Vault, letters: str) -> bytes | None:
    try:
        data = base64.urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
    except (binascii.Error, ValueError):
        return None
    # The last letter has bits to spare, and other letters are passed over: one spelling is right.
    return vault.open_token(data) if _letters(data) == letters else None
