from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.steps import Line
from agents.supervisor import through_steps
from domain.errors import UsageError
from domain.event import Event
from profiles import requests
from profiles.arrivals import Arrival
from profiles.identity import IdentityRules
from profiles.rulings import Registry
from profiles.state import Fragment
from profiles.views import View, view
from service.cli import main
from store.work import Work
from tests.shop import Shop, at, cart, consent, open_shop, row
from traces.ledger import verify

Names = Mapping[str, Any]
ONLY_MAIL = {
    "journeys/abandoned_cart.yaml": (
        "remind_by_email, remind_by_sms, cart_banner",
        "remind_by_email",
    )
}


def named(event: str, when: str, names: Names, **more: Any) -> dict[str, Any]:
    """An event that bears just these identifiers."""
    made = row(event, when, **more)
    del made["user_id"]
    made["id"] = f"{event}-{when}-{sorted(names.items())}"
    return {**made, **names}


def seen(shop: Shop, who: str) -> View:
    """Somebody, as of now."""
    with shop.database.read() as snapshot:
        return view(snapshot, shop.database.vault, who, None, rules(shop))


def rules(shop: Shop) -> IdentityRules:
    """How the shop tells people apart."""
    return shop.deps.people.terms.identity


def registry(shop: Shop) -> Registry:
    """The shop's people."""
    controllers = frozenset(shop.deps.people.terms.controllers.values())
    return Registry(shop.database, rules(shop), None, timedelta(days=30), controllers)


def portrait(shop: Shop) -> list[tuple[str, str, Fragment]]:
    """Every fragment there is with its root, opened."""
    found = []
    for kept in shop.rows("profiles"):
        member = next(
            m for m in seen(shop, kept["profile_id"]).members if m.profile_id == kept["profile_id"]
        )
        assert member.fragment is not None
        found.append((kept["profile_id"], kept["root_id"], member.fragment))
    return sorted(found, key=lambda one: one[0])


IDENTIFIERS = st.fixed_dictionaries(
    {},
    optional={
        "user_id": st.sampled_from(["u1", "u2", "u3"]),
        "email": st.sampled_from(["a@x.example", "b@x.example", "c@x.example"]),
        "anonymous_id": st.sampled_from(["v1", "v2"]),
    },
).filter(bool)
EVENTS = st.lists(
    st.tuples(IDENTIFIERS, st.integers(0, 59), st.sampled_from(["page_viewed", "signed"])),
    min_size=2,
    max_size=7,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=EVENTS, order=st.randoms(use_true_random=False))
def test_any_order_of_events_gives_the_same_people(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[dict[str, str], int, str]],
    order: Any,
) -> None:
    """People, traits and counters are a function of what happened, not of when it was heard."""
    said = [
        named(event, f"2026-10-05T08:{minute:02}:00Z", names, traits={"plan": f"p{number}"})
        | {"id": f"e-{number}"}
        for number, (names, minute, event) in enumerate(events)
    ]
    shuffled = list(said)
    order.shuffle(shuffled)
    told = []
    for rows in (said, shuffled):
        with open_shop(tmp_path_factory.mktemp("order") / "w") as shop:
            lines = shop.run(*rows)
            assert all(line["verdict"] not in ("dead", "duplicate") for line in lines)
            told.append(portrait(shop))
    assert told[0] == told[1]


def test_consents_follow_the_order_of_receipt(tmp_path: Path) -> None:
    """A yes from before a no, heard after it, is no yes; a no from before a yes is a conflict."""
    yes = consent("granted", "2026-10-05T08:00:00Z", email="a@x.example", id="yes")
    no = consent("denied", "2026-10-05T08:10:00Z", email="a@x.example", id="no")
    early_no = consent("denied", "2026-10-05T07:50:00Z", email="a@x.example", id="early")
    for number, (order, code) in enumerate(
        [
            ((yes, no), "consent"),
            ((no, yes), "consent"),
            ((yes, row("page_viewed", "2026-10-05T08:20:00Z"), early_no), "consent_conflict"),
        ]
    ):
        with open_shop(tmp_path / f"w{number}") as shop:
            shop.run(*order)
            line = shop.one(cart("2026-10-05T09:00:00Z"))
            explained = shop.deps.history.get(line["decision_id"]).record()
            assert explained is not None and f'["consent","{code}"]'.encode() in explained


def test_a_claimed_address_resolves_to_nobody(tmp_path: Path) -> None:
    """Two accounts with one address: whoever bears only the address is neither."""
    with open_shop(tmp_path / "w") as shop:
        mail = {"email": "family@x.example"}
        shop.run(
            named("page_viewed", "2026-10-05T08:00:00Z", {"user_id": "u1", **mail}),
            named("page_viewed", "2026-10-05T08:01:00Z", mail),
        )
        assert seen(shop, "user_id:u1").whole.events == 2
        shop.run(named("page_viewed", "2026-10-05T08:02:00Z", {"user_id": "u2", **mail}))
        assert seen(shop, "user_id:u1").whole.events == 1
        assert seen(shop, "user_id:u2").whole.events == 1
        with pytest.raises(UsageError, match="used by 3 people"):
            seen(shop, "email:family@x.example")
        (link,) = seen(shop, "user_id:u1").links
        assert link.why == "limit"


def test_a_logout_ends_what_a_device_tells(tmp_path: Path) -> None:
    """Who uses the device next is somebody else, and what was done in between is nobody's."""
    with open_shop(tmp_path / "w") as shop:
        device = {"anonymous_id": "till"}
        shop.run(
            named("page_viewed", "2026-10-05T08:00:00Z", device),
            named("page_viewed", "2026-10-05T08:01:00Z", {"user_id": "u1", **device}),
            named("page_viewed", "2026-10-05T08:02:00Z", device),
            named("logged_out", "2026-10-05T08:03:00Z", {"user_id": "u1", **device}),
            named("page_viewed", "2026-10-05T08:04:00Z", device),
            named("page_viewed", "2026-10-05T08:05:00Z", {"user_id": "u2", **device}),
            named("page_viewed", "2026-10-05T08:02:30Z", device, late=True),
        )
        assert seen(shop, "user_id:u1").whole.events == 5
        assert seen(shop, "user_id:u2").whole.events == 2


def test_nobody_is_recognised_who_refused(tmp_path: Path) -> None:
    """Without permission to personalise a device's history leaves, and comes back with a yes."""
    device = {"anonymous_id": "v1"}
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            named("page_viewed", "2026-10-05T08:00:00Z", device),
            named("page_viewed", "2026-10-05T08:01:00Z", {"user_id": "u1", **device}),
        )
        assert seen(shop, "user_id:u1").whole.events == 2
        shop.run(consent("denied", "2026-10-05T08:02:00Z", "u1", None, purpose="personalise"))
        assert len(seen(shop, "user_id:u1").members) == 1
        shop.run(
            consent(
                "granted", "2026-10-05T08:03:00Z", "u1", "email", purpose="personalise",
                email="a@x.example",
            )
        )  # fmt: skip
        assert len(seen(shop, "user_id:u1").members) == 2


def test_an_objection_to_everything_ends_recognition_for_good(tmp_path: Path) -> None:
    """It names no purpose, and is no less a no to that one; what is heard later changes nothing."""
    device = {"anonymous_id": "v1"}
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            named("page_viewed", "2026-10-05T08:00:00Z", device),
            named("page_viewed", "2026-10-05T08:01:00Z", {"user_id": "u1", **device}),
            consent("objection", "2026-10-05T08:02:00Z", "u1", None, purpose=None),
        )
        assert len(seen(shop, "user_id:u1").members) == 1
        shop.run(
            named("page_viewed", "2026-10-05T08:03:00Z", {"user_id": "u1", "email": "a@x.example"})
        )
        assert len(seen(shop, "user_id:u1").members) == 1
        (link,) = seen(shop, "user_id:u1").links
        assert link.why == "refused"


def test_an_old_yes_does_not_bring_recognition_back(tmp_path: Path) -> None:
    """A yes from before the no that is heard after it is none, as everywhere in the ledger."""
    device = {"anonymous_id": "v1"}
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            named("page_viewed", "2026-10-05T08:01:00Z", {"user_id": "u1", **device}),
            named("page_viewed", "2026-10-05T08:02:00Z", device),
            consent("denied", "2026-10-05T08:10:00Z", "u1", None, purpose="personalise"),
            consent("granted", "2026-10-05T08:05:00Z", "u1", "email", purpose="personalise"),
        )
        assert len(seen(shop, "user_id:u1").members) == 1
        shop.run(
            consent("granted", "2026-10-05T08:20:00Z", "u1", "email", purpose="personalise"),
        )
        assert len(seen(shop, "user_id:u1").members) == 2


def test_a_phone_that_will_not_be_tracked_joins_nobody(tmp_path: Path) -> None:
    """The row of zeros that stands for no device is nobody's in the workspace of `init`."""
    nothing = {"device_id": "00000000-0000-0000-0000-000000000000"}
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            named("page_viewed", "2026-10-05T08:00:00Z", {"email": "a@x.example", **nothing}),
            named("page_viewed", "2026-10-05T08:01:00Z", {"email": "b@x.example", **nothing}),
        )
        one, other = seen(shop, "email:a@x.example"), seen(shop, "email:b@x.example")
        assert one.profile_id != other.profile_id
        assert [known.ns for known in one.whole.identifiers] == ["email"]


@pytest.mark.parametrize("begin", ["events", "wake"])
def test_a_value_that_is_blocked_later_unlinks_whom_it_had_linked(
    tmp_path: Path, store: str, begin: str, caplog: pytest.LogCaptureFixture
) -> None:
    """From the next start, before anything is decided, they are several again, and a no from while
    they were one is on both sides; whom something else joins stays one."""
    folder, tablet = tmp_path / "w", {"device_id": "SHOP-TABLET"}
    with open_shop(folder, store=store, changes=ONLY_MAIL) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", "A", email="a@x.example"),
            named("page_viewed", "2026-10-05T08:01:00Z", {"email": "a@x.example", **tablet}),
            consent("granted", "2026-10-05T08:02:00Z", "B", email="b@x.example"),
            named("page_viewed", "2026-10-05T08:03:00Z", {"email": "b@x.example"}),
            named("page_viewed", "2026-10-05T08:04:00Z", {"phone": "+491711234567", **tablet}),
            named(
                "consent_changed", "2026-10-05T08:06:00Z", {"phone": "+491711234567"},
                value="objection", purpose="marketing",
            ),
        )  # fmt: skip
        assert seen(shop, "phone:+491711234567") == seen(shop, "user_id:A")
    blocked = ('device_id = ["null"', 'device_id = ["shop-tablet", "null"')
    caplog.clear()
    with open_shop(folder, store=store, changes={"settings.toml": blocked}) as shop:
        if begin == "wake":
            shop.wake("2026-10-05T08:30:00Z")
        lines = [shop.one(cart("2026-10-05T09:00:00Z", user, cart_id=f"k-{user}")) for user in "AB"]
        assert seen(shop, "phone:+491711234567") != seen(shop, "user_id:A")
        assert seen(shop, "email:a@x.example") == seen(shop, "user_id:A")
        assert [came_to(line)[1] for line in lines] == ["objection", None]
        assert objects(shop, "phone:+491711234567")
        (link,) = (one for one in seen(shop, "user_id:A").links if one.ns == "device_id")
        assert link.why == "blocked"
        assert verify(shop.database)
    (told,) = (one.message for one in caplog.records if "blocked" in one.message)
    assert told.endswith("was parted")


def test_16_denied_and_granted_on_one_key(tmp_path: Path, store: str) -> None:
    """Case 16: denied + granted, same key (p@x). After merge: denied; promo denied `consent`, next
    null, and no conflict."""
    mail = {"email": "p@x.example"}
    with open_shop(tmp_path / "w", store=store, changes=ONLY_MAIL) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", "u1", **mail),
            named(
                "consent_changed", "2026-10-05T08:10:00Z", {"anonymous_id": "v1"}, value="denied",
                channel="email", purpose="marketing", contact_point="p@x.example",
            ),
            named("page_viewed", "2026-10-05T08:20:00Z", {"user_id": "u1", "anonymous_id": "v1"}),
        )  # fmt: skip
        line = shop.one(cart("2026-10-05T09:00:00Z", "u1"))
        assert len(seen(shop, "user_id:u1").members) == 2
        assert came_to(line) == ("denied", "consent", None)
        assert against(shop, line, "remind_by_email") == ["consent"]


NO = {"value": "denied", "channel": "email", "contact_point": "p@x.example"}
TOPIC = {"topic": "carts"}


@pytest.mark.parametrize(
    ("no", "yes", "code"),
    [
        (NO, {}, "consent"),
        ({**NO, "purpose": "marketing"}, {}, "consent"),
        ({"value": "denied", "channel": "email"}, {}, "consent"),
        ({**NO, "purpose": "marketing"}, TOPIC, "consent"),
        ({**NO, "purpose": "marketing", **TOPIC}, {}, "consent"),
        ({"value": "objection", "purpose": "marketing"}, TOPIC, "objection"),
        ({**NO, "purpose": "marketing", "topic": "hats"}, {}, None),
        ({**NO, "channel": "sms", "contact_point": "+491701234567"}, {}, None),
    ],
)
@pytest.mark.parametrize("how", ["event", "ruling"])
def test_16_a_later_yes_of_another_fragment(
    tmp_path: Path, how: str, no: Names, yes: Names, code: str | None
) -> None:
    """Case 16 in the other order: one fragment said no, another yes, later, at that address. While
    they are two the yes holds; as one they are denied what both are about, the merging event's own
    message included, until the whole person agrees again."""
    mail = {"email": "p@x.example"}
    with open_shop(tmp_path / "w", changes=ONLY_MAIL) as shop:
        shop.run(
            named("consent_changed", "2026-10-05T08:00:00Z", {"anonymous_id": "v1"}, **no),
            consent("granted", "2026-10-05T08:10:00Z", "u1", **mail, **yes),
        )
        before = shop.one(cart("2026-10-05T09:00:00Z", "u1"))
        assert came_to(before)[:2] == ("permitted", None)
        if how == "event":
            joins = cart("2026-10-07T09:00:00Z", "u1", cart_id="k-2", anonymous_id="v1")
        else:
            registry(shop).merge(
                "user_id:u1", "anonymous_id:v1", by="ida", reason="", at=at("2026-10-07T08:00:00Z")
            )
            joins = cart("2026-10-07T09:00:00Z", "u1", cart_id="k-2")
        after = shop.one(joins)
        assert len(seen(shop, "user_id:u1").members) == 2
        assert came_to(after)[:2] == ("denied" if code else "permitted", code)
        later = shop.one(cart("2026-10-09T09:00:00Z", "u1", cart_id="k-3"))
        assert came_to(later)[:2] == ("denied" if code else "permitted", code)
        again = [one["topic"] for one in shop.rows("consents") if one["source"] == "merge"]
        about_hats = no.get("topic") == "hats"
        assert len(again) == (code is not None or about_hats)
        assert not about_hats or again == ["hats"]
        shop.run(consent("granted", "2026-10-10T08:00:00Z", "u1", **mail, **TOPIC))
        last = shop.one(cart("2026-10-12T09:00:00Z", "u1", cart_id="k-4"))
        assert came_to(last)[:2] == ("permitted", None)
        assert verify(shop.database)


def test_a_yes_from_while_they_were_one_holds_when_they_are_one_again(tmp_path: Path) -> None:
    """It replaced the no as the same person's, and goes on doing so; nothing is said again."""
    with open_shop(tmp_path / "w", changes=ONLY_MAIL) as shop:
        joined = {"user_id": "u1", "anonymous_id": "v1"}
        personal = {"purpose": "personalise", "email": "p@x.example"}
        shop.run(
            named("consent_changed", "2026-10-05T08:00:00Z", {"anonymous_id": "v1"}, **NO),
            named("page_viewed", "2026-10-05T08:05:00Z", joined),
            consent("granted", "2026-10-05T08:10:00Z", "u1", email="p@x.example"),
            consent("denied", "2026-10-05T08:20:00Z", "u1", None, purpose="personalise"),
        )
        assert len(seen(shop, "user_id:u1").members) == 1
        shop.run(consent("granted", "2026-10-05T08:30:00Z", "u1", **personal))
        assert len(seen(shop, "user_id:u1").members) == 2
        line = shop.one(cart("2026-10-05T09:00:00Z", "u1"))
        assert line["action"] == "remind_by_email"
        assert "merge" not in {one["source"] for one in shop.rows("consents")}


def test_the_preview_of_a_merge_says_what_it_denies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The yes that a merge ends is foretold, and the merge, done, says the same."""
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(
            named("consent_changed", "2026-10-05T08:00:00Z", {"anonymous_id": "v1"}, **NO),
            consent("granted", "2026-10-05T08:10:00Z", "u1", email="p@x.example"),
        )
    words = ["user_id:u1", "anonymous_id:v1", "--json", "--at", "2026-10-05T08:30:00Z"]
    words += ["--workspace", str(tmp_path / "w")]
    told = []
    for command in (["merge-preview"], ["merge"]):
        assert main(["profile", *command, *words]) == 0
        told.append(json.loads(capsys.readouterr().out)["consents_that_change"])
    assert told[0] == told[1]
    assert {(one["before"], one["after"]) for one in told[0]} == {("granted", "denied")}


def came_to(line: Mapping[str, Any]) -> tuple[str, str | None, str | None]:
    """Verdict, code and next eligible instant of a line."""
    return line["verdict"], line["code"], line["next_eligible_at"]


def merged(shop: Shop, newest: str = "b") -> tuple[str, str]:
    """Two people with an address each, ruled to be one; their roots before."""
    shop.run(
        consent("granted", "2026-10-05T08:00:00Z", "A", email="a@x.example"),
        consent("granted", "2026-10-05T08:01:00Z", "B", email="b@x.example"),
    )
    pair = seen(shop, "user_id:A").profile_id, seen(shop, "user_id:B").profile_id
    registry(shop).merge(
        "user_id:A", "user_id:B", by="ida", reason="she said so", at=at("2026-10-05T08:02:00Z")
    )
    assert seen(shop, "user_id:A") == seen(shop, "user_id:B")
    return pair


def undo(shop: Shop, when: str) -> None:
    """The two are two again."""
    registry(shop).unmerge("user_id:A", "user_id:B", by="ida", reason="wrong", at=at(when))


def against(shop: Shop, line: Mapping[str, Any], action: str) -> list[str]:
    """The codes that stood against an action."""
    data = shop.deps.history.get(line["decision_id"]).record()
    assert data is not None
    considered = json.loads(data)["thought"]["considered"]
    return next(
        [code for _, code in one["against"]] for one in considered if one["action"] == action
    )


def test_17_unmerge_with_consents(tmp_path: Path, store: str) -> None:
    """An objection through b and a later grant on a, to a topic. After the undo B: objection; A:
    the objection stays, the grant stands for that topic only."""
    with open_shop(tmp_path / "w", store=store, changes=ONLY_MAIL) as shop:
        merged(shop)
        shop.run(
            named(
                "consent_changed", "2026-10-05T08:10:00Z", {"email": "b@x.example"},
                value="objection",
            ),
            named(
                "consent_changed", "2026-10-05T08:20:00Z", {"email": "a@x.example"},
                value="granted", channel="email", purpose="marketing", topic="carts",
                contact_point="a@x.example",
            ),
        )  # fmt: skip
        undo(shop, "2026-10-05T08:30:00Z")
        of_a = shop.one(cart("2026-10-05T09:00:00Z", "A", cart_id="k-a"))
        of_b = shop.one(cart("2026-10-05T09:01:00Z", "B", cart_id="k-b"))
        assert came_to(of_a) == ("permitted", None, None)
        assert of_a["action"] == "remind_by_email"
        assert came_to(of_b) == ("denied", "objection", None)
        assert against(shop, of_b, "remind_by_email") == ["objection"]
        welcome = shop.one(row("signed_up", "2026-10-05T09:02:00Z", "A"))
        assert "objection" in against(shop, welcome, "welcome_email")
        assert came_to(welcome)[:2] == ("denied", "objection")


def test_18_the_cap_on_the_other_side_of_an_unmerge(tmp_path: Path, store: str) -> None:
    """Promo to b's address 10:00, undo 12:00, events 13:00: A permitted; B denied `frequency_cap`,
    next +1 d 10:00."""
    with open_shop(tmp_path / "w", store=store, changes=ONLY_MAIL) as shop:
        merged(shop, newest="b")
        sent = shop.one(
            named(
                "cart_abandoned", "2026-10-05T10:00:00Z", {"email": "b@x.example"}, value=80.0,
                cart_id="k-1",
            )
        )  # fmt: skip
        assert sent["action"] == "remind_by_email"
        assert b"b@x.example" in shop.sent("email")[0].read_bytes()
        undo(shop, "2026-10-05T12:00:00Z")
        of_a = shop.one(cart("2026-10-05T13:00:00Z", "A", cart_id="k-a"))
        of_b = shop.one(cart("2026-10-05T13:00:00Z", "B", cart_id="k-b"))
        assert came_to(of_a) == ("permitted", None, None)
        assert came_to(of_b) == ("denied", "frequency_cap", "2026-10-06T10:00:00.000Z")


def test_18_an_address_that_both_own(tmp_path: Path, store: str) -> None:
    """A contact that used an address both own counts for both: both denied."""
    both = "both@x.example"
    with open_shop(tmp_path / "w", store=store, changes=ONLY_MAIL) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", "A", email=both),
            consent("granted", "2026-10-05T08:01:00Z", "B", email=both),
        )
        registry(shop).merge(
            "user_id:A", "user_id:B", by="ida", reason="", at=at("2026-10-05T08:02:00Z")
        )
        assert shop.one(cart("2026-10-05T10:00:00Z", "A"))["action"] == "remind_by_email"
        undo(shop, "2026-10-05T12:00:00Z")
        for user in "AB":
            line = shop.one(cart("2026-10-05T13:00:00Z", user, cart_id=f"k-{user}"))
            assert came_to(line) == ("denied", "frequency_cap", "2026-10-06T10:00:00.000Z")


def test_a_no_outlives_a_change_of_root(tmp_path: Path) -> None:
    """Who stands for a person may change while they are one: what was said before still stays."""
    with open_shop(tmp_path / "w") as shop:
        one, _ = merged(shop)
        assert seen(shop, "user_id:B").profile_id == one
        shop.run(
            named(
                "consent_changed", "2026-10-05T08:10:00Z", {"email": "b@x.example"},
                value="objection",
            ),
            row("page_viewed", "2026-10-05T08:20:00Z", "A"),
            named("page_viewed", "2026-10-05T07:00:00Z", {"user_id": "B"}),
        )  # fmt: skip
        assert seen(shop, "user_id:A").profile_id != one
        undo(shop, "2026-10-05T08:30:00Z")
        assert objects(shop, "user_id:A")
        assert objects(shop, "user_id:B")


def test_a_no_from_before_a_merge_stays_where_it_was_said(tmp_path: Path) -> None:
    """Only what was said while they were one goes on for both."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(row("page_viewed", "2026-10-05T07:00:00Z", "B"))
        shop.run(consent("objection", "2026-10-05T07:30:00Z", "B", None, purpose=None))
        merged(shop)
        undo(shop, "2026-10-05T08:30:00Z")
        assert objects(shop, "user_id:B")
        assert not objects(shop, "user_id:A")


def objects(shop: Shop, who: str) -> bool:
    """Whether an objection of somebody's own is on record."""
    found = seen(shop, who)
    mine = {member.profile_id for member in found.members}
    return any(one.line.kind == "objection" and one.line.profile_id in mine for one in found.said)


def test_a_block_and_a_restriction_stay_on_both_sides(tmp_path: Path, store: str) -> None:
    """What was blocked of a person while they were one is blocked of both after the undo."""
    with open_shop(tmp_path / "w", store=store) as shop:
        merged(shop)
        shop.run(
            named(
                "suppression_added", "2026-10-05T08:10:00Z", {"email": "b@x.example"},
                target="person", blocks="all", reason="deceased",
            )
        )  # fmt: skip
        restrict(shop, "user_id:A", at("2026-10-05T08:11:00Z"))
        undo(shop, "2026-10-05T08:30:00Z")
        for user in "AB":
            line = shop.one(cart("2026-10-05T09:00:00Z", user, cart_id=f"k-{user}"))
            codes = against(shop, line, "remind_by_email")
            assert "suppressed" in codes
            assert "restricted" in codes
        assert verify(shop.database)


def restrict(shop: Shop, who: str, when: datetime) -> None:
    """Somebody's data are kept and not used."""
    work, profile_id = Work(), seen(shop, who).profile_id
    with shop.database.read() as snapshot:
        requests.write(
            work, snapshot, shop.database.vault, profile_id=profile_id,
            kind="restrict", state="done", received_at=when, at=when, by="ida", said={},
        )  # fmt: skip
    assert shop.database.commit([work])[0]


def test_what_neither_claims_is_denied_to_both(tmp_path: Path, store: str) -> None:
    """An address first seen while they were one, and neither's after the undo, takes a new yes."""
    with open_shop(tmp_path / "w", store=store, changes=ONLY_MAIL) as shop:
        merged(shop)
        device = {"anonymous_id": "v1"}
        new = {"email": "n@x.example"}
        shop.run(
            named("page_viewed", "2026-10-05T08:05:00Z", {"user_id": "A", **device}),
            named("page_viewed", "2026-10-05T08:06:00Z", {"user_id": "B", **device}),
            named(
                "consent_changed", "2026-10-05T08:07:00Z", {**new, **device}, value="granted",
                channel="email", purpose="marketing",
            ),
        )  # fmt: skip
        assert seen(shop, "email:n@x.example") == seen(shop, "user_id:A")
        undo(shop, "2026-10-05T08:30:00Z")
        nobodys = seen(shop, "email:n@x.example").profile_id
        assert nobodys not in {seen(shop, f"user_id:{one}").profile_id for one in "AB"}
        shop.run(named("page_viewed", "2026-10-05T08:40:00Z", {"user_id": "B", **new}))
        assert seen(shop, "email:n@x.example") == seen(shop, "user_id:B")
        answers = {
            one.line.kind for one in seen(shop, "user_id:B").said if one.address in new.values()
        }
        assert answers == {"grant", "denial"}
        line = shop.one(
            named(
                "cart_abandoned",
                "2026-10-05T09:00:00Z",
                {"user_id": "B", **new},
                value=80.0,
                cart_id="k",
            )
        )
        assert came_to(line) == ("denied", "consent", None)


def test_a_ruling_is_kept_and_outlasts_new_evidence(tmp_path: Path) -> None:
    """People ruled apart stay so whatever they share later; the record of it verifies."""
    with open_shop(tmp_path / "w") as shop:
        merged(shop)
        undo(shop, "2026-10-05T08:30:00Z")
        shop.run(
            named("page_viewed", "2026-10-05T08:40:00Z", {"user_id": "A", "anonymous_id": "v"}),
            named(
                "page_viewed", "2026-10-05T08:41:00Z", {"email": "b@x.example", "anonymous_id": "v"}
            ),
        )
        assert seen(shop, "user_id:A").profile_id != seen(shop, "user_id:B").profile_id
        assert [kept["ruling"] for kept in shop.rows("rulings")] == ["together", "apart"]
        assert verify(shop.database)


def test_of_two_runs_of_one_journey_the_earlier_stays(tmp_path: Path) -> None:
    """A merge leaves one run of a journey that is the person's; the other ends `merged`."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            row("signed_up", "2026-10-05T08:00:00Z", "A"),
            row("signed_up", "2026-10-05T08:01:00Z", "B"),
        )
        registry(shop).merge(
            "user_id:A", "user_id:B", by="ida", reason="", at=at("2026-10-05T08:02:00Z")
        )
        kept = sorted(shop.rows("instances"), key=lambda one: one["entered_at"])
        assert [one["state"] for one in kept] == ["active", "merged"]


def test_what_cannot_be_ruled_is_told(tmp_path: Path) -> None:
    """Nobody, one person already, two people already: each says what to do."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            row("page_viewed", "2026-10-05T08:00:00Z", "A"),
            row("page_viewed", "2026-10-05T08:01:00Z", "B"),
        )
        people = registry(shop)
        for ask, one, other, says in (
            (people.preview_merge, "user_id:A", "user_id:A", "one person already"),
            (people.preview_merge, "user_id:A", "user_id:Z", "nobody is known"),
            (people.preview_unmerge, "user_id:A", "user_id:B", "two people already"),
            (people.preview_unmerge, "user_id:A", "user_id:A", "one fragment"),
            (people.preview_unmerge, "p-x", "user_id:A", "no fragment"),
        ):
            with pytest.raises(UsageError, match=says):
                ask(one, other, at("2026-10-05T09:00:00Z"))


def test_merges_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Previewed, done, seen, undone: every step says what it comes to."""
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(
            consent(
                "granted", "2026-10-05T08:00:00Z", "A", email="a@x.example", traits={"plan": "gold"}
            ),
            consent(
                "denied", "2026-10-05T08:01:00Z", "B", email="a@x.example", traits={"plan": "free"}
            ),
        )
    place = ["--workspace", str(tmp_path / "w")]
    assert main(["profile", "merge-preview", "user_id:A", "user_id:B", "--json", *place]) == 0
    preview = json.loads(capsys.readouterr().out)
    plans = preview["traits_that_differ"]["plan"]
    assert set(plans["before"].values()) == {"gold", "free"}
    assert list(plans["after"].values()) == ["free"]
    assert len(preview["before"]) == 2
    assert len(preview["after"]) == 1
    assert main(["profile", "merge", "user_id:A", "user_id:B", "--reason", "same", *place]) == 0
    assert "after:" in capsys.readouterr().out
    assert main(["profile", "unmerge", "user_id:A", "user_id:B", "--preview", *place]) == 0
    assert capsys.readouterr().out.count("after:") == 2
    assert main(["profile", "unmerge", "user_id:A", "user_id:B", *place]) == 0
    assert main(["profile", "unmerge", "user_id:A", "user_id:B", *place]) == 2
    assert "two people already" in capsys.readouterr().err


def test_the_preview_of_an_undo_says_what_the_undo_keeps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An objection from while they were one stays on both sides: no answer is foretold otherwise,
    and the undo, done, says the same."""
    with open_shop(tmp_path / "w", store=None) as shop:
        merged(shop)
        shop.run(
            consent("objection", "2026-10-05T08:10:00Z", "B", channel=None, email="b@x.example")
        )
    sides = ["user_id:A", "user_id:B", "--json", "--at", "2026-10-05T08:30:00Z"]
    place = ["--workspace", str(tmp_path / "w")]
    told = []
    for more in (["--preview"], ["--reason", "wrong"]):
        assert main(["profile", "unmerge", *sides, *more, *place]) == 0
        told.append(json.loads(capsys.readouterr().out)["consents_that_change"])
    assert told[0] == told[1]
    assert not [one for one in told[0] if one["before"] == "objection"]
    with open_shop(tmp_path / "w", store=None) as shop:
        for one in ("A", "B"):
            line = shop.one(cart("2026-10-05T09:00:00Z", one, cart_id=f"k-{one}"))
            assert "objection" in against(shop, line, "remind_by_email")


def test_a_person_shows_who_ruled_on_them_when_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every ruling on a fragment of the person, in order; also of who was ruled apart from them."""
    with open_shop(tmp_path / "w", store=None) as shop:
        pair = merged(shop)
        undo(shop, "2026-10-05T08:30:00Z")
    place = ["--workspace", str(tmp_path / "w")]
    told = [
        ("together", "2026-10-05T08:02:00.000Z", "ida", "she said so"),
        ("apart", "2026-10-05T08:30:00.000Z", "ida", "wrong"),
    ]
    for who in ("A", "B"):
        assert main(["profile", "show", f"user_id:{who}", "--json", *place]) == 0
        rulings = json.loads(capsys.readouterr().out)["rulings"]
        assert [tuple(one[k] for k in ("ruling", "at", "by", "reason")) for one in rulings] == told
        assert [one["fragments"] for one in rulings] == [sorted(pair)] * 2
        assert main(["profile", "show", f"user_id:{who}", *place]) == 0
        said = capsys.readouterr().out.partition("rulings\n")[2].splitlines()
        assert "2026-10-05 08:02  ida: she said so" in said[0]
        assert "2026-10-05 08:30  ida: wrong" in said[1]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=EVENTS, size=st.integers(2, 8))
def test_events_at_once_give_the_same_people(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[dict[str, str], int, str]],
    size: int,
) -> None:
    """Events decided together, about people who turn out to be one, come to the same."""
    told = []
    for at_once in (1, size):
        with open_shop(tmp_path_factory.mktemp("batch") / "w") as shop:
            arrivals = []
            for number, (names, minute, event) in enumerate(events):
                when = f"2026-10-05T08:{minute:02}:00Z"
                said = named(event, when, names, traits={"plan": f"p{number}"})
                raw = json.dumps(said | {"id": f"e-{number}"}).encode()
                now = at("2026-10-05T10:00:00Z")
                (read,) = shop.assembly.reading.read(raw, received_at=now, place="x")
                assert isinstance(read, Event)
                arrivals.append(Arrival(read, now))
            for start in range(0, len(arrivals), at_once):
                lines = asyncio.run(decided(shop, arrivals[start : start + at_once]))
                assert all(line.decision is not None for line in lines)
            told.append(portrait(shop))
    assert told[0] == told[1]


async def decided(shop: Shop, arrivals: Sequence[Arrival]) -> tuple[Line, ...]:
    """What a shop makes of arrivals that it is given at once."""
    return await through_steps(shop.deps)(arrivals)
