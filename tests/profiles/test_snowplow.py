"""What Snowplow enriched events mean here."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from domain.errors import InputError
from domain.event import Event, Identifier
from profiles.reading import Reading

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
ENRICHED: dict[str, Any] = {
    "app_id": "shop",
    "platform": "web",
    "etl_tstamp": "2026-10-05T08:30:05.000Z",
    "collector_tstamp": "2026-10-05T08:30:02.000Z",
    "dvce_created_tstamp": "2031-01-01T00:00:00.000Z",
    "derived_tstamp": "2026-10-05T08:30:01.500Z",
    "event": "page_view",
    "event_id": "08ade0a5-2b97-40d5-ae82-0cde93694790",
    "event_name": "page_view",
    "event_vendor": "com.snowplowanalytics.snowplow",
    "v_collector": "ssc-1.0.1",
    "v_etl": "enrich-1.1.3",
    "txn_id": None,
    "user_id": None,
    "user_ipaddress": "198.51.100.1",
    "useragent": "Mozilla/5.0",
    "domain_userid": "f7af14d6-df15-4721-b5e8-a99de86dce84",
    "network_userid": "ff27c2bc-3436-4c94-8738-829b67d12cf8",
    "page_url": "https://shop.example/cart",
    "page_title": None,
    "contexts_com_snowplowanalytics_snowplow_web_page_1": [{"id": "p-1"}],
}
DOMAIN = Identifier("domain_userid", ENRICHED["domain_userid"])
NETWORK = Identifier("network_userid", ENRICHED["network_userid"])


def read(names: dict[str, str] | None = None, **fields: Any) -> Event:
    reading = Reading("web", None, names or {}, frozenset())
    raw = json.dumps({**ENRICHED, **fields}).encode()
    (told,) = reading.read(raw, received_at=NOW, place="s:1")
    assert isinstance(told, Event)
    return told


def test_a_page_view_is_read_whole() -> None:
    """What describes the page is kept; addresses and fingerprints of the device are not."""
    assert read() == Event(
        source="web",
        id=ENRICHED["event_id"],
        kind="page",
        name="page_viewed",
        occurred_at=datetime(2026, 10, 5, 8, 30, 1, 500_000, tzinfo=UTC),
        received_at=NOW,
        identifiers=(DOMAIN, NETWORK),
        properties={
            "app_id": "shop",
            "platform": "web",
            "page_url": "https://shop.example/cart",
            "contexts_com_snowplowanalytics_snowplow_web_page_1": [{"id": "p-1"}],
        },
        place="s:1",
    )
    ping = read(event="page_ping", event_name="page_ping")
    assert (ping.kind, ping.name) == ("track", "page_ping")  # no page was viewed anew


def test_a_self_describing_event_has_the_name_and_data_of_its_schema() -> None:
    """The workspace may map the name with its vendor, or without."""
    said: dict[str, Any] = {
        "event": "unstruct",
        "event_name": "cart_abandoned",
        "event_vendor": "com.acme",
        "unstruct_event_com_acme_cart_abandoned_1": {"value": 80, "page_url": "/own"},
    }
    told = read(**said)
    assert (told.kind, told.name) == ("track", "cart_abandoned")
    assert (told.properties["value"], told.properties["page_url"]) == (80, "/own")
    assert read({"com.acme/cart_abandoned": "left"}, **said).name == "left"
    assert read({"cart_abandoned": "left"}, **said).name == "left"


def test_a_structured_event_is_named_by_its_action() -> None:
    """Category, label, property and value are its properties."""
    told = read(event="struct", event_name="event", se_category="cart", se_action="add", se_value=3)
    assert (told.kind, told.name) == ("track", "add")
    assert told.properties["se_category"] == "cart"
    assert told.properties["se_value"] == 3


def test_the_time_is_the_applications_else_the_corrected_one_else_none() -> None:
    """Neither the device's own clock nor the collector's is taken for the time it happened."""
    true = "2026-10-05T08:00:00.000Z"
    assert read(true_tstamp=true).occurred_at == datetime(2026, 10, 5, 8, 0, tzinfo=UTC)
    assert read(derived_tstamp=None).occurred_at is None


def test_who_is_tracked_anonymously_is_not_one_person() -> None:
    """The id that is set for all of them identifies nobody."""
    nobody = "00000000-0000-0000-0000-000000000000"
    assert read(network_userid=nobody).identifiers == (DOMAIN,)
    known = read(user_id="c-1", network_userid=nobody, domain_userid=nobody)
    assert known.identifiers == (Identifier("user_id", "c-1"),)
    with pytest.raises(InputError) as caught:
        read(network_userid=nobody, domain_userid=nobody)
    assert caught.value.reason == "no_identifier"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"event": "unstruct", "event_name": None}, "$.event_name"),
        ({"event": "struct", "se_action": None}, "$.se_action"),
        ({"event": "struct", "se_action": 5}, "$.se_action"),
        ({"event": "unstruct", "unstruct_event_a_b_1": []}, "$.unstruct_event_a_b_1"),
        ({"derived_tstamp": "2026-10-05 08:30:01.500"}, "$.derived_tstamp"),
        ({"event_id": 5}, "$.event_id"),
    ],
)
def test_a_malformed_event_says_where(fields: dict[str, Any], path: str) -> None:
    """What is missing or of another type is named by its path."""
    with pytest.raises(InputError) as caught:
        read(**fields)
    assert caught.value.cause.startswith(f"`{path}` ")
