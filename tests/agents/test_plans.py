"""People who are on a journey keep the version of it that they entered; all else is today's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agents.minds.formula import FormulaMind
from agents.reconsider import explain, recompute
from service.assemble import kept_workspace
from tests.shop import Shop, cart, consent, open_shop, row
from traces.ledger import verify

FILE = "journeys/abandoned_cart.yaml"
OLD = "c-old"
NEW = "c-new"
ACTIONS = "actions: [remind_by_email, remind_by_sms, cart_banner]"

Changes = Mapping[str, tuple[str, str]]


def yes(user: str) -> dict[str, Any]:
    """Agrees to marketing by e-mail."""
    return consent("granted", "2026-10-05T08:00:00Z", user, email=f"{user}@shop.example")


def shop_of(tmp_path: Path, changes: Changes | None = None) -> Any:
    """The same shop, opened again after its files were changed."""
    return open_shop(tmp_path / "w", store=f"sqlite:///{tmp_path / 'shop.db'}", changes=changes)


def begin(tmp_path: Path, changes: Changes | None = None) -> None:
    """Somebody enters the journey as it is at first."""
    with shop_of(tmp_path, changes) as shop:
        _, line = shop.run(yes(OLD), cart("2026-10-05T09:00:00Z", OLD))
        assert line["action"] == "remind_by_email"


def states(shop: Shop) -> dict[str, str]:
    """The state of each run, by the customer's name."""
    found = {one["profile_id"]: one["state"] for one in shop.rows("instances")}
    named = {line["profile_id"]: user for user, line in seen(shop).items()}
    return {named[profile_id]: state for profile_id, state in found.items()}


def seen(shop: Shop) -> dict[str, dict[str, Any]]:
    """A decision of each customer."""
    return {user: shop.one(yes(user)) for user in (OLD, NEW)}


def considered(shop: Shop, line: Mapping[str, Any]) -> set[str]:
    """The actions that a decision weighed."""
    told = explain(
        shop.database,
        line["decision_id"],
        lambda v: kept_workspace(shop.database, v),
        FormulaMind(),
    )
    assert told.same
    return {one.action for one in told.candidates}


def check(shop: Shop) -> None:
    """The record is whole, and decisions of both versions come out the same again."""
    verify(shop.database)
    again = recompute(shop.database, lambda v: kept_workspace(shop.database, v), FormulaMind())
    assert not again.different


@pytest.mark.parametrize(
    ("before", "after", "event", "old", "new"),
    [
        (
            "goal: order_completed",
            "goal: order_paid",
            row("order_completed", "2026-10-05T12:00:00Z"),
            "reached",
            "active",
        ),
        (
            "goal: order_completed",
            "goal: order_paid",
            row("order_paid", "2026-10-05T12:00:00Z"),
            "active",
            "reached",
        ),
        (
            "window: 3d",
            'window: 3d\nexit: "has(event.error)"',
            row("till_failed", "2026-10-05T12:00:00Z", error="card"),
            "active",
            "exited",
        ),
        (
            "window: 3d",
            "window: 1h",
            row("page_viewed", "2026-10-05T12:00:00Z"),
            "active",
            "expired",
        ),
    ],
    ids=["old goal", "new goal", "new exit", "window"],
)
def test_goal_exit_and_window_stay_what_they_were(
    tmp_path: Path, before: str, after: str, event: dict[str, Any], old: str, new: str
) -> None:
    """Of two people on two versions, an event ends the one's run by the one, the other's by the
    other."""
    begin(tmp_path)
    with shop_of(tmp_path, {FILE: (before, after)}) as shop:
        shop.run(yes(NEW), cart("2026-10-05T10:00:00Z", NEW, cart_id="k-2"))
        for user in (OLD, NEW):
            shop.run({**event, "id": f"end-{user}", "user_id": user})
        assert states(shop) == {OLD: old, NEW: new}
        check(shop)


def test_an_exit_that_was_taken_away_still_ends_whoever_entered_with_it(tmp_path: Path) -> None:
    """On every event, also on one for which today's version would read no signal."""
    exit_of = 'window: 3d\nexit: "signal.events_before > 2"'
    begin(tmp_path, {FILE: ("window: 3d", exit_of)})
    with shop_of(tmp_path, {FILE: (exit_of, "window: 3d")}) as shop:
        shop.run(yes(NEW), cart("2026-10-05T10:00:00Z", NEW))
        for user in (OLD, NEW):
            for minute in (10, 20):
                shop.run(row("page_viewed", f"2026-10-05T12:{minute}:00Z", user))
        assert states(shop) == {OLD: "exited", NEW: "active"}
        check(shop)


def test_a_plans_actions_stay_and_what_they_say_is_todays(tmp_path: Path) -> None:
    """Its list of actions is kept; their words, and whether there still are such, are today's."""
    begin(tmp_path)
    changed = {
        FILE: (ACTIONS, "actions: [cart_banner]"),
        "actions.yaml": ('body: "Your cart is still here."', 'body: "Still here: your cart."'),
    }
    with shop_of(tmp_path, changed) as shop:
        shop.run(yes(NEW))
        again = shop.one(cart("2026-10-05T10:00:00Z", OLD))
        assert considered(shop, again) == {"remind_by_email", "remind_by_sms", "cart_banner"}
        assert again["action"] == "cart_banner"
        (shown,) = shop.sent("web")
        assert "Still here: your cart." in shown.read_text()
        first = shop.one(cart("2026-10-05T10:01:00Z", NEW))
        assert considered(shop, first) == {"cart_banner"}
        check(shop)
    without = (tmp_path / "w" / "actions.yaml").read_text()
    begins, ends = without.index("  remind_by_sms:"), without.index("  cart_banner:")
    with shop_of(tmp_path, {"actions.yaml": (without[begins:ends], "")}) as shop:
        later = shop.one(cart("2026-10-05T11:00:00Z", OLD))
        assert considered(shop, later) == {"remind_by_email", "cart_banner"}
        check(shop)


def test_policies_are_todays(tmp_path: Path) -> None:
    """A cap that is raised or lowered holds at once for whoever is on an earlier plan."""
    begin(tmp_path)
    raised = {
        FILE: ("window: 3d", "window: 2d"),
        "policies/contact.yaml": ("limit: 1\n    window: 24h", "limit: 2\n    window: 24h"),
    }
    with shop_of(tmp_path, raised) as shop:
        second = shop.one(cart("2026-10-05T10:00:00Z", OLD))
        assert second["action"] == "remind_by_email"
        (run,) = shop.rows("instances")
        assert run["ends_at"] - run["entered_at"] == 3 * 86_400_000_000
        third = shop.one(cart("2026-10-05T11:00:00Z", OLD))
        assert third["action"] == "cart_banner"
        check(shop)


def test_a_journey_that_is_gone_goes_on_for_whoever_is_on_it(tmp_path: Path) -> None:
    """Nobody enters it any more; who did gets to its goal, unless it is stopped."""
    begin(tmp_path)
    (tmp_path / "w" / FILE).unlink()
    for name in ("engagement.yaml", "engagement.cases.yaml"):
        (tmp_path / "w" / "policies" / name).unlink()
    with shop_of(tmp_path) as shop:
        shop.run(yes(NEW))
        assert considered(shop, shop.one(cart("2026-10-05T10:00:00Z", NEW))) == set()
        again = shop.one(cart("2026-10-05T10:01:00Z", OLD))
        assert again["action"] == "cart_banner"
        shop.kill("journey:abandoned_cart", "2026-10-05T10:30:00Z")
        stopped = shop.one(cart("2026-10-05T10:40:00Z", OLD))
        assert (stopped["verdict"], stopped["code"]) == ("held", "kill_switch")
        shop.run(row("order_completed", "2026-10-05T11:00:00Z", OLD))
        assert states(shop) == {OLD: "reached"}
        check(shop)


def test_what_waits_for_the_morning_keeps_its_plan(tmp_path: Path) -> None:
    """A contact that was deferred under one version is asked about by it under the next."""
    phone = consent("granted", "2026-10-05T08:00:00Z", OLD, channel="sms", phone="+4915123456789")
    with shop_of(tmp_path) as shop:
        # Two visits: the first is shown a banner and enters, the second waits for the morning.
        _, held = shop.run(phone, cart("2026-10-05T20:30:00Z", OLD))
        assert (held["action"], held["held_for"]) == ("remind_by_sms", "time")
        (entered,) = shop.rows("instances")
        assert entered["state"] == "active"
    changed = {FILE: (ACTIONS, "actions: [cart_banner]")}
    with shop_of(tmp_path, changed) as shop:
        (sent,) = shop.wake("2026-10-06T09:00:00Z")
        assert (sent["verdict"], sent["action"]) == ("permitted", "remind_by_sms")
        check(shop)
    changed = {FILE: ("trigger: cart_abandoned", "trigger: cart_left")}
    with shop_of(tmp_path, changed) as shop:
        again = shop.one(cart("2026-10-07T10:00:00Z", OLD))
        assert considered(shop, again) == {"remind_by_email", "remind_by_sms", "cart_banner"}
        check(shop)


def test_two_carts_are_two_runs(tmp_path: Path) -> None:
    """Each ends by its own purchase; one that names no cart ends both."""
    with shop_of(tmp_path) as shop:
        shop.run(yes(OLD))
        for cart_id in ("k-1", "k-2", "k-3"):
            shop.run(cart("2026-10-05T09:00:00Z", OLD, cart_id=cart_id, id=cart_id))
        assert len(shop.rows("instances")) == 3
        shop.run(row("order_completed", "2026-10-05T10:00:00Z", OLD, cart_id="k-2"))
        assert sorted(one["state"] for one in shop.rows("instances")) == [
            "active",
            "active",
            "reached",
        ]
        shop.run(row("order_completed", "2026-10-05T11:00:00Z", OLD, order_id="o-1"))
        assert {one["state"] for one in shop.rows("instances")} == {"reached"}
        check(shop)


def test_of_two_runs_of_one_person_the_earlier_stays(tmp_path: Path) -> None:
    """Two who turn out to be one are on a journey once, by the plan of whoever entered first."""
    keyed = ("instance_key: event.cart_id\n", "")
    with shop_of(tmp_path, {FILE: keyed}) as shop:
        shop.run(yes(OLD), cart("2026-10-05T09:00:00Z", OLD))
    with shop_of(tmp_path, {FILE: ("goal: order_completed", "goal: order_paid")}) as shop:
        browser = {"user_id": None, "anonymous_id": "b-1"}
        shop.run({**cart("2026-10-05T10:00:00Z", NEW), **browser})
        assert [one["state"] for one in shop.rows("instances")] == ["active", "active"]
        both = row("identified", "2026-10-05T11:00:00Z", OLD, anonymous_id="b-1")
        shop.run(both)
        runs = sorted(shop.rows("instances"), key=lambda one: one["entered_at"])
        assert [one["state"] for one in runs] == ["active", "merged"]
        shop.run(row("order_paid", "2026-10-05T12:00:00Z", OLD))
        shop.run(row("order_completed", "2026-10-05T12:00:00Z", OLD))
        runs = sorted(shop.rows("instances"), key=lambda one: one["entered_at"])
        assert [one["state"] for one in runs] == ["reached", "merged"]
        check(shop)


def test_how_long_an_absence_takes_is_todays_for_whoever_is_not_on_the_journey_yet(
    tmp_path: Path,
) -> None:
    """Half an hour when it began, two hours when it would have been over: it goes on waiting."""
    with shop_of(tmp_path) as shop:
        shop.run(
            yes(OLD), row("cart_updated", "2026-10-05T10:00:00Z", OLD, cart_id="k", value=50.0)
        )
    with shop_of(tmp_path, {FILE: ("within: 30m", "within: 2h")}) as shop:
        lines = shop.wake("2026-10-06T09:00:00Z")
        assert [(line["at"][11:16], line["verdict"], line["action"]) for line in lines] == [
            ("10:30", "none", "no_action"),
            ("12:00", "permitted", "remind_by_email"),
        ]
        assert "waits until 12:00:00Z" in lines[0]["reason"]
        check(shop)
