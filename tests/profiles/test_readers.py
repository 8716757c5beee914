"""What every reader must do, whatever its format: each property is asked of all of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import ModuleType
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import InputError
from domain.event import EVENT_KINDS, Event, Identifier
from profiles.readers import braze, canonical, cloudevents, consent_rows, segment, snowplow, xdm
from profiles.reading import READERS, REASONS, Reading

# The same examples in every run, however slow the machine.
STEADY = settings(derandomize=True, deadline=None, database=None, max_examples=60)
THOROUGH = settings(STEADY, max_examples=400)
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
PLACE = "events.jsonl:7"
READING = Reading(default_source="shop", default_region="DE", names={}, blocked=frozenset())

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Fact:
    """What happened, before anybody wrote it down."""

    id: str
    user: str
    name: str
    at: datetime
    properties: dict[str, Any]

    @property
    def written_at(self) -> str:
        return self.at.isoformat()

    def event(self) -> Event:
        """The event that it is, in whichever format it was written."""
        return Event(
            source="shop",
            id=self.id,
            kind="track",
            name=self.name,
            occurred_at=self.at,
            received_at=NOW,
            identifiers=(Identifier("user_id", self.user),),
            properties=self.properties,
            place=PLACE,
        )


@dataclass(frozen=True)
class Format:
    """How one format writes a fact, and where it keeps its id, its time and its person."""

    reader: ModuleType
    write: Callable[[Fact], dict[str, Any]]
    id: Path
    at: Path
    user: Path


def canonical_line(fact: Fact) -> dict[str, Any]:
    return {"id": fact.id, "event": fact.name, "at": fact.written_at, "user_id": fact.user} | {
        "properties": fact.properties
    }


def segment_call(fact: Fact) -> dict[str, Any]:
    return {
        "type": "track",
        "event": fact.name,
        "messageId": fact.id,
        "timestamp": fact.written_at,
        "userId": fact.user,
        "properties": fact.properties,
    }


def structured_cloudevent(fact: Fact) -> dict[str, Any]:
    data = {"userId": fact.user, "properties": fact.properties}
    envelope = {"specversion": "1.0", "id": fact.id, "time": fact.written_at}
    return {**envelope, "type": f"com.example.{fact.name}", "data": data}


def encoded_cloudevent(fact: Fact) -> dict[str, Any]:
    row = structured_cloudevent(fact)
    row["subject"] = row["data"].pop("userId")
    data = json.dumps(row.pop("data")).encode()
    return {**row, "data_base64": base64.b64encode(data).decode()}


def binary_cloudevent(fact: Fact) -> dict[str, Any]:
    said = {"specversion": "1.0", "type": fact.name, "id": fact.id, "time": fact.written_at}
    headers = {f"ce-{key}": quote(value) for key, value in said.items()}
    return {"headers": headers, "body": {"userId": fact.user, "properties": fact.properties}}


def xdm_event(fact: Fact) -> dict[str, Any]:
    who = {"CRMID": [{"id": fact.user}]}
    envelope = {"_id": fact.id, "timestamp": fact.written_at, "identityMap": who}
    return {**envelope, "eventType": fact.name, **fact.properties}


def braze_event(fact: Fact) -> dict[str, Any]:
    return {
        "event_type": "users.behaviors.CustomEvent",
        "id": fact.id,
        "time": int(fact.at.timestamp()),
        "user": {"external_user_id": fact.user},
        "properties": {"name": fact.name, "custom_properties": fact.properties},
    }


def flat_braze_event(fact: Fact) -> dict[str, Any]:
    row = braze_event(fact)
    del row["user"]
    row |= {"external_user_id": fact.user, "name": fact.name}
    return {**row, "properties": json.dumps(fact.properties)}


def self_describing_snowplow_event(fact: Fact) -> dict[str, Any]:
    return {
        "event": "unstruct",
        "event_id": fact.id,
        "event_name": fact.name,
        "event_vendor": "com.example",
        "collector_tstamp": "2026-11-23T08:59:59.000Z",
        "derived_tstamp": fact.written_at,
        "user_id": fact.user,
        f"unstruct_event_com_example_{fact.name}_1": fact.properties,
    }


FORMATS: dict[str, Format] = {
    "canonical": Format(canonical, canonical_line, ("id",), ("at",), ("user_id",)),
    "segment": Format(segment, segment_call, ("messageId",), ("timestamp",), ("userId",)),
    "structured": Format(
        cloudevents, structured_cloudevent, ("id",), ("time",), ("data", "userId")
    ),
    "encoded": Format(cloudevents, encoded_cloudevent, ("id",), ("time",), ("subject",)),
    "binary": Format(
        cloudevents,
        binary_cloudevent,
        ("headers", "ce-id"),
        ("headers", "ce-time"),
        ("body", "userId"),
    ),
    "xdm": Format(
        xdm, xdm_event, ("_id",), ("timestamp",), ("identityMap", "CRMID", 0, "id")
    ),
    "braze": Format(braze, braze_event, ("id",), ("time",), ("user", "external_user_id")),
    "flat braze": Format(braze, flat_braze_event, ("id",), ("time",), ("external_user_id",)),
    "snowplow": Format(
        snowplow,
        self_describing_snowplow_event,
        ("event_id",),
        ("derived_tstamp",),
        ("user_id",),
    ),
}  # fmt: skip
EVERY_FORMAT = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS.keys())

FACT = Fact(
    id="e-1",
    user="c-1",
    name="cart_abandoned",
    at=datetime(2026, 11, 22, 8, 30, tzinfo=UTC),
    properties={"value": 84.5, "lines": [{"sku": "s-1"}]},
)

# Rows with more in them than a fact, so that every path of every reader is disturbed.
RICH: list[tuple[ModuleType, dict[str, Any]]] = [
    (
        canonical,
        {
            **canonical_line(FACT),
            "source": "web",
            "brand": "outlet",
            "email": "ana@example.com",
            "phone": "+4930901820",
            "anonymous_id": "a-1",
            "device_id": "d-1",
            "identifiers": {"loyalty": ["l-1"], "card": "k-1"},
            "traits": {"email": "ana@example.com", "language": "de"},
        },
    ),
    (
        segment,
        {
            **segment_call(FACT),
            "anonymousId": "a-1",
            "brand": "outlet",
            "originalTimestamp": "2026-11-22T08:29:00Z",
            "context": {"traits": {"email": "ana@example.com"}, "device": {"id": "d-1"}},
            "traits": {"phone": "+4930901820"},
            "identifiers": {"loyalty": "l-1"},
        },
    ),
    (segment, {"type": "alias", "userId": "c-1", "previousId": "a-1"}),
    (segment, {"type": "group", "userId": "c-1", "groupId": "g-1", "traits": {"size": 5}}),
    (segment, {"type": "page", "anonymousId": "a-1", "name": "Home", "category": "Shop"}),
    (
        cloudevents,
        {**structured_cloudevent(FACT), "source": "/web", "data": segment_call(FACT)},
    ),
    (cloudevents, {**binary_cloudevent(FACT), "body": json.dumps({"userId": "c-1", "n": 1})}),
    (
        xdm,
        {
            **xdm_event(FACT),
            "personID": "c-1",
            "personalEmail": {"address": "ana@example.com"},
            "mobilePhone": {"number": "+4930901820"},
            "consents": {"marketing": {"any": {"val": "y"}}},
        },
    ),
    (xdm, {"personID": "c-1", "person": {"name": {"firstName": "Ana"}}}),
    *(
        (
            braze,
            {
                "event_type": event_type,
                "id": "b-1",
                "time": 1_795_336_200,
                "user": {
                    "user_id": "0123456789abcdef01234567",
                    "external_user_id": "c-1",
                    "device_id": "d-1",
                    "timezone": "Europe/Berlin",
                },
                "properties": {
                    "name": "cart_abandoned",
                    "custom_properties": {"value": 1},
                    "channel": "email",
                    "action": "Unsubscribed",
                    "subscription_status": "Unsubscribed",
                    "email_address": "ana@example.com",
                    "to_phone_number": "+4930901820",
                    "user_phone_number": "+4930901820",
                },
            },
        )
        for event_type in (
            "users.messages.email.Open",
            "users.messages.email.Send",
            "users.messages.email.Unsubscribe",
            "users.messages.email.MarkAsSpam",
            "users.messages.email.Bounce",
            "users.messages.sms.InboundReceive",
            "users.behaviors.subscription.GlobalStateChange",
            "users.behaviors.CustomEvent",
        )
    ),
    *(
        (
            snowplow,
            {
                "event": event,
                "event_id": "08ade0a5-2b97-40d5-ae82-0cde93694790",
                "event_name": "page_view",
                "event_vendor": "com.snowplowanalytics.snowplow",
                "collector_tstamp": "2026-11-22T08:30:01.000Z",
                "derived_tstamp": "2026-11-22T08:30:00.000Z",
                "true_tstamp": "2026-11-22T08:30:00.500Z",
                "user_id": "c-1",
                "domain_userid": "f7af14d6-df15-4721-b5e8-a99de86dce84",
                "network_userid": "ff27c2bc-3436-4c94-8738-829b67d12cf8",
                "page_url": "https://shop.example/",
                "se_category": "cart",
                "se_action": "cart_abandoned",
                "unstruct_event_com_example_link_click_1": {"target": "/"},
                "contexts_com_example_page_1": [{"id": "p-1"}],
            },
        )
        for event in ("page_view", "struct", "unstruct")
    ),
    (
        consent_rows,
        {
            "consent_row": {
                "user_id": "c-1",
                "identifier": "loyalty:7",
                "value": "granted",
                "channel": "email",
                "purpose": "marketing",
                "occurred_at": "2026-11-20T09:00:00Z",
            },
            "source": "crm",
            "by": "ida",
        },
    ),
    (consent_rows, {"consent_row": '{"user_id": "c-1", "value": "denied"}'}),
]
SAMPLES = [*((form.reader, form.write(FACT)) for form in FORMATS.values()), *RICH]
IDS = [f"{reader.__name__.rpartition('.')[2]}-{n}" for n, (reader, _) in enumerate(SAMPLES)]


def answer(row: Any) -> Event | InputError:
    try:
        (told,) = READING.read(json.dumps(row).encode(), received_at=NOW, place=PLACE)
    except InputError as error:
        return error
    return told


def read(row: Any) -> Event:
    event = answer(row)
    assert isinstance(event, Event), event
    return event


def leaves(value: Any, at: Path = ()) -> Iterator[Path]:
    """The path of every value that holds no other, and of every object and list."""
    if at:
        yield at
    children = enumerate(value) if isinstance(value, list) else ()
    for key, child in value.items() if isinstance(value, dict) else children:
        yield from leaves(child, (*at, key))


def changed(row: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """The row with another value at the path."""
    copy = deepcopy(row)
    node: Any = copy
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return copy


def shown(path: Path) -> str:
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)


def test_every_reader_is_asked() -> None:
    """No reader is without a fact it writes and a richer row; a list holds statements only."""
    assert {form.reader for form in FORMATS.values()} == set(READERS) - {consent_rows}
    assert {reader for reader, _ in RICH} == set(READERS)


@pytest.mark.parametrize(("reader", "row"), SAMPLES, ids=IDS)
def test_a_row_is_read_by_the_reader_of_its_format(reader: ModuleType, row: dict[str, Any]) -> None:
    """The first to recognise a row is its own reader, and what it reads is an event."""
    found = [other for other in READERS if other.recognises(row)]
    assert found[0] is reader
    # A canonical line is known by `event`, which Segment and Snowplow write as well.
    assert {*found} - {canonical} == {reader} - {canonical}
    who = ("anonymous_id", "a-1") if row.get("type") == "page" else ("user_id", "c-1")
    assert Identifier(*who) in read(row).identifiers


WORDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)  # fmt: skip
FACTS = st.builds(
    Fact,
    id=WORDS,
    user=WORDS,
    name=st.from_regex(r"[a-z][a-z_]{0,29}", fullmatch=True),
    at=st.integers(0, 250_000_000_000).map(lambda second: datetime.fromtimestamp(second, UTC)),
    properties=st.dictionaries(
        st.from_regex(r"x_[a-z]{1,8}", fullmatch=True),
        st.integers(-9, 9) | st.lists(st.booleans(), max_size=3) | WORDS,
        max_size=4,
    ),
)


@EVERY_FORMAT
@STEADY
@given(fact=FACTS)
def test_a_fact_comes_back_from_every_format(form: Format, fact: Fact) -> None:
    """Id, time, person, name and properties are read as they were written, and nothing else."""
    assert read(form.write(fact)) == fact.event()


@EVERY_FORMAT
@STEADY
@given(value=st.booleans() | st.floats(0, 9) | st.just([]) | st.just({"a": 1}))
def test_a_value_of_another_type_is_refused_by_its_path(form: Format, value: Any) -> None:
    """An id, a time or a person of a wrong type is an error that names the field."""
    for path in (form.id, form.at, form.user):
        error = answer(changed(form.write(FACT), path, value))
        assert isinstance(error, InputError)
        assert error.reason == "invalid_field"
        assert error.cause.startswith(f"`{shown(path)}` ")
        assert error.remedy
        assert error.place == PLACE


@EVERY_FORMAT
def test_a_row_without_id_and_time_is_read_all_the_same(form: Format) -> None:
    """A row that tells neither is an event without a key and a time, and never guessed at."""
    row = changed(changed(form.write(FACT), form.id, None), form.at, None)
    assert read(row) == replace(FACT.event(), id=None, occurred_at=None)


def check_total(row: dict[str, Any]) -> None:
    """The row is an event, or an error of the documented kind."""
    told = answer(row)
    if isinstance(told, InputError):
        assert told.reason in REASONS
        assert told.cause.startswith("`$")
        assert told.remedy
        assert told.place == PLACE
    else:
        assert told.kind in EVENT_KINDS
        assert told.identifiers
        assert told.name.isprintable()


ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**63 - 1,
    1.5,
    "",
    " ",
    "x",
    "\u200b",
    [],
    [1],
    [{}],
    {},
    {"a": 1},
)


@pytest.mark.parametrize("row", [row for _, row in SAMPLES], ids=IDS)
def test_no_field_of_another_type_brings_out_another_exception(row: dict[str, Any]) -> None:
    """Every field of every sample, replaced with a value of every type, is read or refused."""
    for path in leaves(row):
        for value in ODD:
            check_total(changed(row, path, value))


@THOROUGH
@given(data=st.data())
def test_whatever_a_field_holds_the_row_is_an_event_or_says_why_not(data: st.DataObject) -> None:
    """No value anywhere in a row brings out another exception than the documented one."""
    _, row = data.draw(st.sampled_from(SAMPLES))
    for path in data.draw(st.lists(st.sampled_from(list(leaves(row))), min_size=1, max_size=2)):
        try:
            row = changed(row, path, data.draw(JSON))
        except (KeyError, IndexError, TypeError):
            continue  # what held the second was replaced with the first
    check_total(row)
