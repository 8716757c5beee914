from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.outcomes import ArmOutcome, JourneyOutcome, outcomes
from service.cli import main
from tests.shop import Shop, at, open_shop, row

HELD_OUT = {"journeys/welcome.yaml": ("holdout: 0.1", "holdout: 0.5")}
OVER = "2026-10-20T00:00:00Z"
"""When the windows of everybody welcomed are over."""


def came_of(shop: Shop, journey: str, until: str) -> JourneyOutcome:
    """What came of a journey as of an instant."""
    workspace = shop.assembly.workspace
    (found,) = outcomes(shop.database, workspace, [workspace.journeys[journey]], at(until))
    return found


def arm(found: JourneyOutcome, name: str) -> ArmOutcome:
    """One arm of it."""
    return next(one for one in found.arms if one.arm == name)


def welcome(shop: Shop, people: int) -> list[str]:
    """Sign people up; every third orders. The arm of each, in that order."""
    arms = []
    for n in range(people):
        known = {one["profile_id"] for one in shop.rows("assignments")}
        shop.run(row("signed_up", f"2026-10-05T09:{n:02d}:00Z", f"c-{n}", email=f"c{n}@x.example"))
        if n % 3 == 0:
            shop.run(row("order_completed", f"2026-10-07T09:{n:02d}:00Z", f"c-{n}"))
        (new,) = [one for one in shop.rows("assignments") if one["profile_id"] not in known]
        arms.append(new["arm"])
    return arms


def printed(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> Any:
    """What `safeconduct outcomes --json` prints of the welcome."""
    capsys.readouterr()
    words = ["outcomes", "--workspace", str(folder), "--journey", "welcome", "--at", OVER, "--json"]
    assert main([*words, *more]) == 0
    return json.loads(capsys.readouterr().out)


def test_conversion_is_counted_by_arm_and_the_uplift_is_their_difference(tmp_path: Path) -> None:
    """Of those who entered, who reached the goal; nothing before their window is over."""
    with open_shop(tmp_path / "w", changes=HELD_OUT) as shop:
        arms = welcome(shop, 24)
        assert came_of(shop, "welcome", "2026-10-18T00:00:00Z").arms == ()
        found = came_of(shop, "welcome", OVER)
    rates = {}
    for name in ("treated", "held_out"):
        mine = [n for n, other in enumerate(arms) if other == name]
        reached = [n for n in mine if n % 3 == 0]
        share = arm(found, name).conversion
        assert (share.count, share.of) == (len(reached), len(mine))
        assert share.of > 4
        rates[name] = share.count / share.of
    assert found.uplift == pytest.approx(rates["treated"] - rates["held_out"])
    assert found.uplift is not None and found.uplift_interval is not None
    assert found.uplift_interval[0] < found.uplift < found.uplift_interval[1]


def test_who_was_in_both_arms_or_is_erased_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two people in different arms turn out to be one, who counts in neither; nothing is known any
    more of what came of somebody who was erased."""
    folder = tmp_path / "w"
    with open_shop(folder, changes=HELD_OUT, store=None) as shop:
        arms = welcome(shop, 12)
    before = {one["arm"]: one["conversion"] for one in printed(folder, capsys)["arms"]}
    treated, held_out = arms.index("treated"), arms.index("held_out")
    on = ["--workspace", str(folder), "--by", "ida", "--reason", "she said so"]
    when = ["--at", "2026-10-08T09:00:00Z"]
    assert (
        main(["profile", "merge", f"user_id:c-{treated}", f"user_id:c-{held_out}", *on, *when]) == 0
    )
    merged = printed(folder, capsys)
    assert merged["contaminated"] == 1
    for one in merged["arms"]:
        assert one["conversion"]["of"] == before[one["arm"]]["of"] - 1
    third = next(n for n, one in enumerate(arms) if one == "treated" and n != treated)
    assert main(["profile", "erase", f"user_id:c-{third}", "--yes", *on]) == 0
    erased = {one["arm"]: one["conversion"] for one in printed(folder, capsys)["arms"]}
    assert erased["treated"]["of"] == before["treated"]["of"] - 2
    assert erased["held_out"]["of"] == before["held_out"]["of"] - 1


def asking(day: int, user: str, topic: str, channel: str) -> dict[str, Any]:
    """Somebody's self-service fails, on a day of October."""
    when = f"2026-10-{day:02d}T09:00:00Z"
    return row("self_service_failed", when, user, topic=topic, channel=channel)


def done(event: str, user: str) -> dict[str, Any]:
    """Three hours later it is done."""
    return row(event, "2026-10-01T12:00:00Z", user, topic="login", reason="self_service_failed")


PEOPLE = ("helped", "back", "other", "late", "never")


def test_requests_are_resolved_at_first_contact_repeated_or_not_at_all(tmp_path: Path) -> None:
    """One person asks once and is helped; one is helped and comes back on the fifth day by another
    channel; one comes back on the tenth; one asks for something else; one is never helped."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            *(asking(1, user, "login", "chat") for user in PEOPLE),
            *(done("case_closed", user) for user in PEOPLE[:3]),
            done("order_completed", "late"),
            asking(4, "never", "login", "chat"),
            asking(5, "other", "invoice", "phone"),
            asking(6, "back", "login", "phone"),
            asking(11, "late", "login", "phone"),
        )
        # Two days of window and seven to come back in: those of the first of October are over.
        found = came_of(shop, "failed_self_service", "2026-10-12T10:00:00Z")
        (everybody,) = found.arms
        assert everybody.arm == "all"
        assert found.uplift is None
        assert (everybody.resolved_first.count, everybody.resolved_first.of) == (3, 5)
        assert (everybody.repeated.count, everybody.repeated.of) == (2, 5)
        assert everybody.channel_switches == pytest.approx(1 / 5)
        # Six instances are over by then: one more topic, and the one who came late has not yet.
        assert (everybody.completion.count, everybody.completion.of) == (1, 6)
        assert (everybody.conversion.count, everybody.conversion.of) == (1, 5)


def test_a_journey_that_no_request_triggers_has_no_repeats(tmp_path: Path) -> None:
    """Where nobody asked for anything, there is nothing to resolve."""
    with open_shop(tmp_path / "w", changes=HELD_OUT) as shop:
        welcome(shop, 3)
        for one in came_of(shop, "welcome", OVER).arms:
            assert one.resolved_first.value is None
            assert one.channel_switches is None
