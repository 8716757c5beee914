"""Every accepted format becomes the one canonical event, and every other row says why it cannot."""

from __future__ import annotations

import base64
import gzip
import json
import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.errors import InputError
from domain.event import (
    EVENT_BYTES_MAX,
    EVENT_DEPTH_MAX,
    EVENT_KEYS_MAX,
    EVENT_KINDS,
    Event,
    Identifier,
)
from profiles.readers.claims import IDENTIFIERS_MAX, normalise
from profiles.readers.decoding import BATCH_BYTES_MAX, BATCH_ITEMS_MAX
from profiles.reading import REASONS, Reading

# The same examples in every run, however slow the machine.
STEADY = settings(derandomize=True, deadline=None, database=None)
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
AT = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)
WRITTEN_AT = "2026-11-22T08:30:00Z"
PLACE = "events.jsonl:7"
READING = Reading(
    default_source="shop",
    default_region="DE",
    names={"Order Completed": "order_completed", "commerce.purchases": "order_completed"},
    blocked=frozenset({Identifier("user_id", "null"), Identifier("email", "test@example.com")}),
)
USER, EMAIL = Identifier("user_id", "c-1"), Identifier("email", "ana@example.com")
PHONE = Identifier("phone", "+4930901820")
ANONYMOUS, DEVICE = Identifier("anonymous_id", "a-1"), Identifier("device_id", "d-1")
LINE: dict[str, Any] = {"event": "cart_abandoned", "user_id": "c-1"}
TRACK: dict[str, Any] = {"type": "track", "event": "cart_abandoned", "userId": "c-1"}
CLOUD: dict[str, Any] = {"specversion": "1.0", "type": "a.cart_abandoned", "subject": "c-1"}
XDM: dict[str, Any] = {"eventType": "cart_abandoned", "identityMap": {"userId": [{"id": "c-1"}]}}


def read(row: Any, reading: Reading = READING) -> tuple[Event | InputError, ...]:
    raw = row if isinstance(row, bytes) else json.dumps(row).encode()
    return reading.read(raw, received_at=NOW, place=PLACE)


def one(row: Any, reading: Reading = READING) -> Event:
    (event,) = read(row, reading)
    assert isinstance(event, Event)
    return event


def refused(row: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        read(row)
    return caught.value


def expected(**fields: Any) -> Event:
    given = {
        "source": "shop",
        "id": None,
        "kind": "track",
        "name": "cart_abandoned",
        "occurred_at": None,
        "received_at": NOW,
        "identifiers": (USER,),
        "place": PLACE,
    }
    return Event(**{**given, **fields})


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# Each format


def test_a_canonical_line_is_read_whole() -> None:
    """Every field of the canonical line lands where the event keeps it."""
    row = {
        "id": "e-1",
        "source": "web",
        "event": "Order Completed",
        "at": WRITTEN_AT,
        "user_id": 12,
        "email": " Ana@Example.COM ",
        "phone": "030 901820",
        "anonymous_id": "a-1",
        "device_id": "d-1",
        "identifiers": {"loyalty": ["l-1", "l-2", "l-1"], "card": "k-1"},
        "brand": "outlet",
        "properties": {"value": 84.5},
        "traits": {"language": "de"},
    }
    assert one(row) == expected(
        source="web",
        id="e-1",
        name="order_completed",
        occurred_at=AT,
        identifiers=(
            Identifier("user_id", "12"),
            EMAIL,
            PHONE,
            ANONYMOUS,
            DEVICE,
            Identifier("loyalty", "l-1"),
            Identifier("loyalty", "l-2"),
            Identifier("card", "k-1"),
        ),
        brand="outlet",
        properties={"value": 84.5},
        traits={"language": "de"},
    )


def test_the_smallest_canonical_line_is_enough() -> None:
    """A name and one identifier make an event; all else has a default."""
    assert one(LINE) == expected()
    assert one({**LINE, "occurred_at": WRITTEN_AT, "id": None}) == expected(occurred_at=AT)


def test_a_segment_track_is_read_whole() -> None:
    """The message id, the context's traits and device, and the traits' addresses are used."""
    row = {
        **TRACK,
        "messageId": "m-1",
        "timestamp": WRITTEN_AT,
        "originalTimestamp": "2020-01-01T00:00:00Z",
        "anonymousId": "a-1",
        "context": {
            "traits": {"email": "ANA@example.com", "plan": "gold"},
            "device": {"id": "d-1"},
            "consent": {"categoryPreferences": {"ads": False}},
        },
        "traits": {"phone": "+49 30 901820", "plan": "silver"},
        "properties": {"value": 1},
    }
    assert one(row) == expected(
        id="m-1",
        occurred_at=AT,
        identifiers=(USER, EMAIL, PHONE, ANONYMOUS, DEVICE),
        properties={"value": 1},
        preferences={"categories": {"ads": False}},
        traits={"email": "ANA@example.com", "plan": "silver", "phone": "+49 30 901820"},
    )


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("identify", "identified"),
        ("page", "page_viewed"),
        ("screen", "screen_viewed"),
        ("alias", "aliased"),
        ("group", "grouped"),
    ],
)
def test_other_segment_calls_have_a_name_of_their_own(kind: str, name: str) -> None:
    """Only a track event is named by its sender."""
    row = {"type": kind, "userId": "c-1", "originalTimestamp": WRITTEN_AT, "event": "ignored"}
    assert one(row) == expected(kind=kind, name=name, occurred_at=AT)


def test_a_page_keeps_its_name_and_category() -> None:
    """What Segment writes beside a page's properties is kept among them."""
    row = {"type": "page", "userId": "c-1", "name": "Home", "properties": {"url": "/"}}
    assert one(row).properties == {"name": "Home", "url": "/"}


def test_an_alias_names_the_previous_id_as_well() -> None:
    """The previous id leads to the anonymous history, unless it is the user id itself."""
    alias = {"type": "alias", "userId": "c-1", "previousId": "a-1"}
    assert one(alias).identifiers == (USER, ANONYMOUS)
    assert one({**alias, "previousId": "c-1"}).identifiers == (USER,)


def test_a_groups_traits_are_not_the_persons() -> None:
    """A company's address identifies nobody, and its traits describe no person."""
    traits = {"email": "office@firm.example"}
    event = one({"type": "group", "userId": "c-1", "groupId": "g-1", "traits": traits})
    assert event.identifiers == (USER,)
    assert event.traits == {}
    assert event.properties == {"group_id": "g-1", "group_traits": traits}


def test_a_structured_cloudevent_with_segment_data_is_read_whole() -> None:
    """The envelope's id, source and time count; the data says who and what."""
    row = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/web",
        "type": "com.example.anything",
        "time": WRITTEN_AT,
        "subject": "ignored",
        "brand": "outlet",
        "data": {**TRACK, "event": "Order Completed", "messageId": "m-1", "source": "other"},
    }
    assert one(row) == expected(
        source="/web", id="e-1", name="order_completed", occurred_at=AT, brand="outlet"
    )


def test_plain_cloudevents_data_is_properties() -> None:
    """Without a Segment type the name is the last part of the CloudEvents type."""
    data = {"type": "hard", "contact_point": "ana@example.com"}
    row = {**CLOUD, "type": "com.example.bounced", "data": data}
    assert one(row) == expected(name="bounced", properties=data)


def test_segment_shaped_data_without_a_type_takes_the_envelopes() -> None:
    """Identifiers, properties and traits are taken apart; `subject` is then no identifier."""
    data = {
        "anonymousId": "a-1",
        "identifiers": {"loyalty": "l-1"},
        "properties": {"n": 1},
        "traits": {"email": "ana@example.com"},
    }
    assert one({**CLOUD, "data": data}) == expected(
        identifiers=(EMAIL, ANONYMOUS, Identifier("loyalty", "l-1")),
        properties={"n": 1},
        traits=data["traits"],
    )
    assert one({**CLOUD, "data": {"userId": "c-1", "n": 1}}) == expected(properties={"n": 1})


def test_a_mapped_cloudevents_type_counts_before_its_last_part() -> None:
    """The workspace may name the whole type, or its last part."""
    assert one({**CLOUD, "type": "commerce.purchases"}).name == "order_completed"
    assert one({**CLOUD, "type": "com.example.Order Completed"}).name == "order_completed"


@pytest.mark.parametrize("body", [{"n": 1}, '{"n": 1}'], ids=["object", "text"])
def test_a_binary_cloudevent_is_read_from_its_headers(body: Any) -> None:
    """Header names are case-insensitive, values percent-encoded, the body an object or its text."""
    headers = {
        "CE-SpecVersion": "1.0",
        "ce-ID": "e%201",
        "Ce-Source": "/web",
        "ce-type": "com.example.cart_abandoned",
        "ce-time": WRITTEN_AT,
        "ce-subject": "c-1",
        "Content-Type": "application/json",
        "X-Other": 5,
    }
    assert one({"headers": headers, "body": body}) == expected(
        source="/web", id="e 1", occurred_at=AT, properties={"n": 1}
    )


def test_base64_data_is_read_like_data() -> None:
    """`data_base64` carries the same JSON in another spelling."""
    data = {"properties": {"n": 1}}
    encoded = base64.b64encode(json.dumps(data).encode()).decode()
    assert one({**CLOUD, "data_base64": encoded}) == one({**CLOUD, "data": data})


def test_an_xdm_event_is_read_whole() -> None:
    """Identity namespaces are mapped, and what is no envelope is a property."""
    row = {
        "_id": "x-1",
        "timestamp": WRITTEN_AT,
        "eventType": "commerce.purchases",
        "identityMap": {
            "ECID": [{"id": "a-1", "primary": True, "authenticatedState": "ambiguous"}],
            "CRMID": [{"id": "c-1"}],
            "Email": [{"id": "Ana@example.com"}, {"id": None}],
            "Phone": [{"id": "+49 30 901820"}],
            "lumaLoyalty": [{"id": "l-1"}],
        },
        "consents": {"marketing": {"any": {"val": "y"}}},
        "commerce": {"order": {"priceTotal": 5}},
    }
    assert one(row) == expected(
        id="x-1",
        name="order_completed",
        occurred_at=AT,
        identifiers=(ANONYMOUS, USER, EMAIL, PHONE, Identifier("lumaloyalty", "l-1")),
        properties={"commerce": {"order": {"priceTotal": 5}}},
        preferences={"consents": {"marketing": {"any": {"val": "y"}}}},
    )


def test_an_xdm_profile_record_identifies() -> None:
    """A record without an event type tells traits, and its contact fields name the person."""
    row = {
        "personID": "c-1",
        "personalEmail": {"address": "ana@example.com"},
        "person": {"name": {"firstName": "Ana"}},
    }
    assert one(row) == expected(
        kind="identify",
        name="identified",
        identifiers=(USER, EMAIL),
        traits={"personalEmail": row["personalEmail"], "person": row["person"]},
    )


@STEADY
@given(
    user=st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True),
    name=st.from_regex(r"[a-z_]{1,30}", fullmatch=True),
    at=st.datetimes(datetime(1970, 1, 2), datetime(9998, 12, 30), timezones=st.just(UTC)),
    properties=st.dictionaries(st.from_regex(r"p[a-z]{1,8}", fullmatch=True), st.integers(0, 99)),
    hours=st.integers(-12, 12),
)
def test_one_fact_in_any_format_is_one_event(
    user: str, name: str, at: datetime, properties: dict[str, int], hours: int
) -> None:
    """Canonical line, Segment, CloudEvents and XDM agree on who, what and when."""
    written = at.astimezone(timezone(timedelta(hours=hours))).isoformat()
    segment = {"type": "track", "event": name, "userId": user, "properties": properties}
    cloud = {"specversion": "1.0", "type": f"com.example.{name}", "id": "e", "time": written}
    xdm = {"identityMap": {"CRMID": [{"id": user}], "Email": [{"id": "ana@example.com"}]}}
    email = {"email": "Ana@Example.com"}
    rows = [
        {"id": "e", "event": name, "at": written, "user_id": user, **email}
        | {"properties": properties},
        {**segment, "messageId": "e", "timestamp": written, "context": {"traits": email}},
        {**cloud, "data": {**segment, "traits": email}},
        {**cloud, "data": {"userId": user, "traits": email, "properties": properties}},
        {**xdm, "_id": "e", "eventType": name, "timestamp": written, **properties},
    ]
    told = [one(row) for row in rows]
    assert {
        (e.id, e.source, e.name, e.occurred_at, e.identifiers, json.dumps(e.properties))
        for e in told
    } == {("e", "shop", name, at, (Identifier("user_id", user), EMAIL), json.dumps(properties))}


# What is refused


def line(**fields: Any) -> dict[str, Any]:
    return {**LINE, **fields}


REFUSED: list[tuple[str, Any, str, str]] = [
    ("empty", b"", "invalid_json", "$"),
    ("cut off", b'{"event": "a"', "invalid_json", "$"),
    ("trailing comma", b'{"a": "NaN",}', "invalid_json", "$"),
    ("two values", b"{} {}", "invalid_json", "$"),
    ("raw control character", b'{"a": "\n"}', "invalid_json", "$"),
    ("latin-1", b'{"event": "caf\xe9"}', "invalid_utf8", "$"),
    ("utf-16", '{"event": "a"}'.encode("utf-16"), "invalid_utf8", "$"),
    ("surrogate in utf-8", b'{"event": "\xed\xa0\x80"}', "invalid_utf8", "$"),
    ("large", line(properties={"a": "x" * EVENT_BYTES_MAX}), "too_large", "$"),
    ("large, not JSON", b"x" * (BATCH_BYTES_MAX + 1), "too_large", "$"),
    (
        "deep",
        line(properties={"a": nested(EVENT_DEPTH_MAX)}),
        "too_deep",
        "$.properties.a" + "[0]" * 14,
    ),
    ("very deep", b"[" * 30_000, "too_deep", "$"),
    (
        "many keys",
        line(properties={f"k{i}": i for i in range(EVENT_KEYS_MAX)}),
        "too_many_keys",
        "$.properties",
    ),
    ("NaN", b'{"event": "a", "properties": {"v": NaN}}', "not_finite", "$.properties.v"),
    ("infinity", b'{"a": [1, -Infinity]}', "not_finite", "$.a[1]"),
    ("too great a number", b'{"a b": 1e999}', "not_finite", "$['a b']"),
    ("NaN and cut off", b'{"a": NaN', "not_finite", "$"),
    ("integer beyond 64 bits", line(properties={"v": 2**63}), "invalid_field", "$.properties.v"),
    ("endless integer", b"9" * 5000, "invalid_field", "$"),
    ("NUL", line(properties={"v": ["a\0"]}), "invalid_field", "$.properties.v[0]"),
    ("NUL in a key", line(properties={"a\0": 1}), "invalid_field", "$.properties"),
    ("half a pair", line(properties={"v": "\ud800"}), "invalid_field", "$.properties.v"),
    ("the other half", line(properties={"v": "a\udc00b"}), "invalid_field", "$.properties.v"),
    ("text", "row", "not_an_object", "$"),
    ("number", 5, "not_an_object", "$"),
    ("null", None, "not_an_object", "$"),
    ("empty object", {}, "unknown_format", "$"),
    ("unknown keys", {"name": "a", "user": "c-1"}, "unknown_format", "$"),
    ("unnamed", line(event=None), "missing_field", "$.event"),
    ("blank name", line(event=" "), "invalid_field", "$.event"),
    ("number for a name", line(event=5), "invalid_field", "$.event"),
    ("long name", line(event="x" * 101), "invalid_field", "$.event"),
    ("name of two lines", line(event="a\nb"), "invalid_field", "$.event"),
    ("number for an id", line(id=5), "invalid_field", "$.id"),
    ("empty source", line(source=""), "invalid_field", "$.source"),
    ("list for properties", line(properties=[]), "invalid_field", "$.properties"),
    ("text for traits", line(traits="x"), "invalid_field", "$.traits"),
    ("number for a brand", line(brand=1), "invalid_field", "$.brand"),
    ("two times", line(at=WRITTEN_AT, occurred_at=WRITTEN_AT), "invalid_field", "$.at"),
    ("bool for a user", line(user_id=True), "invalid_field", "$.user_id"),
    ("float for a user", line(user_id=1.0), "invalid_field", "$.user_id"),
    ("number for a phone", line(phone=4930901820), "invalid_field", "$.phone"),
    ("object for an e-mail", line(email={}), "invalid_field", "$.email"),
    ("long user", line(user_id="x" * 257), "invalid_field", "$.user_id"),
    ("huge user", line(user_id="x" * 2000), "invalid_field", "$.user_id"),
    ("user of two lines", line(user_id="a\tb"), "invalid_field", "$.user_id"),
    ("list for identifiers", line(identifiers=["a"]), "invalid_field", "$.identifiers"),
    ("namespace", line(identifiers={"Loyalty": "1"}), "invalid_field", "$.identifiers"),
    (
        "number by name",
        line(identifiers={"card": ["a", 1]}),
        "invalid_field",
        "$.identifiers.card[1]",
    ),
    (
        "a crowd",
        line(identifiers={"card": [str(i) for i in range(IDENTIFIERS_MAX)]}),
        "invalid_field",
        "$",
    ),
    ("sole bad e-mail", {"event": "a", "email": "ana@"}, "invalid_field", "$.email"),
    ("sole bad phone", {"event": "a", "phone": "12"}, "invalid_field", "$.phone"),
    ("nobody", {"event": "a"}, "no_identifier", "$"),
    ("blank user", {"event": "a", "user_id": " ", "email": ""}, "no_identifier", "$"),
    ("blocked user", {"event": "a", "user_id": "null"}, "no_identifier", "$"),
    ("blocked e-mail", {"event": "a", "email": "Test@Example.com"}, "no_identifier", "$"),
    ("no call", {"userId": "c-1", "event": "a"}, "missing_field", "$.type"),
    ("unknown call", {**TRACK, "type": "trak"}, "invalid_field", "$.type"),
    ("unhashable call", {**TRACK, "type": []}, "invalid_field", "$.type"),
    ("unnamed track", {**TRACK, "event": None}, "missing_field", "$.event"),
    ("context", {**TRACK, "context": []}, "invalid_field", "$.context"),
    ("device", {**TRACK, "context": {"device": "x"}}, "invalid_field", "$.context.device"),
    (
        "sole bad trait",
        {"type": "identify", "context": {"traits": {"email": "x"}}},
        "invalid_field",
        "$.context.traits.email",
    ),
    ("version", {**CLOUD, "specversion": "0.3"}, "invalid_field", "$.specversion"),
    ("no version", {**CLOUD, "specversion": None}, "missing_field", "$.specversion"),
    ("no type", {**CLOUD, "type": None}, "missing_field", "$.type"),
    ("type without an end", {**CLOUD, "type": "com.example."}, "invalid_field", "$.type"),
    ("data", {**CLOUD, "data": "text"}, "invalid_field", "$.data"),
    ("data's user", {**CLOUD, "data": {"userId": 1.5}}, "invalid_field", "$.data.userId"),
    ("base64", {**CLOUD, "data_base64": "%%"}, "invalid_field", "$.data_base64"),
    ("base64 of no JSON", {**CLOUD, "data_base64": "eA=="}, "invalid_json", "$.data_base64"),
    ("data twice", {**CLOUD, "data": {}, "data_base64": ""}, "invalid_field", "$.data_base64"),
    ("no headers", {"headers": {}, "body": {}}, "missing_field", "$.headers.ce-specversion"),
    ("headers", {"headers": [], "body": {}}, "invalid_field", "$.headers"),
    (
        "header twice",
        {"headers": {"ce-id": "1", "CE-ID": "2"}, "body": {}},
        "invalid_field",
        "$.headers",
    ),
    (
        "body of no JSON",
        {"headers": {"ce-specversion": "1.0", "ce-type": "a"}, "body": '{"x'},
        "invalid_json",
        "$.body",
    ),
    ("XDM without a type", {"_id": "1", "timestamp": WRITTEN_AT}, "missing_field", "$.eventType"),
    ("identity map", {**XDM, "identityMap": []}, "invalid_field", "$.identityMap"),
    ("identity", {**XDM, "identityMap": {"ECID": "x"}}, "invalid_field", "$.identityMap.ECID"),
    ("entry", {**XDM, "identityMap": {"ECID": [1]}}, "invalid_field", "$.identityMap.ECID[0]"),
    (
        "id",
        {**XDM, "identityMap": {"ECID": [{"id": 1}]}},
        "invalid_field",
        "$.identityMap.ECID[0].id",
    ),
    ("empty batch", {"batch": []}, "invalid_field", "$"),
    ("empty list", [], "invalid_field", "$"),
    ("batch of no list", {"batch": "x"}, "unknown_format", "$"),
    ("crowded batch", {"batch": [TRACK] * (BATCH_ITEMS_MAX + 1)}, "too_large", "$"),
    ("large batch", [{**LINE, "properties": {"a": "x" * 10_000}}] * 60, "too_large", "$"),
    ("broken batch", b'{"batch": [{}, {"event": ' + b'"x"' * 20_000, "invalid_json", "$"),
    ("batch in latin-1", b'{"batch": [1, "caf\xe9", ]}', "invalid_utf8", "$"),
]


@pytest.mark.parametrize(
    ("row", "reason", "path"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_an_unusable_row_says_why_and_where(row: Any, reason: str, path: str) -> None:
    """A refused row bears its place, a stable reason, the JSON path and what to do."""
    error = refused(row)
    assert (error.reason, error.place) == (reason, PLACE)
    assert error.cause.startswith(f"`{path}` ")
    assert error.remedy


def test_the_table_knows_every_reason() -> None:
    """No reason of the closed list is without a row that shows it."""
    assert {reason for _, _, reason, _ in REFUSED} == set(REASONS)


@pytest.mark.parametrize(
    "row",
    [
        line(properties={"a": nested(EVENT_DEPTH_MAX - 2)}),
        line(properties={f"k{i}": i for i in range(EVENT_KEYS_MAX - 3)}),
        line(properties={"a": 2**63 - 1, "b": -(2**63), "c": "1" * 40, "d": 1.5e308}),
        line(properties={"a": "\\u0000", "b": "\U0001f600", "c": "{[" * 40}),
        line(event="x" * 100, user_id="x" * 256),
        line(identifiers={"card": [str(i) for i in range(IDENTIFIERS_MAX - 1)]}),
    ],
    ids=["depth", "keys", "numbers", "strings", "lengths", "identifiers"],
)
def test_a_limit_itself_is_allowed(row: dict[str, Any]) -> None:
    """What stands exactly at a limit is read, and unchanged."""
    assert one(row).properties == row.get("properties", {})


def test_an_event_of_exactly_the_limit_is_read() -> None:
    """The last byte allowed is allowed."""
    raw = json.dumps(LINE).encode()
    full = raw + b" " * (EVENT_BYTES_MAX - len(raw))
    assert one(full) == expected()
    assert refused(full + b" ").reason == "too_large"


# Times


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("2026-11-22T08:30:00+00:00", AT),
        ("2026-11-22T10:30:00+02:00", AT),
        ("2026-11-22t08:30:00z", AT),
        ("2026-11-22 03:00:00-05:30", AT),
        ("2026-11-22T08:30:00.9999999Z", AT.replace(microsecond=999_999)),
        ("2026-11-22T08:30:00.5Z", AT.replace(microsecond=500_000)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
        ("9998-12-31T23:59:59Z", datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_rfc_3339_times_become_utc(written: str, at: datetime) -> None:
    """Every zone becomes UTC, and digits past the microsecond are cut off."""
    event = one(line(at=written))
    assert event.occurred_at == at
    assert event.occurred_at.tzinfo is UTC


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-22T08:30:00",
        "2026-11-22T08:30Z",
        "2026-11-22",
        "20261122T083000Z",
        "2026-W47-7T08:30:00Z",
        "2026-11-22T08:30:00,5Z",
        "2026-11-22T08:30:00+0200",
        "2026-02-30T08:30:00Z",
        "2026-11-22T24:00:00Z",
        "2016-12-31T23:59:60Z",
        "2026-11-22T08:30:00+24:00",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "9999-01-01T00:00:00Z",
        "9999-12-31T23:59:59-01:00",
        "0001-01-01T00:00:00+01:00",
        "0000-01-01T00:00:00Z",
        "٢٠٢٦-11-22T08:30:00Z",
        "",
        1_795_336_200,
        1.5,
        True,
        {},
    ],
)
def test_other_times_are_refused(written: Any) -> None:
    """A time that two readers could understand differently is none, in every format."""
    rows = {
        "$.at": line(at=written),
        "$.occurred_at": line(occurred_at=written),
        "$.timestamp": {**TRACK, "timestamp": written},
        "$.time": {**CLOUD, "time": written},
    }
    for path, row in rows.items():
        error = refused(row)
        assert error.reason == "invalid_field"
        assert error.cause.startswith(f"`{path}` ")
    assert refused({**XDM, "timestamp": written}).reason == "invalid_field"


# Identifiers


@pytest.mark.parametrize(
    ("ns", "written", "kept"),
    [
        ("email", " Ana+x@Mail.Example.COM\t", "ana+x@mail.example.com"),
        ("email", "jürgen@müller.example", "jürgen@xn--mller-kva.example"),
        ("email", "Ana@MÜLLER.example", "ana@xn--mller-kva.example"),
        ("email", "ana@xn--MLLER-kva.example", "ana@xn--mller-kva.example"),
        ("email", "ana@straße.example", "ana@xn--strae-oqa.example"),
        ("email", "ana@例え。テスト", "ana@xn--r8jz45g.xn--zckzah"),
        ("email", "ana@ex\u0430mple.com", "ana@xn--exmple-4nf.com"),
        ("email", "\u0430na@example.com", None),
        ("email", "\uff41na@example.com", None),
        ("email", "ana\uff20example.com", None),
        ("email", "ju\u0308rgen@example.com", "jürgen@example.com"),
        ("email", "анна@example.com", "анна@example.com"),
        ("email", "ana@example.com.", None),
        ("email", "ana@-example.com", None),
        ("email", "ana@exa_mple.com", None),
        ("email", "ana@10.0.0.1", None),
        ("email", "ana@" + "x" * 64 + ".com", None),
        ("email", "ana@\u200dexample.com", None),
        ("email", "ana+tag@example.com", "ana+tag@example.com"),
        ("email", "a.n.a@gmail.com", "a.n.a@gmail.com"),
        ("email", "a@b@example.com", None),
        ("email", "ana@example", None),
        ("email", "@example.com", None),
        ("email", "ana@.com", None),
        ("email", "ana@example..com", None),
        ("email", "a na@example.com", None),
        ("email", "a,b@example.com", None),
        ("email", "Ana <ana@example.com>", None),
        ("email", "ana@exa\u200bmple.com", None),
        ("email", "x" * 243 + "@example.com", None),
        ("email", "x" * 242 + "@example.com", "x" * 242 + "@example.com"),
        ("phone", "+49 (30) 901-820", "+4930901820"),
        ("phone", "030/901820", "+4930901820"),
        ("phone", "0049 30 901820", "+4930901820"),
        ("phone", "+1 202 456 1111", "+12024561111"),
        ("phone", "+49", None),
        ("phone", "4930901820", "+4930901820"),
        ("phone", "49 171 1234567", None),
        ("phone", "+49 171 1234567", "+491711234567"),
        ("phone", "0171 1234567", "+491711234567"),
        ("phone", "\uff0b\uff14\uff19\u300030901820", "+4930901820"),
        ("phone", "+\u0664\u0669 30 901820", None),
        ("phone", "+49 30 901820 x5", None),
        ("phone", "+49 30 901820,5", None),
        ("phone", "+49 30 901820;ext=5", None),
        ("phone", "tel:+4930901820", None),
        ("phone", "+1 800 FLOWERS", None),
        ("phone", "1-800-FLOWERS", None),
        ("phone", "110", None),
        ("phone", "72345", None),
        ("phone", "++4930901820", None),
        ("phone", "+49+30901820", None),
        ("phone", "+49(0)30 901820", "+4930901820"),
        ("phone", "+49 30 901820 ext. 5", None),
        ("phone", "call +49 30 901820", None),
        ("phone", "+999 123456", None),
        ("user_id", "  C-1 ", "C-1"),
        ("user_id", "two words", "two words"),
        ("user_id", "", None),
        ("user_id", "a\u2028b", None),
    ],
)
def test_identifiers_are_kept_in_one_spelling(ns: str, written: str, kept: str | None) -> None:
    """Two spellings of an address are one identifier; what is no address is none."""
    expected_value = None if kept is None else Identifier(ns, kept)
    assert normalise(ns, written, "DE") == expected_value


def test_a_number_without_a_country_needs_a_region() -> None:
    """Without `region` only numbers with their country code are known."""
    assert normalise("phone", "030 901820", None) is None
    assert normalise("phone", "+49 30 901820", None) == PHONE


@STEADY
@given(
    ns=st.sampled_from(("email", "phone", "user_id", "loyalty")),
    value=st.text() | st.emails() | st.from_regex(r"\+?[0-9 -]{3,20}", fullmatch=True),
)
def test_normalising_twice_changes_nothing(ns: str, value: str) -> None:
    """The kept spelling is its own normal form, whatever the region."""
    kept = normalise(ns, value, "DE")
    if kept is not None:
        assert normalise(ns, kept.value, "DE") == kept
        assert normalise(ns, kept.value, None) == kept


def test_a_bad_address_beside_a_good_identifier_is_left_out() -> None:
    """A typing error in an address does not cost the event while the person is known otherwise."""
    event = one(line(email="ana@", phone="12", traits={"email": "ana@"}))
    assert event.identifiers == (USER,)
    assert event.traits == {"email": "ana@"}


def external(**entry: Any) -> dict[str, Any]:
    """A Segment call with one external id, as Segment documents it, but for what is given."""
    whole = {"id": "s-7", "type": "shopify_id", "collection": "users", "encoding": "none", **entry}
    return {**TRACK, "context": {"externalIds": [whole]}}


@pytest.mark.parametrize(
    ("entry", "identifier"),
    [
        ({}, Identifier("shopify_id", "s-7")),
        ({"type": "phone", "id": "030 901820"}, PHONE),
        ({"type": "email", "id": "Ana@Example.com"}, EMAIL),
        ({"type": "anonymous_id", "id": "a-1"}, ANONYMOUS),
        ({"type": "ios.id", "id": "d-1"}, DEVICE),
        ({"type": "android.idfa", "id": "g"}, Identifier("gaid", "g")),
        ({"type": "ios.push_token", "id": "t"}, Identifier("ios_push_token", "t")),
    ],
)
def test_segments_external_ids_are_identifiers(
    entry: dict[str, Any], identifier: Identifier
) -> None:
    """Each is the person's own, beside `userId`, under its type."""
    assert one(external(**entry)).identifiers == (USER, identifier)


@pytest.mark.parametrize("entry", [{"collection": "accounts"}, {"id": None}, {"id": " "}])
def test_an_external_id_that_is_no_persons_names_nobody(entry: dict[str, Any]) -> None:
    """That of an account is a group's: everybody in it would be one person by it."""
    assert one(external(**entry)).identifiers == (USER,)


@pytest.mark.parametrize(
    ("entry", "reason", "path"),
    [
        ({"collection": None}, "missing_field", "$.context.externalIds[0].collection"),
        ({"collection": "teams"}, "invalid_field", "$.context.externalIds[0].collection"),
        ({"encoding": None}, "missing_field", "$.context.externalIds[0].encoding"),
        ({"encoding": "sha256"}, "invalid_field", "$.context.externalIds[0].encoding"),
        ({"encoding": ["none"]}, "invalid_field", "$.context.externalIds[0].encoding"),
        ({"type": None}, "missing_field", "$.context.externalIds[0].type"),
        ({"type": "a b"}, "invalid_field", "$.context.externalIds[0].type"),
        ({"id": 7}, "invalid_field", "$.context.externalIds[0].id"),
    ],
)
def test_an_external_id_is_not_guessed_at(entry: dict[str, Any], reason: str, path: str) -> None:
    """What Segment requires and is not there, or is none of Segment's, spoils the call."""
    error = refused(external(**entry))
    assert (error.reason, error.cause.split("`")[1]) == (reason, path)


@pytest.mark.parametrize("given", ["x", {"id": "x"}, [1], [None]])
def test_external_ids_are_a_list_of_objects(given: Any) -> None:
    """Anything else is a dead letter that says so."""
    error = refused({**TRACK, "context": {"externalIds": given}})
    assert error.cause.startswith("`$.context.externalIds")


def test_blocked_values_never_link() -> None:
    """A blocked identifier is left out, in whatever spelling it comes."""
    assert one(line(email="TEST@example.com ", identifiers={"user_id": "null"})) == expected()
    assert one(line(identifiers={"user_id": " NULL"})) == expected()


# Batches


def test_a_bad_item_spoils_no_other() -> None:
    """Each item of a batch is an event or its own error, at its own place, in order."""
    items = [TRACK, 5, {**TRACK, "userId": None}, {**TRACK, "userId": "null"}, {"batch": [TRACK]}]
    items += [{**TRACK, "properties": nested(1)}, {**TRACK, "properties": {"a": nested(20)}}]
    items += [{**TRACK, "properties": {"a": "x" * EVENT_BYTES_MAX}}, LINE, CLOUD, XDM]
    for batch in ({"batch": items, "sentAt": WRITTEN_AT}, items):
        told = read(batch)
        assert [i.place for i in told] == [f"{PLACE}#{n}" for n in range(len(items))]
        assert [i.reason if isinstance(i, InputError) else i.name for i in told] == [
            "cart_abandoned",
            "not_an_object",
            "no_identifier",
            "no_identifier",
            "unknown_format",
            "invalid_field",
            "too_deep",
            "too_large",
            *["cart_abandoned"] * 3,
        ]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"event": NaN}', "not_finite"),
        (b'{"event": 1e999}', "not_finite"),
        (b'{"event": "\\ud800"}', "invalid_field"),
        (b'{"event": "\\udc00\\ud800"}', "invalid_field"),
        (b'{"event": "\xff"}', "invalid_utf8"),
        (b'{"event": "\\u0000"}', "invalid_field"),
        (b"[" * 200 + b"]" * 200, "too_deep"),
    ],
)
@pytest.mark.parametrize("form", [b"[%s]", b'{"batch": [%s]}'], ids=["list", "segment"])
def test_an_item_that_is_almost_json_spoils_no_other(form: bytes, bad: bytes, reason: str) -> None:
    """Even what a strict parser refuses is charged to its own item."""
    good = json.dumps(TRACK).encode()
    first, error, last = read(form % b",".join((good, bad, good)))
    assert isinstance(error, InputError)
    assert (error.reason, error.place) == (reason, f"{PLACE}#1")
    assert isinstance(first, Event) and isinstance(last, Event)


def test_a_batch_may_be_larger_than_an_event() -> None:
    """The event's limit holds for each item, not for what carries them."""
    item = {**TRACK, "properties": {"a": "x" * (EVENT_BYTES_MAX - 200)}}
    told = read({"batch": [item] * 15})
    assert len(told) == 15
    assert all(isinstance(i, Event) for i in told)


def test_what_a_segment_batch_says_once_holds_for_every_item() -> None:
    """A batch's own `context` is each call's, whose own counts first; a no in it is not lost."""
    shared = {"consent": {"categoryPreferences": {"ads": False}}, "device": {"id": "d-1"}}
    own = {**TRACK, "context": {"consent": {"categoryPreferences": {"ads": True}}}}
    batch = {"batch": [TRACK, own, {**TRACK, "context": None}, 5], "context": shared}
    *told, bad = read(batch)
    assert isinstance(bad, InputError)
    said = [dict(i.preferences) for i in told if isinstance(i, Event)]
    no, yes = ({"categories": {"ads": value}} for value in (False, True))
    assert said == [no, yes, no]
    devices = [Identifier("device_id", "d-1") in i.identifiers for i in told]  # type: ignore[union-attr]
    assert devices == [True] * 3
    assert read({"batch": [TRACK], "context": None}) == read({"batch": [TRACK]})
    broken = json.dumps({**batch, "batch": [TRACK, 7]}).replace("7", "NaN").encode()
    first, last = read(broken)
    assert isinstance(first, Event) and dict(first.preferences) == no
    assert isinstance(last, InputError) and last.reason == "not_finite"
    error = refused({"batch": [TRACK], "context": [1]})
    assert error.cause.startswith("`$.context` ")


def test_equal_items_without_an_id_stay_apart() -> None:
    """Every one of several equal events in equal batches gets an ordinal of its own."""
    other, with_id = {**TRACK, "userId": "c-2"}, {**TRACK, "messageId": "m-1"}
    turned = dict(reversed(TRACK.items()))
    raw = json.dumps({"batch": [TRACK, other, turned, with_id, with_id]}).encode()
    ordinals = [
        [
            item.ordinal
            for item in READING.read(raw, received_at=NOW, place=PLACE, ordinal=n)
            if isinstance(item, Event)
        ]
        for n in (0, 1)
    ]
    assert ordinals == [[0, 0, 1, 0, 0], [2, 1, 3, 1, 1]]


def test_a_single_row_keeps_the_ordinal_given() -> None:
    """Which of several equal rows this is, is for the file's reader to say."""
    raw = json.dumps(LINE).encode()
    (event,) = READING.read(raw, received_at=NOW, place=PLACE, ordinal=3)
    assert event == expected(ordinal=3)


# Whatever comes


def check_total(raw: bytes) -> None:
    try:
        told = READING.read(raw, received_at=NOW, place=PLACE)
    except InputError as error:
        told = (error,)
    assert told
    for item in told:
        assert item.place is not None and item.place.startswith(PLACE)
        if isinstance(item, InputError):
            assert item.reason in REASONS
            assert item.cause.startswith("`$") and item.remedy
        else:
            assert item.identifiers and item.kind in EVENT_KINDS and item.name.isprintable()


@STEADY
@given(st.binary() | st.binary().map(lambda b: b'{"batch":[' + b + b"]}"))
@example(b'{"batch":' + b"[" * 100_000)
@example(b'{"batch":[1],"x":' + b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"[" * 900 + b"NaN" + b"]" * 900)
@example(b"[" + b"[" * 900 + b"1e999,NaN" + b"]" * 900 + b"]")
def test_any_bytes_are_events_or_a_named_error(raw: bytes) -> None:
    """No bytes at all bring out another exception than the documented one."""
    check_total(raw)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, categories=None))
    | st.sampled_from(["c-1", "ana@example.com", "+4930901820", WRITTEN_AT, "1.0", "track", "a.b"])
)
KEYS = st.sampled_from(
    [
        "batch",
        "type",
        "event",
        "userId",
        "anonymousId",
        "messageId",
        "previousId",
        "groupId",
        "timestamp",
        "context",
        "traits",
        "properties",
        "identifiers",
        "device",
        "id",
        "source",
        "at",
        "user_id",
        "email",
        "phone",
        "brand",
        "specversion",
        "subject",
        "time",
        "data",
        "data_base64",
        "headers",
        "body",
        "ce-specversion",
        "ce-type",
        "CE-TYPE",
        "identityMap",
        "ECID",
        "eventType",
        "_id",
        "personID",
        "personalEmail",
        "mobilePhone",
        "address",
        "number",
        "occurred_at",
        "originalTimestamp",
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=25,
)
FORMS: list[dict[str, Any]] = [{}, LINE, TRACK, CLOUD, XDM, {"type": "alias", "userId": "c-1"}]


@STEADY
@given(VALUES)
def test_any_json_value_is_events_or_a_named_error(value: Any) -> None:
    """Whatever JSON says, in whichever shape, it is an event or says why not."""
    check_total(json.dumps(value).encode())


@STEADY
@given(st.sampled_from(FORMS), st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_field_may_hold_anything(form: dict[str, Any], changed: dict[str, Any]) -> None:
    """A well-formed row with any of its fields replaced is an event or says why not."""
    check_total(json.dumps({**form, **changed}).encode())
    check_total(json.dumps({**CLOUD, "data": {**form, **changed}}).encode())


# Real rows


def rows_of_luma(name: str) -> list[Any]:
    shared = Path(os.environ.get("SAFECONDUCT_SHARED") or Path(__file__).parents[3] / "shared")
    path = shared / "data" / "luma" / f"luma-{name}.json.gz"
    if not path.is_file():
        pytest.skip(f"the sample data is not there: no {path.name} in {path.parent}")
    loaded: list[Any] = json.loads(gzip.decompress(path.read_bytes()))
    return loaded


def test_real_web_events_are_read() -> None:
    """Every web event of the sample has a time, an id and its visitor's identifiers."""
    for row in rows_of_luma("web-events"):
        event = one(row)
        assert event.id == row["_id"]
        assert event.occurred_at is not None
        assert {i.ns for i in event.identifiers} <= {"anonymous_id", "lumacrmid"}
        assert event.properties.keys() == row.keys() - {
            "_id", "timestamp", "eventType", "identityMap"
        }  # fmt: skip


def test_real_profile_records_are_read() -> None:
    """A customer record of the sample identifies by its address, and without one names nobody."""
    for row in rows_of_luma("crm"):
        address = row["personalEmail"]["address"]
        if address is None:
            assert refused(row).reason == "no_identifier"
        else:
            event = one(row)
            assert event.name == "identified"
            assert Identifier("email", address.strip().lower()) in event.identifiers


def test_real_purchases_without_a_type_say_what_they_lack() -> None:
    """An offline purchase names neither its type nor its customer as XDM does, and says so."""
    for row in rows_of_luma("offline-purchases"):
        assert refused(row).reason == "missing_field"


@pytest.mark.parametrize(
    "row",
    [
        b'{"event": "a", "user_id": "c-1", "user_id": "c-2"}',
        b'{"event": "a", "user_id": "c-1", "\\u0075ser_id": "c-2"}',
        b'{"event": "a", "user_id": "c", "properties": {"value": "denied", "value": "granted"}}',
        b'{"event": "a", "user_id": "c", "properties": {"x": ":", "y": "\\"", "x": "::"}}',
        b'[{"event": "a", "user_id": "c-1"}, {"event": NaN, "user_id": 1, "user_id": 2}]',
    ],
)
def test_a_key_that_is_there_twice_is_never_chosen_for(row: bytes) -> None:
    """Which of the two is meant nobody can know: a no beside a yes is no yes."""
    with pytest.raises(InputError, match="twice") as refused:
        read(row)
    assert refused.value.reason == "invalid_json"


def test_a_key_that_is_there_once_in_each_object_is_read() -> None:
    """The same key in two objects, or in a text, is no repetition."""
    row = b'{"event": "a", "user_id": "c-1", "properties": {"event": "\\"event\\": 1", "at": ":"}}'
    (event,) = read(row)
    assert isinstance(event, Event)


@pytest.mark.parametrize(
    "value", ["null", " NULL ", "\uff2e\uff35\uff2c\uff2c", "\u24dd\u24e4\u24db\u24db"]
)
def test_a_blocked_value_is_blocked_in_every_style_of_its_letters(value: str) -> None:
    """Full-width and circled letters spell the same word, and would gather strangers as well."""
    with pytest.raises(InputError, match="names nobody"):
        read({**LINE, "user_id": value})
