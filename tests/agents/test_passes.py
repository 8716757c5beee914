from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from policies.rules.quiet import QuietHours
from store.instants import micros
from tests.shop import at, cart, consent, open_shop, row

PHONE = "+4915123456789"  # Germany: UTC+2 in October, UTC+1 in November


def test_what_is_held_for_the_night_is_sent_in_the_morning_after_a_new_look(
    tmp_path: Path,
) -> None:
    """A deferred message is asked about again when its window opens, and sent then, once."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(consent("granted", "2026-10-05T09:00:00Z", channel="sms", phone=PHONE))
        held = shop.one(cart("2026-10-05T20:30:00Z"))
        assert (held["verdict"], held["held_for"], held["code"]) == ("held", "time", "quiet_hours")
        assert held["next_eligible_at"] == "2026-10-06T06:00:00.000Z"
        assert not shop.rows("contacts")
        assert shop.wake("2026-10-06T05:59:59Z") == []
        (sent,) = shop.wake("2026-10-06T09:00:00Z")
        assert (sent["verdict"], sent["action"], sent["pass"]) == (
            "permitted",
            "remind_by_sms",
            "release",
        )
        assert "2026-10-06T06:00" <= sent["at"] < "2026-10-06T06:02"
        assert sent["parent_id"] == held["decision_id"]
        assert shop.wake("2026-10-07T09:00:00Z") == []
        assert len(shop.sent("sms")) == 1


@pytest.mark.parametrize(("more", "minutes"), [("", 2), ('\n[releases]\nspread = "30m"', 30)])
def test_what_waits_for_one_hour_is_spread_over_its_first_minutes(
    tmp_path: Path, more: str, minutes: int
) -> None:
    """Many wait for eight o'clock: each is told when it could pass, and none goes with another."""
    changes = {"settings.toml": ("[store]", f"{more}\n[store]")}
    with open_shop(tmp_path / "w", changes=changes) as shop:
        for n in range(40):
            user, phone = f"c-{n}", f"+49151234567{n:02}"
            shop.run(consent("granted", "2026-10-05T09:00:00Z", user, channel="sms", phone=phone))
            held = shop.one(cart("2026-10-05T20:30:00Z", user))
            assert held["next_eligible_at"] == "2026-10-06T06:00:00.000Z"
        opens, span = micros(at("2026-10-06T06:00:00Z")), minutes * 60_000_000
        due = sorted(one["due_at"] - opens for one in shop.rows("timers"))
        assert len(set(due)) == 40
        assert 0 <= due[0] < span / 4
        assert span * 3 / 4 < due[-1] < span
        assert (
            len(shop.wake((at("2026-10-06T06:00:00Z") + timedelta(minutes=minutes)).isoformat()))
            == 40
        )
        assert len(shop.sent("sms")) == 40


def test_what_waits_for_its_own_time_goes_at_it(tmp_path: Path) -> None:
    """A cap that rolls lets everybody go at another instant: nothing is to be spread."""
    deferred = (
        '    channels: [email, sms]\n    reason: "one',
        '    channels: [email, sms]\n    on_capped: defer\n    reason: "one',
    )
    with open_shop(tmp_path / "w", changes={"policies/contact.yaml": deferred}) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
            cart("2026-10-05T09:00:07Z"),
        )
        held = shop.one(cart("2026-10-05T20:30:00Z", cart_id="k-2"))
        assert (held["held_for"], held["code"]) == ("time", "frequency_cap")
        (sent,) = shop.wake("2026-10-07T09:00:00Z")
        assert sent["at"] == held["next_eligible_at"] == "2026-10-06T09:00:07.000Z"


def test_what_is_held_falls_with_the_consent(tmp_path: Path) -> None:
    """A no that comes while a message waits ends the waiting at once, and nothing is sent."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T09:00:00Z", channel="sms", phone=PHONE),
            cart("2026-10-05T20:30:00Z"),
        )
        lines = shop.run(consent("objection", "2026-10-05T23:00:00Z", channel=None))
        (after,) = [line for line in lines if line["pass"] == "release"]
        assert (after["verdict"], after["code"]) == ("denied", "objection")
        assert shop.wake("2026-10-06T09:00:00Z") == []
        assert not shop.sent()


def test_case_11_a_stop_by_the_other_user_of_a_phone_stops_what_waits_for_the_first(
    tmp_path: Path,
) -> None:
    """A denial belongs to the number, so it holds for everybody who uses it."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T09:00:00Z", "c-p", channel="sms", phone=PHONE),
            cart("2026-10-05T20:30:00Z", "c-p"),
        )
        # Q is another person (the number is at its limit of none: it is shared, not merged).
        shop.run(row("identified", "2026-10-05T21:00:00Z", "c-q", phone=PHONE))
        lines = shop.run(consent("denied", "2026-10-05T22:00:00Z", "c-q", channel="sms"))
        after = [line for line in lines if line["pass"] == "release"]
        assert [line["code"] for line in after] == ["consent"]
        assert after[0]["profile_id"] != lines[0]["profile_id"]
        assert shop.wake("2026-10-06T09:00:00Z") == []
        assert not shop.sent("sms")


def test_case_22_a_kill_switch_while_deferred_holds_and_then_asks_anew(tmp_path: Path) -> None:
    """What falls due while its channel is stopped is held without a slot, and asked anew after."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T09:00:00Z", channel="sms", phone=PHONE),
            cart("2026-10-05T20:30:00Z"),
        )
        shop.kill("channel:sms", "2026-10-06T05:00:00Z")
        (held,) = shop.wake("2026-10-06T06:02:00Z")
        assert (held["verdict"], held["held_for"], held["code"]) == ("held", "human", "kill_switch")
        assert held["next_eligible_at"] is None
        assert not shop.rows("contacts")
        (sent,) = shop.release("channel:sms", "2026-10-06T07:30:00Z")
        assert (sent["verdict"], sent["at"]) == ("permitted", "2026-10-06T07:30:00.000Z")
        assert len(shop.sent("sms")) == 1


def test_case_22_an_offer_that_ended_meanwhile_is_not_sent(tmp_path: Path) -> None:
    """A release is a new pass: an offer that ended while its message was stopped is refused."""
    ends = ("stock: 50", 'stock: 50\n    valid_until: "2026-10-05T14:00:00Z"')
    with open_shop(tmp_path / "w", changes={"offers.yaml": ends}) as shop:
        shop.run(
            consent("granted", "2026-10-05T09:00:00Z", email="a@shop.example"),
            row("self_service_failed", "2026-10-05T09:10:00Z", topic="returns"),
        )
        shop.kill("channel:email", "2026-10-05T12:00:00Z")
        held = shop.one(row("contact_opened", "2026-10-05T13:00:00Z", topic="returns"))
        assert (held["verdict"], held["code"], held["action"]) == (
            "held",
            "kill_switch",
            "apology_voucher",
        )
        (after,) = shop.release("channel:email", "2026-10-05T14:30:00Z")
        assert after["action"] == "priority_case"
        found = shop.deps.history.get(after["decision_id"]).record()
        assert found is not None
        assert b"offer_unavailable" in found


def test_a_held_action_expires(tmp_path: Path) -> None:
    """What waited longer than it is wanted is refused as stale, not sent late."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T09:00:00Z", channel="sms", phone=PHONE),
            cart("2026-10-05T20:30:00Z"),
        )
        shop.kill("all", "2026-10-05T21:00:00Z")
        lines = shop.wake("2026-10-09T12:00:00Z")
        assert [line["code"] for line in lines] == ["kill_switch", "stale_event"]
        assert not shop.sent()


def test_a_shop_that_is_stopped_sends_nothing(tmp_path: Path) -> None:
    """The switch `all` holds everything, service and cases included."""
    with open_shop(tmp_path / "w") as shop:
        shop.kill("all", "2026-10-05T08:00:00Z")
        lines = shop.run(
            row("self_service_failed", "2026-10-05T09:00:00Z", topic="returns"),
            row(
                "checkout_failed", "2026-10-05T09:00:00Z", "c-2", order_id="o", email="a@b.example"
            ),
        )
        assert {(line["verdict"], line["code"]) for line in lines} == {("held", "kill_switch")}
        assert not shop.sent()
        assert not shop.rows("cases")
        released = shop.release("all", "2026-10-05T10:00:00Z")
        assert [line["verdict"] for line in released] == ["permitted", "permitted"]


TOLL_FREE = "+18002530000"


def test_case_06_what_waits_for_an_address_is_asked_about_when_one_is_learnt_and_only_then(
    tmp_path: Path,
) -> None:
    """Without a place there is no hour: nothing is asked until a new fact comes, then once."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(consent("granted", "2026-10-05T09:00:00Z", channel="sms", phone=TOLL_FREE))
        held = shop.one(cart("2026-10-05T17:00:00Z"))
        assert (held["verdict"], held["held_for"], held["code"]) == ("held", "time", "quiet_hours")
        assert held["next_eligible_at"] is None
        assert held["reason"] == "the customer's time zone is unknown"
        assert shop.wake("2026-10-05T17:30:00Z") == []
        nothing_new = row("page_viewed", "2026-10-05T17:40:00Z", traits={"first_name": "Ann"})
        assert [line["pass"] for line in shop.run(nothing_new)] == ["event"]
        address = {"address": {"country": "US", "state": "California"}}
        told = shop.run(row("identified", "2026-10-05T18:00:00Z", traits=address))
        (sent,) = [line for line in told if line["pass"] == "release"]
        assert (sent["verdict"], sent["action"], sent["at"]) == (
            "permitted",
            "remind_by_sms",
            "2026-10-05T18:00:00.000Z",
        )
        again = shop.run(row("identified", "2026-10-05T18:10:00Z", traits=address))
        assert [line["pass"] for line in again] == ["event"]
        assert shop.wake("2026-10-08T09:00:00Z") == []
        assert len(shop.sent("sms")) == 1


def test_case_06_a_new_address_in_the_night_waits_for_the_morning(tmp_path: Path) -> None:
    """What is asked again on a new fact may have to wait once more, and now knows until when."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(consent("granted", "2026-10-05T09:00:00Z", channel="sms", phone=TOLL_FREE))
        shop.one(cart("2026-10-06T06:00:00Z"))
        address = {"address": {"country": "US", "state": "CA"}}
        told = shop.run(row("identified", "2026-10-06T07:00:00Z", traits=address))
        (held,) = [line for line in told if line["pass"] == "release"]
        assert (held["verdict"], held["code"]) == ("held", "quiet_hours")
        assert held["next_eligible_at"] == "2026-10-06T15:00:00.000Z"
        (sent,) = shop.wake("2026-10-06T16:00:00Z")
        assert sent["verdict"] == "permitted"
        assert "2026-10-06T15:00" <= sent["at"] < "2026-10-06T15:02"


def test_case_06_what_waits_for_an_address_in_vain_expires(tmp_path: Path) -> None:
    """One pass when the action expires, and then silence: no loop."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(consent("granted", "2026-10-05T09:00:00Z", channel="sms", phone=TOLL_FREE))
        shop.one(cart("2026-10-05T17:00:00Z"))
        lines = shop.wake("2026-12-05T17:00:00Z")
        assert [(line["pass"], line["verdict"], line["code"]) for line in lines] == [
            ("release", "denied", "stale_event")
        ]
        assert lines[0]["at"] == "2026-10-06T17:00:00.000Z"
        assert not shop.sent()


def test_a_law_of_the_state_counts_from_the_number_alone(tmp_path: Path) -> None:
    """A number of Florida's is under Florida's law, in the workspace's own files."""
    law = (
        'window: "08:00-21:00"',
        'window: "08:00-21:00"\n    jurisdictions:\n      US-FL: "08:00-20:00"',
    )
    with open_shop(tmp_path / "w", changes={"policies/contact.yaml": law}) as shop:
        said = consent("granted", "2026-10-05T15:00:00Z", channel="sms", phone="+13055550123")
        shop.run(said)
        held = shop.one(cart("2026-10-06T00:30:00Z"))  # 20:30 in Miami
        assert (held["verdict"], held["code"]) == ("held", "quiet_hours")
        assert held["next_eligible_at"] == "2026-10-06T12:00:00.000Z"


def test_a_rule_that_holds_and_would_pass_now_is_not_asked_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that is held for its own instant comes again a second later, never at once."""
    monkeypatch.setattr(QuietHours, "clears_at", lambda self, question, at: at)
    at_once = {"settings.toml": ("[switches]", '[releases]\nspread = "0s"\n\n[switches]')}
    with open_shop(tmp_path / "w", changes=at_once) as shop:
        shop.run(consent("granted", "2026-10-05T09:00:00Z", channel="sms", phone=PHONE))
        held = shop.one(cart("2026-10-05T20:30:00Z"))
        assert held["next_eligible_at"] == "2026-10-05T20:30:00.000Z"
        passes = shop.wake("2026-10-05T20:30:03Z")
        assert [(one["at"][-7:], one["verdict"]) for one in passes] == [
            ("01.000Z", "held"),
            ("02.000Z", "held"),
            ("03.000Z", "held"),
        ]


@pytest.mark.parametrize("blocks", ["all", "all_but_mandatory"])
def test_a_block_of_everything_ends_what_waits_without_a_yes_too(
    tmp_path: Path, blocks: str
) -> None:
    """What is exempt and held for the night is asked again at once; something else is done."""
    night = {
        "policies/contact.yaml": (
            "channels: [sms]\n    window",
            "channels: [sms, email]\n    window",
        )
    }
    with open_shop(tmp_path / "w", changes=night) as shop:
        shop.run(
            consent(
                "granted",
                "2026-10-05T09:00:00Z",
                email="a@shop.example",
                phone=PHONE,
                channel="sms",
            )
        )
        held = shop.one(row("checkout_failed", "2026-10-05T20:30:00Z", order_id="o-1"))
        assert (held["action"], held["code"]) == ("checkout_help", "quiet_hours")
        lines = shop.run(
            row(
                "suppression_added",
                "2026-10-05T21:00:00Z",
                target="person",
                blocks=blocks,
                reason="x",
            )
        )
        (after,) = [line for line in lines if line["pass"] == "release"]
        assert after["action"] == "open_checkout_case"  # which is for colleagues
        assert not shop.sent("email")
