"""Rules across teams, from the event to the store and back, on both dialects."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.record import read_record
from agents.steps import STEPS, Batch
from domain.context import Context
from profiles.activity import THINGS_MAX, Activity, Busy, Moment, Occasion, joined, last_of
from profiles.arrivals import Arrival
from store.work import Work
from tests.shop import Shop, at, cart, consent, open_shop, row
from tools import budgets

CONTACT = "policies/contact.yaml"
PERSON = {"email": "a@shop.example"}
BOUGHT = """cool_offs:
  - id: bought
    after: [order_completed, order_returned]
    lasts: 7d
    match: event.product_id
    reason: "it was bought a moment ago"
"""
FAILED = """cool_offs:
  - id: failed
    after: [self_service_failed]
    lasts: 3d
    reason: "something went wrong a moment ago"
"""
ONE_OF = """exclusive:
  - id: one-of
    journeys: [welcome, abandoned_cart]
    within: 7d
"""
ONCE = """same_creative:
  - id: once
    within: 30d
"""
BUDGET = """budgets:
  - id: growth
    amount: "{amount}"
    period: month
    teams: [growth]
"""


def adding(rules: str) -> dict[str, tuple[str, str]]:
    """The starter's policies, and these."""
    return {CONTACT: ("quiet_hours:", f"{rules}\nquiet_hours:")}


def said_yes(user: str = "c-1") -> dict[str, Any]:
    return consent("granted", "2026-10-01T08:00:00Z", user, email=f"{user}@shop.example")


def of_one(shop: Shop, line: dict[str, Any], action: str) -> dict[str, str]:
    """What was against one candidate of a decision: rule and code."""
    data = shop.deps.history.get(line["decision_id"]).record()
    assert data is not None
    (found,) = [c for c in read_record(data).thought.considered if c.action == action]
    return dict(found.against)


def context_of(shop: Shop, line: dict[str, Any]) -> Context:
    data = shop.deps.history.get(line["decision_id"]).record()
    assert data is not None
    return read_record(data).context


def test_what_was_bought_is_not_promoted(tmp_path: Path, store: str) -> None:
    """Who bought a thing hears nothing of it for a week, and of other things all the same."""
    with open_shop(tmp_path / "w", store=store, changes=adding(BOUGHT)) as shop:
        order: dict[str, Any] = {
            "order_id": "o",
            "products": [{"product_id": "red"}, {"product_id": 7}],
        }
        shop.run(said_yes(), row("order_completed", "2026-10-05T09:00:00Z", **order))
        for number, product in enumerate(("red", "7")):
            when = f"2026-10-05T1{number}:00:00Z"
            line = shop.one(cart(when, cart_id=product, product_id=product))
            assert (line["verdict"], line["code"]) == ("denied", "cool_off")
            assert line["next_eligible_at"] == "2026-10-12T09:00:00.000Z"
        other = shop.one(cart("2026-10-05T12:00:00Z", cart_id="k-blue", product_id="blue"))
        assert (other["verdict"], other["action"]) == ("permitted", "remind_by_email")
        later = shop.one(cart("2026-10-12T09:00:00Z", cart_id="k-red", product_id="red"))
        assert (later["verdict"], later["action"]) == ("permitted", "remind_by_email")


def test_what_cannot_be_told_apart_is_not_promoted_either(tmp_path: Path) -> None:
    """Where the order or the cart names no product, it may have been this one."""
    with open_shop(tmp_path / "w", changes=adding(BOUGHT)) as shop:
        shop.run(said_yes(), said_yes("c-2"))
        shop.run(row("order_completed", "2026-10-05T09:00:00Z", "c-1", order_id="o"))
        shop.run(row("order_completed", "2026-10-05T09:00:00Z", "c-2", product_id="red"))
        named = shop.one(cart("2026-10-05T10:00:00Z", "c-1", product_id="blue"))
        unnamed = shop.one(cart("2026-10-05T10:00:00Z", "c-2"))
        assert [named["code"], unnamed["code"]] == ["cool_off", "cool_off"]


def test_a_late_event_that_overtakes_a_contact_starts_the_cool_off(
    tmp_path: Path, store: str
) -> None:
    """An order that was made before a message went and is heard of later stops the next one."""
    with open_shop(tmp_path / "w", store=store, changes=adding(BOUGHT)) as shop:
        shop.run(said_yes())
        sent = shop.one(cart("2026-10-05T10:00:00Z", product_id="red"))
        assert sent["verdict"] == "permitted"
        shop.run(row("order_returned", "2026-10-05T09:50:00Z", product_id="red"))
        after = shop.one(cart("2026-10-07T10:00:00Z", cart_id="k-2", product_id="red"))
        assert (after["verdict"], after["code"]) == ("denied", "cool_off")
        assert after["next_eligible_at"] == "2026-10-12T09:50:00.000Z"
        assert len(shop.sent("email")) == 1


def test_the_event_at_hand_starts_its_own_cool_off(tmp_path: Path) -> None:
    """A failure is no occasion for a promotion, and help is given all the same."""
    changes = {
        **adding(FAILED),
        "journeys/failed_self_service.yaml": (
            "actions: [hand_over, send_guide]",
            "actions: [apology_voucher, hand_over]",
        ),
    }
    with open_shop(tmp_path / "w", changes=changes) as shop:
        shop.run(said_yes())
        line = shop.one(row("self_service_failed", "2026-10-05T09:00:00Z", topic="returns"))
        assert (line["verdict"], line["action"]) == ("permitted", "hand_over")
        assert of_one(shop, line, "apology_voucher")["failed"] == "cool_off"


def test_two_people_who_turn_out_to_be_one_share_their_cool_offs(
    tmp_path: Path, store: str
) -> None:
    """What was done under another name counts once it is known to be the same person's."""
    with open_shop(tmp_path / "w", store=store, changes=adding(BOUGHT)) as shop:
        bought = row("order_completed", "2026-10-05T09:00:00Z", product_id="red")
        del bought["user_id"]
        shop.run(said_yes(), {**bought, "identifiers": {"loyalty": "l-9"}})
        before = shop.one(cart("2026-10-05T10:00:00Z", cart_id="k-1", product_id="red"))
        assert before["verdict"] == "permitted"
        shop.run(row("identified", "2026-10-05T11:00:00Z", identifiers={"loyalty": "l-9"}))
        after = shop.one(cart("2026-10-07T10:00:00Z", cart_id="k-2", product_id="red"))
        assert after["code"] == "cool_off"


def test_the_order_in_which_events_are_read_changes_no_cool_off(tmp_path: Path) -> None:
    """Read in any order, and twice, the same events leave the same cool-offs."""
    orders = [
        row("order_completed", f"2026-10-0{day}T0{hour}:00:00Z", product_id=product)
        for day, hour, product in ((1, 9, "red"), (2, 8, "blue"), (3, 7, "red"), (1, 8, ""))
    ]
    found = set()
    for seed in range(4):
        rows = [*orders, orders[seed]]
        random.Random(seed).shuffle(rows)
        with open_shop(tmp_path / str(seed), changes=adding(BOUGHT)) as shop:
            shop.run(*rows)
            line = shop.one(cart("2026-10-05T10:00:00Z", product_id="red", **PERSON))
            found.add(context_of(shop, line).occurrences)
    (only,) = found
    assert [(o.event, o.match, o.at) for o in only] == [
        ("order_completed", "product_id", at("2026-10-03T07:00:00Z"))
    ]


THINGS = st.lists(
    st.builds(
        Occasion,
        st.sampled_from(["bought", "returned"]),
        st.just("product_id"),
        st.integers(0, 70).map(lambda n: f"{n or ''}"),
        st.integers(0, 200),
    ),
    max_size=150,
)


@given(seen=THINGS, cuts=st.lists(st.integers(0, 150), max_size=6), chance=st.randoms())
def test_last_occasions_are_the_same_in_any_order_and_grouping(
    seen: list[Occasion], cuts: list[int], chance: random.Random
) -> None:
    """However events are shuffled, repeated and split between fragments, the answer is one."""
    whole = last_of(seen)
    shuffled = [*seen, *seen[:20]]
    chance.shuffle(shuffled)
    bounds = [0, *sorted(cuts), len(shuffled)]
    parts = [shuffled[a:b] for a, b in pairwise(bounds)]
    some = (Moment(0, "x"),)  # an activity without a moment is none
    grouped = joined(
        joined(Activity(some, (Busy(0, 1),), occasions=last_of([one])) for one in part)
        for part in parts
    )
    assert grouped.occasions == whole
    assert len(whole) <= 2 * (THINGS_MAX + 1)
    for event, match, key, when in seen:
        covering = [o for o in whole if (o.event, o.match) == (event, match)]
        assert any(o.key in (key, "") and o.at >= when for o in covering)


def test_of_two_journeys_one_talks_at_a_time(tmp_path: Path, store: str) -> None:
    """A welcome that is under way keeps a cart's reminder back until it is over."""
    changes = {**adding(ONE_OF), "journeys/welcome.yaml": ("holdout: 0.1", "holdout: 0")}
    with open_shop(tmp_path / "w", store=store, changes=changes) as shop:
        shop.run(said_yes())
        welcome = shop.one(row("signed_up", "2026-10-02T09:00:00Z"))
        assert welcome["verdict"] == "permitted"
        line = shop.one(cart("2026-10-04T09:00:00Z"))
        assert of_one(shop, line, "remind_by_email") == {"one-of": "exclusive"}
        assert line["action"] == "cart_banner"
        shop.run(row("order_completed", "2026-10-04T10:00:00Z", order_id="o"))
        recent = shop.one(cart("2026-10-08T09:00:00Z", cart_id="k-2"))
        assert of_one(shop, recent, "remind_by_email") == {"one-of": "exclusive"}
        after = shop.one(cart("2026-10-09T09:00:00Z", cart_id="k-3"))
        assert (after["verdict"], after["action"]) == ("permitted", "remind_by_email")


def test_the_same_words_do_not_come_twice(tmp_path: Path, store: str) -> None:
    """A second cart is no reason to send a text that was sent within the month."""
    with open_shop(tmp_path / "w", store=store, changes=adding(ONCE)) as shop:
        shop.run(said_yes())
        assert shop.one(cart("2026-10-05T09:00:00Z"))["action"] == "remind_by_email"
        again = shop.one(cart("2026-10-20T09:00:00Z", cart_id="k-2"))
        assert of_one(shop, again, "remind_by_email") == {"once": "frequency_cap"}
        assert again["action"] == "cart_banner"
        later = shop.one(cart("2026-11-04T09:00:00Z", cart_id="k-3"))
        assert later["action"] == "remind_by_email"
        assert len({kept["creative"] for kept in shop.rows("contacts")}) == 2


def vouchers(amount: str) -> dict[str, tuple[str, str]]:
    """A shop that welcomes with a voucher of 5 EUR, out of a budget."""
    return {
        **adding(BUDGET.format(amount=amount)),
        "journeys/welcome.yaml": ("holdout: 0.1", "holdout: 0"),
        "actions.yaml": (
            "    propensity: 0.42\n    value: 18",
            "    propensity: 0.9\n    value: 90",
        ),
    }


def counters(shop: Shop) -> dict[str, int]:
    return {
        kept["key"]: kept["amount"] for kept in shop.rows("counters") if "budget:" in kept["key"]
    }


def test_a_budget_is_not_overspent_and_begins_anew(tmp_path: Path, store: str) -> None:
    """Two vouchers fit the month, a third does not; the next month has money again."""
    with open_shop(tmp_path / "w", store=store, changes=vouchers("12.00 EUR")) as shop:
        people = [f"c-{n}" for n in range(5)]
        shop.run(*map(said_yes, people))
        lines = [shop.one(row("signed_up", "2026-10-05T09:00:00Z", user)) for user in people[:3]]
        assert [line["action"] for line in lines] == ["welcome_voucher"] * 2 + ["welcome_email"]
        assert of_one(shop, lines[2], "welcome_voucher") == {"growth": "budget"}
        assert counters(shop) == {"budget:growth:2026-10-01": 1000}
        november = shop.one(row("signed_up", "2026-11-01T00:00:00Z", people[3]))
        assert november["action"] == "welcome_voucher"
        assert counters(shop)["budget:growth:2026-11-01"] == 500


def test_racing_decisions_never_overspend_a_budget(tmp_path: Path, store: str) -> None:
    """Of decisions that all read the same last 10 EUR, two get 5 each, whoever commits first."""
    perceive, decide, act = STEPS
    with open_shop(tmp_path / "w", store=store, changes=vouchers("10.00 EUR")) as shop:
        people = [f"c-{n}" for n in range(6)]
        shop.run(*map(said_yes, people))

        def arriving(user: str) -> Batch:
            raw = row("signed_up", "2026-10-05T09:00:00Z", user)
            (event,) = shop.read(raw)
            return {"arrivals": (Arrival(event, at("2026-10-05T09:00:00Z")),), "lines": ()}

        async def race() -> list[Batch]:
            batches = [arriving(user) for user in people]
            for step in (perceive, decide):
                for batch in batches:
                    batch |= await step(batch, shop.deps)
            for batch in batches:
                batch |= await act(batch, shop.deps)
            for batch in batches:
                while batch["arrivals"]:
                    for step in STEPS:
                        batch |= await step(batch, shop.deps)
            return batches

        done = asyncio.run(race())
        shop.deps.commit([])
        taken = [line.decision.action for b in done for line in b["lines"] if line.decision]
        assert sorted(taken) == ["welcome_email"] * 4 + ["welcome_voucher"] * 2
        assert counters(shop) == {"budget:growth:2026-10-01": 1000}
        assert len(shop.rows("grants")) == 2
        spent = [kept["amount"] for kept in shop.rows("spendings") if kept["state"] == "reserved"]
        assert spent == [500, 500]


def test_money_that_goes_between_reading_and_writing_is_seen(tmp_path: Path, store: str) -> None:
    """A budget has a key of its own: what takes from it alone has the decision made again."""
    perceive, decide, act = STEPS
    with open_shop(tmp_path / "w", store=store, changes=vouchers("10.00 EUR")) as shop:
        shop.run(said_yes())
        (event,) = shop.read(row("signed_up", "2026-10-05T09:00:00Z"))

        def take(decision_id: str, amount: int, *, first: bool) -> None:
            work = Work()
            counter = "budget:growth:2026-10-01"
            budgets.reserve(work, decision_id, "growth", counter, amount, first=first)
            assert shop.database.commit([work]) == [True]

        take("d-earlier", 100, first=True)

        async def race() -> Batch:
            batch: Batch = {"arrivals": (Arrival(event, at("2026-10-05T09:00:00Z")),), "lines": ()}
            for step in (perceive, decide):
                batch |= await step(batch, shop.deps)
            take("d-another", 500, first=False)
            batch |= await act(batch, shop.deps)
            while batch["arrivals"]:
                for step in STEPS:
                    batch |= await step(batch, shop.deps)
            return batch

        (line,) = asyncio.run(race())["lines"]
        assert line.decision is not None
        assert line.decision.action == "welcome_email"
        assert counters(shop) == {"budget:growth:2026-10-01": 600}
        for _ in range(2):  # given back once, however often it is asked
            work = Work()
            budgets.release(work, "d-another", ["growth"])
            shop.database.commit([work])
            assert counters(shop) == {"budget:growth:2026-10-01": 100}


@pytest.mark.parametrize("says", ["approve", "reject", None])
def test_money_waits_for_an_approval_and_is_given_back_once(
    tmp_path: Path, store: str, says: Any
) -> None:
    """A voucher that waits for a yes holds its money: given, it is spent; refused, it is free."""
    changes = {
        CONTACT: ("quiet_hours:", BUDGET.format(amount="30.00 EUR").replace(
            "teams: [growth]", "purposes: [marketing]") + "\nquiet_hours:"),
    }  # fmt: skip
    with open_shop(tmp_path / "w", store=store, changes=changes) as shop:
        shop.run(said_yes(), said_yes("c-2"))
        asks = [
            row("self_service_failed", "2026-10-05T09:10:00Z", user, topic="returns")
            for user in ("c-1", "c-2")
        ]
        shop.run(*asks)
        held = shop.one(row("contact_opened", "2026-10-05T13:00:00Z", "c-1", topic="returns"))
        assert (held["verdict"], held["code"]) == ("held", "needs_approval")
        assert counters(shop) == {"budget:growth:2026-10-01": 2500}
        other = shop.one(row("contact_opened", "2026-10-05T13:05:00Z", "c-2", topic="returns"))
        assert of_one(shop, other, "apology_voucher")["growth"] == "budget"
        if says is not None:
            (asked,) = shop.rows("approvals")
            shop.vote(asked["approval_id"], says, "2026-10-05T13:10:00Z")
        shop.wake("2026-10-05T20:00:00Z")
        left = 2500 if says == "approve" else 0
        assert counters(shop) == {"budget:growth:2026-10-01": left}
        states = sorted(kept["state"] for kept in shop.rows("spendings"))
        assert states == (["released", "reserved"] if says == "approve" else ["released"])


def test_a_rule_that_names_nothing_that_exists_does_not_load(tmp_path: Path) -> None:
    """A misspelt journey, team or currency is refused with its place, for it would stop nobody."""
    from domain.errors import ConfigurationError

    for n, (rules, cause) in enumerate(
        (
            (ONE_OF.replace("welcome", "welcom"), "`welcom`"),
            (BUDGET.format(amount="5.00 EUR").replace("growth]", "grwth]"), "`grwth`"),
            (BUDGET.format(amount="5.00 USD"), "USD"),
        )
    ):
        with (
            pytest.raises(ConfigurationError, match=cause) as refused,
            open_shop(tmp_path / str(n), changes=adding(rules)),
        ):
            pass
        assert "policies/contact.yaml:" in str(refused.value)


AHEAD = """look_ahead:
  - id: ahead
    horizon: {horizon}
    journeys: [welcome]
frequency_caps:
  - id: marketing-per-day
    limit: 5"""
NUMBER = "+4915123456789"  # Germany: UTC+2 in October


def waiting(shop: Shop) -> dict[str, Any]:
    """A text of priority 8.8 that waits for 06:00Z."""
    shop.run(said_yes(), consent("granted", "2026-10-01T08:01:00Z", channel="sms", phone=NUMBER))
    held = shop.one(cart("2026-10-05T20:30:00Z"))
    assert (held["action"], held["code"]) == ("remind_by_sms", "quiet_hours")
    return held


def looking(horizon: str) -> dict[str, tuple[str, str]]:
    """A welcome (8.0) makes way for what is scheduled; a cart's mail is not considered."""
    rule = AHEAD.format(horizon=horizon)
    return {
        CONTACT: ("frequency_caps:\n  - id: marketing-per-day\n    limit: 1", rule),
        "journeys/abandoned_cart.yaml": ("[remind_by_email, ", "["),
        "journeys/welcome.yaml": ("holdout: 0.1", "holdout: 0"),
    }


def test_a_welcome_makes_way_for_a_better_text_and_follows_it(tmp_path: Path, store: str) -> None:
    """Held until the scheduled text is due; once that is sent, it has a new pass and goes."""
    with open_shop(tmp_path / "w", store=store, changes=looking("3d")) as shop:
        waiting(shop)
        held = shop.one(row("signed_up", "2026-10-05T21:00:00Z"))
        assert (held["verdict"], held["held_for"], held["code"]) == (
            "held",
            "time",
            "lower_priority",
        )
        assert held["rule"] == "ahead"
        assert "2026-10-06T06:00" <= held["next_eligible_at"] < "2026-10-06T06:02"
        sent, after = shop.wake("2026-10-06T06:02:00Z")
        assert (sent["action"], sent["verdict"]) == ("remind_by_sms", "permitted")
        assert (after["pass"], after["action"], after["verdict"]) == (
            "displaced",
            "welcome_email",
            "permitted",
        )
        assert after["parent_id"] == held["decision_id"]


def test_what_made_way_goes_at_once_when_the_other_is_cancelled(tmp_path: Path, store: str) -> None:
    """A no to text messages ends the scheduled one, and what made way for it waits no longer."""
    with open_shop(tmp_path / "w", store=store, changes=looking("3d")) as shop:
        waiting(shop)
        held = shop.one(row("signed_up", "2026-10-05T21:00:00Z"))
        lines = shop.run(consent("denied", "2026-10-05T22:00:00Z", channel="sms", phone=NUMBER))
        _, ended, after = lines
        assert (ended["verdict"], ended["code"]) == ("denied", "consent")
        assert (after["pass"], after["verdict"], after["action"], after["at"]) == (
            "displaced",
            "permitted",
            "welcome_email",
            "2026-10-05T22:00:00.000Z",
        )
        assert after["parent_id"] == held["decision_id"]
        assert shop.wake("2026-10-07T06:00:00Z") == []


def test_nothing_waits_for_what_is_far_off_or_stopped(tmp_path: Path) -> None:
    """Beyond the horizon, or where the scheduled text would not pass, the welcome goes at once."""
    with open_shop(tmp_path / "far", changes=looking("1h")) as shop:
        waiting(shop)
        assert shop.one(row("signed_up", "2026-10-05T21:00:00Z"))["verdict"] == "permitted"
    with open_shop(tmp_path / "stopped", changes=looking("3d")) as shop:
        waiting(shop)
        shop.kill("channel:sms", "2026-10-05T20:45:00Z")
        assert shop.one(row("signed_up", "2026-10-05T21:00:00Z"))["verdict"] == "permitted"


def test_the_rules_that_the_documentation_shows_work(tmp_path: Path) -> None:
    """The page's rules load beside the starter's, and one of them refuses what it says."""
    page = (Path(__file__).parents[2] / "docs" / "teams.md").read_text()
    rules = page.split("```yaml\n")[1].split("```")[0]
    with open_shop(tmp_path / "w", changes=adding(rules)) as shop:
        shop.run(said_yes(), row("order_completed", "2026-10-05T09:00:00Z", product_id="red"))
        line = shop.one(cart("2026-10-06T09:00:00Z", product_id="red"))
        assert (line["code"], line["rule"]) == ("cool_off", "just-bought")
        assert len(shop.assembly.workspace.policies.rules) > 9


def test_all_of_it_can_be_decided_again_from_the_record(tmp_path: Path) -> None:
    """What looked ahead, cooled off and stayed in its budget recomputes byte for byte."""
    from agents.minds.formula import FormulaMind
    from agents.reconsider import recompute

    rules = looking("3d")
    old, new = rules[CONTACT]
    rules[CONTACT] = (old, BOUGHT + ONCE + ONE_OF + BUDGET.format(amount="9.00 EUR") + new)
    with open_shop(tmp_path / "w", changes=rules) as shop:
        waiting(shop)
        shop.run(
            row("signed_up", "2026-10-05T21:00:00Z"),
            row("order_completed", "2026-10-05T21:30:00Z", product_id="red"),
            cart("2026-10-07T09:00:00Z", cart_id="k-2", product_id="red"),
        )
        shop.wake("2026-10-09T00:00:00Z")
        workspace = shop.assembly.workspace
        made = recompute(shop.database, lambda _: workspace, FormulaMind())
        assert (made.different, made.same) == ((), len(shop.rows("decisions")))
