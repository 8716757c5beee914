from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InputError
from domain.event import Event, Identifier
from profiles.reading import Reading
from profiles.views import view
from tests.shop import open_shop

NOW = datetime(2026, 10, 5, tzinfo=UTC)
READING = Reading("shop", None, {}, frozenset())
STATES = ("authenticated", "ambiguous", "loggedOut", None)


def entry(value: str, state: str | None = None, **more: Any) -> dict[str, Any]:
    """One entry of an identity map."""
    return {"id": value, **({"authenticatedState": state} if state else {}), **more}


def named(identities: dict[str, list[dict[str, Any]]], **more: Any) -> list[str]:
    """Who an event with this identity map is about."""
    row = {"_id": "x-1", "eventType": "page_viewed", "identityMap": identities, **more}
    (event,) = READING.read(json.dumps(row).encode(), received_at=NOW, place="")
    assert isinstance(event, Event)
    return [f"{one.ns}:{one.value}" for one in event.identifiers]


DEVICE = {"ECID": [entry("v-1", "ambiguous", primary=True)]}


@pytest.mark.parametrize("state", ["ambiguous", "loggedOut"])
def test_who_is_not_logged_in_is_not_joined(state: str) -> None:
    """A name that nobody has logged in to is left out beside a device or somebody who has."""
    weak = {"CRMID": [entry("c-1", state)]}
    assert named({**DEVICE, **weak}) == ["anonymous_id:v-1"]
    assert named({"IDFA": [entry("d-1")], **weak}) == ["idfa:d-1"]
    assert named({**weak, "Email": [entry("a@x.example", "authenticated")]}) == [
        "email:a@x.example"
    ]
    assert named({**weak, "Email": [entry("a@x.example")]}) == ["email:a@x.example"]
    assert named({**DEVICE, **weak}, personID="c-2") == ["anonymous_id:v-1", "user_id:c-2"]
    assert named({"CRMID": [entry("c-1", state), entry("c-2", "authenticated")]}) == ["user_id:c-2"]


def test_who_is_logged_in_is_joined_with_the_device() -> None:
    """An authenticated name, and one without a state, join the browser they are seen in."""
    for state in ("authenticated", None):
        found = named({**DEVICE, "CRMID": [entry("c-1", state)]})
        assert found == ["anonymous_id:v-1", "user_id:c-1"]


@pytest.mark.parametrize("state", ["ambiguous", "loggedOut"])
def test_an_unsure_name_alone_still_says_who_it_is(state: str) -> None:
    """The event is that person's, and of several such names it is one's: the primary's."""
    email = entry("a@x.example", state)
    assert named({"CRMID": [entry("c-1", state)]}) == ["user_id:c-1"]
    assert named({"Email": [email], "CRMID": [entry("c-1", state)]}) == ["user_id:c-1"]
    assert named({"Email": [{**email, "primary": True}], "CRMID": [entry("c-1", state)]}) == [
        "email:a@x.example"
    ]
    assert named({"other": [entry("o-1", state)], "Email": [email]}) == ["email:a@x.example"]


@pytest.mark.parametrize("value", ["denied", "objection"])
def test_a_no_is_taken_from_whoever_is_named(value: str) -> None:
    """Beside a device, a no is the unsure person's; what it allows is not."""
    weak = {"CRMID": [entry("c-1", "loggedOut")]}
    assert named({**DEVICE, **weak}, value=value) == ["user_id:c-1"]
    assert named({**DEVICE, **weak}, value="granted") == ["anonymous_id:v-1"]
    no, yes = {"any": {"val": "n"}}, {"any": {"val": "y"}}
    for more in ({}, {"collect": {"val": "u"}}):
        assert named({**DEVICE, **weak}, consents={"marketing": no, **more}) == ["user_id:c-1"]
    for consents in ({"marketing": yes}, {"marketing": no, "personalize": yes}, {}):
        assert named({**DEVICE, **weak}, consents=consents) == ["anonymous_id:v-1"]
    strong = {"Email": [entry("a@x.example", "authenticated")]}
    assert named({**DEVICE, **weak, **strong}, value=value) == [
        "anonymous_id:v-1", "email:a@x.example",
    ]  # fmt: skip


@pytest.mark.parametrize("state", ["Authenticated", "", "loggedout", 1, True, [], {}])
def test_an_unknown_state_is_refused(state: Any) -> None:
    """Whether somebody is logged in is not guessed."""
    row = {
        "eventType": "seen",
        "identityMap": {"CRMID": [{"id": "c", "authenticatedState": state}]},
    }
    with pytest.raises(InputError, match="is no state") as caught:
        READING.read(json.dumps(row).encode(), received_at=NOW, place="here")
    assert caught.value.reason == "invalid_field"


NAMESPACES = st.sampled_from(["ECID", "CRMID", "Email", "IDFA", "other"])
ENTRIES = st.builds(
    entry,
    st.sampled_from(["a@x.example", "b@x.example"]),
    st.sampled_from(STATES),
    primary=st.booleans(),
)


@given(st.dictionaries(NAMESPACES, st.lists(ENTRIES, min_size=1, max_size=2), min_size=1))
def test_an_unsure_name_never_stands_beside_another(
    identities: dict[str, list[dict[str, Any]]],
) -> None:
    """Whatever the map, somebody is named, and who is not logged in is alone or left out."""
    found = named(identities)
    assert found
    devices = ("anonymous_id", "idfa")
    spelt = {"CRMID": "user_id", "Email": "email", "other": "other"}
    sure = {
        f"{spelt[ns]}:{one['id']}"
        for ns, entries in identities.items()
        for one in entries
        if ns in spelt and one.get("authenticatedState") in (None, "authenticated")
    }
    unsure = [one for one in found if one.partition(":")[0] not in devices and one not in sure]
    assert not unsure or len(found) == 1


def test_the_next_at_a_device_is_not_who_logged_out(tmp_path: Path) -> None:
    """Two people at one browser stay two, though the first is still named after logging out."""
    with open_shop(tmp_path / "w") as shop:
        for n, (crm, state) in enumerate(
            [("c-1", "authenticated"), ("c-1", "loggedOut"), ("c-2", "authenticated")]
        ):
            browser = {"ECID": [entry(f"v-{min(n, 1)}", "ambiguous")]}
            shop.run(
                {
                    "_id": f"x-{n}",
                    "timestamp": f"2026-10-05T08:0{n}:00Z",
                    "eventType": "page_viewed",
                    "identityMap": {**browser, "CRMID": [entry(crm, state)]},
                }
            )
        rules = shop.deps.people._terms.identity
        with shop.database.read() as snapshot:
            one, two, browser_of = (
                view(snapshot, shop.database.vault, who, None, rules)
                for who in ("user_id:c-1", "user_id:c-2", "anonymous_id:v-1")
            )
        assert one.profile_id != two.profile_id == browser_of.profile_id
        assert Identifier("anonymous_id", "v-1") not in {
            known.identifier for known in one.whole.identifiers
        }
