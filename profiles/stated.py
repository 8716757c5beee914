"""All that one event says about consent, in whichever way it says it."""

from __future__ import annotations

from domain.consent import RESTRICTING, ConsentKind
from domain.errors import InputError
from domain.event import Event
from profiles import consents
from profiles.consents import MESSAGE_EVENT, UNSUBSCRIBED_EVENT, Statement
from profiles.preferences import preferences
from profiles.terms import Terms

_SENDERS = ("contact_point", "from")
_TEXT_MAX = 10_000


def statements(event: Event, terms: Terms) -> tuple[Statement, ...]:
    """What the event says: its own statement first, then the preferences that ride on it.

    Raises `InputError` where a `consent_changed` or an `address_reassigned` cannot be understood.
    """
    own = consents.consent_statement(event, terms) or consents.lapse(event)
    if event.name == MESSAGE_EVENT:
        own = _message(event, terms)
    elif event.name == UNSUBSCRIBED_EVENT:
        own = _unsubscribed(event, terms)
    return (*(() if own is None else (own,)), *preferences(event, terms))


def restricts(event: Event, terms: Terms) -> bool:
    """Whether this event says no, complains, blocks or bounces: what must not be lost with it."""
    if consents.restricts(event):
        return True
    try:
        said = statements(event, terms)
    except InputError:
        return False
    return any(one.kind in RESTRICTING for one in said)


def _message(event: Event, terms: Terms) -> Statement | None:
    """What a message from a customer means for messages to the number or address it came from.

    A stop word is a no to all marketing of the brand there; `START` and `UNSTOP` are a yes to the
    workspace's promotions there and nothing more; `YES` and `HELP` are nothing.
    """
    text = event.properties.get("text")
    if not isinstance(text, str):
        return None
    meaning = terms.words.meaning(_own_words(text))
    if meaning is None:
        return None
    channel = (consents.readable(event, "channel") or "sms").lower()
    known = channel in terms.addresses
    sender = _sender(event, terms, channel)
    if meaning == "start" and (not known or not terms.promotion or sender is None):
        return None
    kinds: dict[str, ConsentKind] = {"stop": "denial", "start": "grant", "suspicion": "suspicion"}
    reached = terms.senders.get((consents.readable(event, "to") or "").casefold())
    brand = consents.brand_of_no(event, terms, reached)
    if meaning == "start" and brand is None:
        return None  # a yes to nobody knows whom
    return Statement(
        kind=kinds[meaning],
        brand=brand,
        channel=channel if known else None,
        purpose=terms.promotion if meaning == "start" else None,
        topic=None,
        address=sender,
        expires_at=None,
        evidence={"source": MESSAGE_EVENT, "wording": text[:_WORDING_MAX]},
        by_word=meaning == "stop",
    )


_WORDING_MAX = 300


def _own_words(text: str) -> str:
    """The message without the lines it quotes, as replies by e-mail do."""
    lines = text[:_TEXT_MAX].splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(">"))


def _sender(event: Event, terms: Terms, channel: str) -> str | None:
    """The address that the message came from, else the event's own of the channel's kind."""
    for key in _SENDERS:
        address = consents.readable(event, key)
        if address is not None:
            return address
    return consents.first(event, terms.addresses.get(channel, "phone"))


def _unsubscribed(event: Event, terms: Terms) -> Statement:
    """A one-click unsubscribe: a no to the message's purpose and topic at that address.

    Where the message had no purpose that is known, it is a no to all marketing of the brand there.
    """
    purpose = consents.readable(event, "purpose")
    known = purpose is not None and purpose in terms.purposes
    channel = (consents.readable(event, "channel") or "email").lower()
    address = consents.readable(event, "contact_point")
    return Statement(
        kind="denial",
        brand=consents.brand_of_no(event, terms),
        channel=channel if channel in terms.addresses else None,
        purpose=purpose if known else None,
        topic=consents.readable(event, "topic") if known else None,
        address=address or consents.first(event, terms.addresses.get(channel, "email")),
        expires_at=None,
        evidence={"source": UNSUBSCRIBED_EVENT} | consents.evidence(event),
        lasting=True,
    )
