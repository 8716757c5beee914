"""What Braze Currents events mean here: a no is obeyed, a send counted, a yes not taken for one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from domain.errors import InputError
from domain.event import Event, Identifier
from profiles import consents
from profiles.consents import OBSERVED_EVENT
from profiles.readers import braze
from profiles.reading import Reading
from tests.shop import cart, consent, open_shop

MAIL, PHONE = "maya@example.com", "+491701234567"
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
# 2026-10-05T08:30:00Z
SECONDS = 1_791_189_000
ID = "a1234567-89ab-cdef-0123-456789abcdef"


def event(event_type: str, **properties: Any) -> dict[str, Any]:
    """One event as the HTTP connector sends it."""
    user = {"user_id": "0123456789abcdef01234567", "external_user_id": "c-1"}
    said = {"event_type": event_type, "id": ID, "time": SECONDS, "user": user}
    return {**said, "properties": properties}


def flat(event_type: str, **properties: Any) -> dict[str, Any]:
    """The same event as storage keeps it."""
    row = event(event_type)
    del row["properties"]
    return {**row.pop("user"), **row, **properties}


def read(row: dict[str, Any], **names: str) -> Event:
    reading = Reading(default_source="braze", default_region=None, names=names, blocked=frozenset())
    (told,) = reading.read(json.dumps(row).encode(), received_at=NOW, place="b:1")
    assert isinstance(told, Event)
    return told


RESTRICTIONS: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    (
        {"event_type": "users.messages.email.Unsubscribe", "email_address": MAIL},
        "consent_changed",
        {"value": "denied", "channel": "email", "contact_point": MAIL},
    ),
    (
        {
            "event_type": "users.messages.sms.InboundReceive",
            "action": "unsubscribed",
            "message_body": "STOP",
            "user_phone_number": PHONE,
            "inbound_phone_number": "+4930901820",
        },
        "consent_changed",
        {"value": "denied", "channel": "sms", "contact_point": PHONE},
    ),
    (
        {
            "event_type": "users.behaviors.subscription.GlobalStateChange",
            "subscription_status": "Unsubscribed",
            "channel": "email",
            "email_address": MAIL,
        },
        "consent_changed",
        {"value": "denied", "channel": "email", "contact_point": MAIL},
    ),
    (
        {
            "event_type": "users.behaviors.subscriptiongroup.StateChange",
            "subscription_status": "Unsubscribed",
            "subscription_group_id": "g-1",
            "channel": "sms",
            "email_address": MAIL,
            "phone_number": PHONE,
        },
        "consent_changed",
        {"value": "denied", "channel": "sms", "contact_point": PHONE},
    ),
    (
        {"event_type": "users.messages.email.MarkAsSpam", "email_address": MAIL},
        "spam_complaint",
        {"channel": "email", "contact_point": MAIL},
    ),
    (
        {"event_type": "users.messages.email.Bounce", "email_address": MAIL},
        "bounced",
        {"type": "hard", "channel": "email", "contact_point": MAIL},
    ),
]


def test_a_soft_bounce_is_one_of_several() -> None:
    """It is counted, and by itself stops nothing."""
    for write in (event, flat):
        told = read(write(event_type="users.messages.email.SoftBounce", email_address=MAIL))
        assert told.name == "bounced"
        assert told.properties["type"] == "soft"
        assert told.properties["contact_point"] == MAIL
    told = read(event(event_type="users.messages.email.Open", email_address=MAIL))
    assert told.name == "users.messages.email.Open"


@pytest.mark.parametrize("write", [event, flat], ids=["http", "storage"])
@pytest.mark.parametrize(
    ("said", "name", "properties"), RESTRICTIONS, ids=[r[0]["event_type"] for r in RESTRICTIONS]
)
def test_what_restricts_is_told_in_words_that_are_acted_on(
    write: Any, said: dict[str, Any], name: str, properties: dict[str, Any]
) -> None:
    """A no, a complaint and a hard bounce restrict, whatever the workspace calls the event."""
    told = read(write(**said), **{said["event_type"]: "something_else"})
    assert told.name == name
    assert consents.restricts(told)
    assert properties.items() <= told.properties.items()
    assert said.items() - {("event_type", said["event_type"])} <= told.properties.items()


def test_a_no_that_names_no_address_or_channel_is_wider() -> None:
    """What the event leaves open is left open in the statement, which is then about all of it."""
    told = read(event("users.messages.email.Unsubscribe"))
    assert told.properties == {
        "value": "denied",
        "source": "users.messages.email.Unsubscribe",
        "channel": "email",
    }
    name = "users.behaviors.subscription.GlobalStateChange"
    told = read(event(name, subscription_status="Unsubscribed", email_address=MAIL))
    assert "channel" not in told.properties
    assert "contact_point" not in told.properties


@pytest.mark.parametrize(
    "said",
    [
        {
            "event_type": "users.behaviors.subscription.GlobalStateChange",
            "subscription_status": "Opted In",
            "channel": "email",
        },
        {
            "event_type": "users.behaviors.subscriptiongroup.StateChange",
            "subscription_status": "Subscribed",
            "channel": "sms",
        },
        {"event_type": "users.messages.sms.InboundReceive", "action": "subscribed"},
        {"event_type": "users.messages.sms.InboundReceive", "action": "none"},
        {"event_type": "users.messages.email.Open", "email_address": MAIL},
        {"event_type": "users.messages.pushnotification.Bounce"},
        {"event_type": "users.messages.contentcard.Send"},
        {"event_type": "users.messages.webhook.Send"},
        {"event_type": "users.behaviors.Purchase", "product_id": "p-1", "price": 12.34},
        {"event_type": "users_campaigns_abort", "abort_type": "quiet_hours"},
    ],
    ids=lambda said: said["event_type"],
)
def test_every_other_event_keeps_its_name_and_properties(said: dict[str, Any]) -> None:
    """Nothing is made of an event that does not say it, least of all a grant."""
    for write in (event, flat):
        told = read(write(**said))
        assert told.name == said["event_type"]
        assert told.properties == {k: v for k, v in said.items() if k != "event_type"}
        assert not consents.restricts(told)
    assert read(event(**said), **{said["event_type"]: "our_word"}).name == "our_word"


@pytest.mark.parametrize(
    ("kind", "address", "channel"),
    [
        ("email", {"email_address": MAIL}, "email"),
        ("sms", {"to_phone_number": PHONE}, "sms"),
        ("whatsapp", {"to_phone_number": PHONE}, "whatsapp"),
        ("pushnotification", {}, "push"),
    ],
)
def test_a_send_is_a_contact_somebody_else_made(
    kind: str, address: dict[str, str], channel: str
) -> None:
    """It names channel and address, unless the workspace calls the event something else."""
    name = f"users.messages.{kind}.Send"
    told = read(event(name, **address))
    assert told.name == OBSERVED_EVENT == braze.OBSERVED_EVENT
    assert told.properties == {**address, "channel": channel} | (
        {"contact_point": next(iter(address.values()))} if address else {}
    )
    assert read(event(name, **address), **{name: "braze_sent"}).name == "braze_sent"


def test_brazes_own_id_is_not_ours() -> None:
    """The external id is our user's; Braze's own has a name of its own."""
    for write in (event, flat):
        told = read(write("users.messages.email.Open", email_address=MAIL) | {"device_id": None})
        assert told.identifiers == (
            Identifier("user_id", "c-1"),
            Identifier("email", MAIL),
            Identifier("braze_id", "0123456789abcdef01234567"),
        )
        assert (told.id, told.occurred_at) == (ID, datetime(2026, 10, 5, 8, 30, tzinfo=UTC))
    ours = ("inbound_phone_number", "from_phone_number")
    told = read(event("users.messages.sms.Delivery", **dict.fromkeys(ours, "+4930901820")))
    assert {identifier.ns for identifier in told.identifiers} == {"user_id", "braze_id"}


@pytest.mark.parametrize("time", [SECONDS * 1000, -1, 1.5, "2026-10-05T08:30:00Z", True])
def test_a_time_is_whole_seconds(time: Any) -> None:
    """Milliseconds, fractions and texts are refused, not guessed at."""
    with pytest.raises(InputError) as caught:
        read(event("users.messages.email.Open") | {"time": time})
    assert caught.value.cause.startswith("`$.time` ")


def test_a_request_of_the_connector_is_a_batch() -> None:
    """`events` holds the events; an object that has more beside it is none of Braze's."""
    reading = Reading(default_source="b", default_region=None, names={}, blocked=frozenset())
    good, bad = event("users.messages.email.Open"), {"event_type": "users.x", "id": 5}
    for raw in (
        json.dumps({"events": [good, bad, good]}),
        json.dumps({"events": [good, {"a": float("nan")}, good]}),
    ):
        first, error, last = reading.read(raw.encode(), received_at=NOW, place="b:1")
        assert isinstance(first, Event) and isinstance(last, Event)
        assert isinstance(error, InputError)
        assert error.place == "b:1#1"
    line = {"events": [good], "event": "a", "user_id": "c-1"}
    (told,) = reading.read(json.dumps(line).encode(), received_at=NOW, place="b:1")
    assert isinstance(told, Event)
    assert told.name == "a"
    call = {"events": [1], "batch": [{"type": "page", "userId": "c-1"}]}
    (told,) = reading.read(json.dumps(call).encode(), received_at=NOW, place="b:1")
    assert isinstance(told, Event)
    assert told.kind == "page"


@pytest.mark.parametrize(
    "said", [r[0] for r in RESTRICTIONS], ids=[r[0]["event_type"] for r in RESTRICTIONS]
)
def test_a_restriction_stops_the_message(tmp_path: Path, said: dict[str, Any]) -> None:
    """After Braze's event, nothing leaves on that channel to somebody who had agreed to both."""
    channel = "sms" if PHONE in said.values() else "email"
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", channel=channel, **(
                {"email": MAIL} if channel == "email" else {"phone": PHONE}
            )),
            event(**said),
            cart("2026-10-05T10:00:00Z"),
        )  # fmt: skip
        assert not shop.sent(channel)


def test_without_a_restriction_the_message_leaves(tmp_path: Path) -> None:
    """The same story with an open in the place of the no sends on either channel."""
    for channel, address in (("email", {"email": MAIL}), ("sms", {"phone": PHONE})):
        with open_shop(tmp_path / channel) as shop:
            shop.run(
                consent("granted", "2026-10-05T08:00:00Z", channel=channel, **address),
                event("users.messages.email.Open"),
                cart("2026-10-05T10:00:00Z"),
            )
            assert shop.sent(channel), channel


def test_a_send_counts_toward_the_caps(tmp_path: Path) -> None:
    """What Braze sent is a contact of the person, at that address and that time."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email=MAIL),
            event("users.messages.email.Send", email_address=MAIL),
        )
        (contact,) = shop.rows("contacts")
        assert (contact["channel"], contact["state"]) == ("email", "observed")
        assert contact["at"] == SECONDS * 1_000_000
