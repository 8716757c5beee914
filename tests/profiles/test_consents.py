"""What customers say about consent, in whichever way they say it, and what it then means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from profiles.words import read_words
from tests.shop import Shop, cart, consent, open_shop, row
from traces.ledger import verify

PHONE = "+491701234567"
MAIL = "maya@example.com"
ACTIONS = "actions: [remind_by_email, remind_by_sms, cart_banner]"
SMALL = {"policies/contact.yaml": ('window: "08:00-21:00"', 'window: "00:01-23:59"')}


def message(text: str, when: str, user: str = "c-1", **more: Any) -> dict[str, Any]:
    """A text message from the customer's phone to the shop."""
    said = {"channel": "sms", "text": text, "from": PHONE, "message_id": f"m-{when}", **more}
    return row("message_received", when, user, phone=PHONE, **said)


def sms_grant(when: str = "2026-10-05T08:00:00Z") -> dict[str, Any]:
    return consent("granted", when, channel="sms", phone=PHONE)


def by_action(shop: Shop, when: str, cart_id: str) -> dict[str, tuple[str, ...]]:
    """The codes against each action that a cart left behind could lead to."""
    line = shop.one(cart(when, cart_id=cart_id))
    kept = shop.deps.history.get(line["decision_id"]).record()
    assert kept is not None
    from agents.record import read_record

    thought = read_record(kept).thought
    return {one.action: tuple(code for _, code in one.against) for one in thought.considered}


@pytest.mark.parametrize("text", ["Alto.", "No más mensajes", "STOP!", "S T O P", "arrêt", "退订"])
def test_a_stop_word_of_any_language_ends_messages(tmp_path: Path, text: str) -> None:
    """Case 13: the whole message, folded, is a no to all marketing of the brand at the number."""
    with open_shop(tmp_path / "w", changes=SMALL) as shop:
        shop.run(sms_grant())
        confirmed = shop.one(message(text, "2026-10-05T09:00:00Z"))
        assert (confirmed["verdict"], confirmed["action"]) == ("permitted", "confirm_stop")
        (no,) = [line for line in shop.rows("consents") if line["kind"] == "denial"]
        assert (no["brand"], no["channel"], no["purpose"]) == ("shop", "sms", None)
        assert no["contact_point"] is not None
        assert "consent" in by_action(shop, "2026-10-05T09:01:00Z", "k-1")["remind_by_sms"]
        again = shop.one(message(text, "2026-10-05T09:02:00Z"))
        assert again["verdict"] == "none"


@pytest.mark.parametrize("text", ["Alto.", "No más mensajes"])
def test_case_13_a_stop_in_another_language_than_the_customers(tmp_path: Path, text: str) -> None:
    """Exactly: denied for shop, the number, SMS, all marketing; one confirmation; the promotion
    denied `consent`, no time at which it could go; "Don't stop!" is `consent_conflict`."""
    changes = SMALL | {"journeys/abandoned_cart.yaml": (ACTIONS, "actions: [remind_by_sms]")}
    american = row("signed_up", "2026-10-05T07:59:00Z", phone=PHONE, traits={"locale": "en-US"})
    with open_shop(tmp_path / "w", changes=changes) as shop:
        shop.run(american, sms_grant())
        confirmed = shop.one(message(text, "2026-10-05T09:00:00Z"))
        assert (confirmed["verdict"], confirmed["action"]) == ("permitted", "confirm_stop")
        (no,) = [line for line in shop.rows("consents") if line["kind"] == "denial"]
        ref = shop.database.vault.fingerprint("identifier", "phone", PHONE)
        said = [no[key] for key in ("brand", "channel", "purpose", "topic", "contact_point")]
        assert said == ["shop", "sms", None, None, ref]
        promo = shop.one(cart("2026-10-05T09:01:00Z"))
        assert (promo["verdict"], promo["code"], promo["next_eligible_at"]) == (
            "denied", "consent", None,
        )  # fmt: skip
        assert len(shop.sent("sms")) == 1
    with open_shop(tmp_path / "v", changes=changes) as shop:
        shop.run(american, sms_grant(), message("Don't stop!", "2026-10-05T09:00:00Z"))
        promo = shop.one(cart("2026-10-05T09:01:00Z"))
        assert (promo["verdict"], promo["code"], promo["next_eligible_at"]) == (
            "denied", "consent_conflict", None,
        )  # fmt: skip
        assert shop.sent("sms") == []


def test_a_late_confirmation_is_stale(tmp_path: Path) -> None:
    """Case 13: five minutes after the STOP its confirmation is denied, `stale_event`."""
    verdicts = []
    for name, now in (("v", "2026-10-05T09:05:00Z"), ("w", "2026-10-05T09:05:00.001Z")):
        with open_shop(tmp_path / name, changes=SMALL) as shop:
            beside = row("page_viewed", now, "somebody-else")
            line = shop.run(sms_grant(), beside, message("Alto.", "2026-10-05T09:00:00Z"))[-1]
            verdicts.append((line["action"], line["verdict"], line["code"]))
    assert verdicts == [("confirm_stop", "permitted", None), ("no_action", "denied", "stale_event")]


def test_a_message_that_contains_a_stop_word_is_a_conflict_until_resolved(tmp_path: Path) -> None:
    """Case 13: "Don't stop!" blocks, `consent_conflict`, until a later explicit statement."""
    with open_shop(tmp_path / "w", changes=SMALL) as shop:
        shop.run(sms_grant(), message("Don't stop!", "2026-10-05T09:00:00Z"))
        against = by_action(shop, "2026-10-05T09:01:00Z", "k-1")["remind_by_sms"]
        assert "consent_conflict" in against
        shop.run(sms_grant("2026-10-05T09:02:00Z"))
        against = by_action(shop, "2026-10-05T09:03:00Z", "k-2")["remind_by_sms"]
        assert "consent_conflict" not in against
        assert "consent" not in against


def test_a_classifiers_suspicion_is_a_conflict_until_resolved(tmp_path: Path) -> None:
    """It blocks, `consent_conflict`, at that address; an explicit yes that is later clears it."""
    changes = {"journeys/abandoned_cart.yaml": (ACTIONS, "actions: [remind_by_email]")}
    with open_shop(tmp_path / "w", changes=changes) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email=MAIL),
            consent("suspicion", "2026-10-05T08:10:00Z", email=MAIL, reason="0.8 an opt-out"),
        )
        assert by_action(shop, "2026-10-05T09:00:00Z", "k-1") == {
            "remind_by_email": ("consent_conflict",)
        }
        shop.run(consent("granted", "2026-10-05T10:00:00Z", email=MAIL))
        assert by_action(shop, "2026-10-05T11:00:00Z", "k-2") == {"remind_by_email": ()}


@pytest.mark.parametrize(("text", "allowed"), [("START", True), ("unstop", True), ("YES", False)])
def test_only_start_brings_messages_back(tmp_path: Path, text: str, allowed: bool) -> None:
    """START and UNSTOP are a yes after a STOP; YES is none."""
    with open_shop(tmp_path / "w", changes=SMALL) as shop:
        shop.run(sms_grant(), message("STOP", "2026-10-05T09:00:00Z"))
        shop.run(message(text, "2026-10-05T09:10:00Z"))
        against = by_action(shop, "2026-10-05T09:11:00Z", "k-1")["remind_by_sms"]
        assert ("consent" not in against) == allowed


@pytest.mark.parametrize("text", ["HELP", "YES", "thanks", "the weekend", "stopped by", ""])
def test_other_messages_say_nothing_about_consent(text: str) -> None:
    """Only a stop word, whole or as a word of its own, restricts."""
    assert read_words().meaning(text) is None


def test_a_workspace_adds_stop_words_of_its_own(tmp_path: Path) -> None:
    """`[input] stop_words` is read beside the list that comes with the program."""
    more = {"settings.toml": ('source = "shop"', 'source = "shop"\nstop_words = ["Ruhe jetzt"]')}
    with open_shop(tmp_path / "w", changes=more) as shop:
        shop.run(sms_grant(), message("ruhe, JETZT", "2026-10-05T09:00:00Z"))
        assert [line["kind"] for line in shop.rows("consents")] == ["grant", "denial"]


def test_a_stop_by_one_user_of_a_phone_holds_for_the_other(tmp_path: Path) -> None:
    """A no belongs to the number, for whoever uses it."""
    with open_shop(tmp_path / "w", changes=SMALL) as shop:
        shop.run(
            sms_grant(),
            message("STOP", "2026-10-05T09:00:00Z", "c-2"),
        )
        assert "consent" in by_action(shop, "2026-10-05T09:01:00Z", "k-1")["remind_by_sms"]


def test_one_click_without_a_purpose_ends_all_marketing_at_the_address(tmp_path: Path) -> None:
    """Case 12: denied for shop, the address, e-mail, all marketing; a second adds no row."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email=MAIL))
        for minute in (0, 1):
            shop.run(row("unsubscribed", f"2026-10-05T09:0{minute}:00Z", contact_point=MAIL))
        (no,) = [line for line in shop.rows("consents") if line["kind"] == "denial"]
        assert (no["brand"], no["channel"], no["purpose"]) == ("shop", "email", None)
        against = by_action(shop, "2026-10-05T09:02:00Z", "k-1")["remind_by_email"]
        assert "consent" in against
        order = row("checkout_failed", "2026-10-05T09:03:00Z", order_id="o-1")
        assert shop.one(order)["verdict"] == "permitted"
        shop.run(consent("granted", "2026-10-05T09:10:00Z", email=MAIL))
        shop.run(row("unsubscribed", "2026-10-05T09:11:00Z", contact_point=MAIL))
        assert [line["kind"] for line in shop.rows("consents")].count("denial") == 2


def test_gpc_denies_sale_and_targeting_and_nothing_else(tmp_path: Path) -> None:
    """GPC is written once, sticks, and leaves the grant of e-mail alone."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email=MAIL))
        for minute in (1, 2, 3):
            shop.run(row("page_viewed", f"2026-10-05T09:0{minute}:00Z", gpc=True))
        shop.run(row("page_viewed", "2026-10-05T09:04:00Z", gpc=False))
        kept = [(line["kind"], line["purpose"]) for line in shop.rows("consents")]
        assert kept == [
            ("grant", "marketing"),
            ("denial", "sale_share"),
            ("denial", "targeted_ads"),
        ]
        assert "consent" not in by_action(shop, "2026-10-05T09:05:00Z", "k-1")["remind_by_email"]


def test_attached_preferences_are_written_only_where_they_change_something(tmp_path: Path) -> None:
    """Segment's mapped categories are read: true grants, false denies, absent is unset."""
    mapped = (
        'source = "shop"\n[input.consent_categories]\n'
        'News = {purpose = "marketing", channel = "email"}\n'
        'Ads = {purpose = "targeted_ads"}'
    )
    changes = {"settings.toml": ('source = "shop"', mapped)}
    with open_shop(tmp_path / "w", changes=changes) as shop:
        for minute, said in enumerate(
            [
                {"News": True, "Ads": False, "Unheard": False},
                {"News": True, "Ads": False},
                {"News": False},
                {"News": True},
            ]
        ):
            page = {
                "type": "page",
                "userId": "c-1",
                "messageId": f"m-{minute}",
                "timestamp": f"2026-10-05T09:0{minute}:00Z",
                "traits": {"email": MAIL},
                "context": {"consent": {"categoryPreferences": said}, "traits": {"email": MAIL}},
            }
            shop.run(page)
        kept = [(line["kind"], line["purpose"]) for line in shop.rows("consents")]
        assert kept == [
            ("grant", "marketing"),
            ("denial", "targeted_ads"),
            ("denial", "marketing"),
            ("grant", "marketing"),
        ]


def test_adobes_consents_are_read(tmp_path: Path) -> None:
    """A no to a channel is a no to all marketing there, a yes to promotions there only."""
    choices = {
        "marketing": {"email": {"val": "y"}, "sms": {"val": "n"}, "any": {"val": "u"}},
        "share": {"val": "n"},
        "personalize": {"content": {"val": "n"}},
        "metadata": {"time": "2026-10-05T07:00:00Z"},
    }
    record = {
        "_id": "x-1",
        "timestamp": "2026-10-05T08:00:00Z",
        "identityMap": {"CRMID": [{"id": "c-1"}], "Email": [{"id": MAIL}]},
        "eventType": "web.page",
        "consents": choices,
    }
    with open_shop(tmp_path / "w") as shop:
        shop.run(record)
        shop.run(record | {"_id": "x-2", "timestamp": "2026-10-05T09:00:00Z"})
        kept = {(line["kind"], line["channel"], line["purpose"]) for line in shop.rows("consents")}
        assert kept == {
            ("denial", None, "sale_share"),
            ("denial", None, "personalise"),
            ("grant", "email", "marketing"),
            ("denial", "sms", None),
        }
        assert len(shop.rows("consents")) == 4


@pytest.mark.parametrize("said", ["false", "No", 0, False])
def test_a_category_that_lost_its_type_is_a_no_and_never_a_yes(tmp_path: Path, said: Any) -> None:
    """A no that became text on its way is obeyed; a yes that did is none."""
    mapped = (
        'source = "shop"\n[input.consent_categories]\n'
        'News = {purpose = "marketing", channel = "email"}\n'
        'Texts = {purpose = "marketing", channel = "sms"}'
    )
    call = {
        "type": "page",
        "userId": "c-1",
        "messageId": "m-1",
        "timestamp": "2026-10-05T09:00:00Z",
        "traits": {"email": MAIL},
        "context": {"consent": {"categoryPreferences": {"News": said, "Texts": "true"}}},
    }
    with open_shop(tmp_path / "w", changes={"settings.toml": ('source = "shop"', mapped)}) as shop:
        shop.run(call)
        kept = [(line["kind"], line["channel"]) for line in shop.rows("consents")]
        assert kept == [("denial", "email")]


def test_what_adobe_says_of_one_address_holds_there_alone(tmp_path: Path) -> None:
    """`idSpecific`: a no at the old address leaves the new one; a no of a device denies the use."""
    old, new = {"id": "former@example.com"}, {"id": MAIL}
    own = {
        "Email": {
            "former@example.com": {"marketing": {"email": {"val": "n"}, "sms": {"val": "y"}}},
            MAIL: {"marketing": {"email": {"val": "y"}}},
        },
        "IDFA": {"d-1": {"adID": {"val": "n"}, "share": {"val": "y"}}},
    }
    record = {
        "_id": "x-1",
        "timestamp": "2026-10-05T08:00:00Z",
        "identityMap": {"CRMID": [{"id": "c-1"}], "Email": [old, new]},
        "eventType": "web.page",
        "consents": {"idSpecific": own},
    }
    with open_shop(tmp_path / "w") as shop:
        shop.run(record)
        kept = {(line["kind"], line["channel"], line["purpose"]) for line in shop.rows("consents")}
        assert kept == {
            ("denial", "email", None),
            ("grant", "email", "marketing"),
            ("denial", None, "targeted_ads"),
        }
        line = shop.one(cart("2026-10-05T09:00:00Z"))
        assert line["action"] == "remind_by_email"
        (letter,) = shop.sent("email")
        assert MAIL in letter.read_text()


def test_an_imported_yes_never_undoes_a_no(tmp_path: Path) -> None:
    """A bulk import's yes counts only where nobody said no."""
    with open_shop(tmp_path / "w") as shop:
        yes = consent("granted", "2026-10-05T08:30:00Z", email=MAIL, bulk=True)
        shop.run(consent("denied", "2026-10-05T08:00:00Z", email=MAIL), yes)
        assert "consent" in by_action(shop, "2026-10-05T09:00:00Z", "k-1")["remind_by_email"]
    with open_shop(tmp_path / "v") as shop:
        shop.run(yes)
        assert "consent" not in by_action(shop, "2026-10-05T09:00:00Z", "k-1")["remind_by_email"]


def test_a_yes_lapses_when_the_address_changes_hands(tmp_path: Path, store: str) -> None:
    """Of whoever gave it, at that address alone; the new user's yes counts, an old one that is
    heard late does not."""
    old, new = {"channel": "sms", "phone": PHONE}, {"channel": "sms", "phone": "+491709999999"}
    changes = {"journeys/abandoned_cart.yaml": (ACTIONS, "actions: [remind_by_sms]")}
    with open_shop(tmp_path / "w", store=store, changes=changes) as shop:

        def told(user: str, when: str) -> str:
            line = shop.one(cart(when, user, cart_id=f"{user}-{when}"))
            return str(line["code"] or line["action"])

        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", "ann", **old),
            consent("granted", "2026-10-05T08:01:00Z", "bob", **new),
        )
        assert told("ann", "2026-10-05T09:00:00Z") == "remind_by_sms"
        shop.run(
            row("address_reassigned", "2026-10-06T08:00:00Z", "carrier", contact_point=PHONE),
            consent("granted", "2026-10-05T09:30:00Z", "ann", id="told late", **old),
        )
        assert told("ann", "2026-10-09T10:00:00Z") == "consent"
        assert told("bob", "2026-10-09T10:00:00Z") == "remind_by_sms"
        shop.run(consent("granted", "2026-10-10T08:00:00Z", "eve", **old))
        assert told("eve", "2026-10-10T09:00:00Z") == "remind_by_sms"
        assert told("ann", "2026-10-10T10:00:00Z") == "consent"
        controllers = {one["controller"] for one in shop.rows("consents") if one["kind"] == "lapse"}
        assert controllers == set(shop.deps.people.terms.controllers.values())
        assert verify(shop.database)


def test_an_address_that_changed_hands_is_named(tmp_path: Path) -> None:
    """Without the address nobody knows what lapsed: the row is a dead letter that says so."""
    with open_shop(tmp_path / "w") as shop:
        line = shop.one(row("address_reassigned", "2026-10-06T08:00:00Z"))
        assert (line["verdict"], line["code"]) == ("dead", "invalid_field")
