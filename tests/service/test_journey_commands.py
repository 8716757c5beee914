"""The commands that list, show, check and draw journeys."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import pytest

from agents import journey_checks
from agents.workspace import load_workspace, read_files
from service.cli import main
from service.drawing import CHARACTER
from service.settings import STARTER
from tests.shop import cart, consent, open_shop, row

FILE = "journeys/abandoned_cart.yaml"
TODAY = date(2026, 10, 5)
SVG = "{http://www.w3.org/2000/svg}"


def found(name: str, old: str, new: str) -> list[tuple[str, str]]:
    """Check and place of all that is found once a file of the starter is changed."""
    files = read_files(STARTER)
    assert old in files[name]
    changed = load_workspace({**files, name: files[name].replace(old, new)})
    return [(one.check, one.place) for one in journey_checks.troubles(changed, TODAY)]


def test_the_starter_says_nothing_in_vain() -> None:
    """What everybody begins with is clean."""
    assert found(FILE, "window: 3d", "window: 4d") == []


WRONG = [
    (FILE, "goal: order_completed", "goal: cart_abandoned", "goal-is-beginning", 8),
    (FILE, "goal: order_completed", "goal: cart_updated", "goal-is-beginning", 8),
    (FILE, "trigger: cart_abandoned", 'trigger: "Order Completed"', "renamed-event", 3),
    (FILE, "  of: order_completed", '  of: "Order Completed"', "renamed-event", 6),
    (
        FILE,
        "window: 3d",
        'entry: "signal.open_cases > 2"\nexit: "signal.open_cases > 0"\nwindow: 3d',
        "ends-at-once",
        14,
    ),
    (FILE, "window: 3d", "window: 3d\nagain_after: 3d", "idle-again", 14),
    (FILE, "trigger: cart_abandoned\n", "", "idle-action", 9),
    (
        FILE,
        "window: 3d",
        'entry: "has(event.value) && event.value < 5.0"\nwindow: 3d',
        "idle-action",
        10,
    ),
    ("offers.yaml", "stock: 50", "stock: 0", "idle-action", 6),
    (
        "offers.yaml",
        "stock: 50",
        'stock: 50\n    valid_until: "2026-09-01T00:00:00Z"',
        "idle-action",
        6,
    ),
    (FILE, "remind_by_sms, ", "remind_by_sms, remind_by_email, ", "named-twice", 10),
    (
        "journeys/failed_checkout.yaml",
        "window: 1d",
        "window: 1d\nholdout: 0.1",
        "idle-holdout",
        9,
    ),
    (FILE, "window: 3d", 'window: 3d\nreview_by: "2026-10-04"', "overdue-review", 14),
    (FILE, 'owner: "ana"', 'owner: "bea"', "unknown-owner", 11),
]


@pytest.mark.parametrize(("name", "old", "new", "check", "line"), WRONG)
def test_each_check_finds_its_trouble_and_says_where(
    name: str, old: str, new: str, check: str, line: int
) -> None:
    """The check, the file and the line."""
    troubles = found(name, old, new)
    assert check in {one for one, _ in troubles}
    assert {int(place.rpartition(":")[2]) for one, place in troubles if one == check} == {line}


def test_every_check_is_tried_and_spares_what_is_well() -> None:
    """No check that nobody has seen find anything; and a day to come is no day that is over."""
    assert {check for *_, check, _ in WRONG} == set(get_args(journey_checks.CheckName))
    assert found(FILE, "window: 3d", 'window: 3d\nreview_by: "2026-10-05"') == []
    assert found(FILE, "window: 3d", "window: 3d\nholdout: 0.1") == []
    apart = 'entry: "signal.open_cases > 0"\nexit: "signal.open_cases > 2"\nwindow: 3d'
    assert found(FILE, "window: 3d", apart) != []  # rule `no-marketing-with-open-case`
    free = 'entry: "signal.events_before > 0"\nexit: "signal.open_cases > 2"\nwindow: 3d'
    assert found(FILE, "window: 3d", free) == []


def edited(tmp_path: Path, *more: dict[str, Any], changes: Any = None) -> Path:
    """A workspace with its own store, in which these things have happened."""
    folder = tmp_path / "w"
    with open_shop(folder, store=None, changes=changes) as shop:
        shop.run(*more)
    return folder


STORY = (
    consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
    cart("2026-10-05T09:00:00Z"),
    cart("2026-10-05T09:01:00Z", cart_id="k-2"),
    row("order_completed", "2026-10-05T09:10:00Z", cart_id="k-2"),
    row("cart_updated", "2026-10-05T09:20:00Z", cart_id="k-3", value=50.0),
)


def test_list_counts_who_is_on_each_journey(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By state; a window that is over counts as expired; a review that is due is named."""
    review = {FILE: ("window: 3d", 'window: 3d\nreview_by: "2026-10-07"')}
    folder = edited(tmp_path, *STORY, changes=review)
    here = ["--workspace", str(folder), "--at"]
    assert main(["journeys", "list", *here, "2026-10-05T09:25:00Z"]) == 0
    text = capsys.readouterr().out.splitlines()
    assert text[0].split()[:4] == ["journey", "waiting", "active", "reached"]
    (line,) = [one for one in text if one.startswith("abandoned_cart")]
    counts = ["1", "1", "1", "0", "0", "0", "0"]
    assert line.split() == ["abandoned_cart", *counts, "ana", "2026-10-07"]
    assert main(["journeys", "list", "--json", *here, "2026-10-09T00:00:00Z"]) == 0
    told = [json.loads(one) for one in capsys.readouterr().out.splitlines()]
    (one,) = [said for said in told if said["journey"] == "abandoned_cart"]
    assert (one["active"], one["expired"], one["is_overdue"]) == (0, 1, True)
    assert one["owner"] == "ana"


def test_list_and_show_count_whoever_keeps_an_earlier_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And name a journey whose file is gone, as long as somebody is or was on it."""
    folder = edited(tmp_path, *STORY)
    path = folder / FILE
    path.write_text(path.read_text().replace("window: 3d", "window: 2d"))
    here = ["--workspace", str(folder), "--at", "2026-10-05T09:25:00Z"]
    assert main(["journeys", "show", "abandoned_cart", *here]) == 0
    text = capsys.readouterr().out
    assert "It begins 30m after `cart_updated` if no `order_completed` has come." in text
    assert "A customer is on it for each `event.cart_id`, for 2d." in text
    assert "1 of the active keep the version that they entered" in text
    path.unlink()
    assert main(["journeys", "list", *here]) == 0
    assert "(no such file any more)" in capsys.readouterr().out
    assert main(["journeys", "show", "abandoned_cart", *here]) == 2
    assert "there is no journey `abandoned_cart`" in capsys.readouterr().err


def test_show_says_all_that_a_file_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each key of the file is in a sentence."""
    more = (
        'window: 3d\nagain_after: 1d\nentry: "signal.events_before > 0"\n'
        'exit: "signal.open_cases > 2"\n'
        "holdout: 0.25\npriority: 2.5\nescalation: priority_case\nmetric: effort\n"
        'review_by: "2027-01-01"'
    )
    lag = {"settings.toml": ('source = "shop"', 'source = "shop"\n[input.max_lag]\ntill = "60m"')}
    folder = edited(tmp_path, *STORY, changes={FILE: ("window: 3d", more), **lag})
    here = ["--workspace", str(folder), "--json"]
    assert main(["journeys", "show", "abandoned_cart", *here]) == 0
    said = " ".join(json.loads(capsys.readouterr().out)["meaning"])
    for words in (
        "begins with `cart_abandoned`",
        "waits for `till` to tell of that time, at most 1h longer; then it does not begin",
        "entered where `signal.events_before > 0`",
        "ends before that where `signal.open_cases > 2`",
        "measured by effort",
        "25% of people",
        "tries again 1d later",
        "becomes `priority_case`",
        "priority is 2.5",
    ):
        assert words in said, words


def test_check_exits_with_1_where_it_finds_something(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 on the starter, 1 with `file:line` on a fault, 2 on what does not load."""
    folder = edited(tmp_path)
    here = ["journeys", "check", "--workspace", str(folder)]
    assert main(here) == 0
    assert capsys.readouterr().out == "6 journeys looked at, 0 findings\n"
    path = folder / FILE
    good = path.read_text()
    path.write_text(good.replace("window: 3d", 'window: 3d\nreview_by: "2026-10-04"'))
    assert main([*here, "--at", "2026-10-05T00:00:00Z"]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"{FILE}:14: journey `abandoned_cart` was to be reviewed by 2026-10-04")
    assert main([*here, "--json", "--at", "2026-10-05T00:00:00Z"]) == 1
    assert json.loads(capsys.readouterr().out)["check"] == "overdue-review"
    path.write_text(good + 'exit: "true"\n')
    assert main(here) == 2
    assert f"{FILE}:15:" in capsys.readouterr().err


def boxes(root: ET.Element) -> list[tuple[float, ...]]:
    """The frames of the picture: left, top, right, bottom."""
    found: list[tuple[float, ...]] = []
    for one in root.iter(f"{SVG}rect"):
        if one.get("rx"):
            x, y, w, h = (float(one.get(key, "")) for key in ("x", "y", "width", "height"))
            found.append((x, y, x + w, y + h))
    return found


def test_the_picture_shows_every_journey_and_nothing_lies_over_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that begins, may be done and ends is there; frames are apart and hold their text."""
    title = 'title: "Win back <an> abandoned & forgotten cart, with words that take several lines"'
    more = (
        'window: 3d\nentry: "has(event.value) && event.value > 20.0"\nexit: "signal.open_cases > 2"'
    )
    folder = edited(tmp_path, changes={FILE: ('title: "Win back an abandoned cart"', title)})
    (folder / FILE).write_text((folder / FILE).read_text().replace("window: 3d", more))
    picture = tmp_path / "journeys.svg"
    here = ["journeys", "draw", "--workspace", str(folder)]
    assert main([*here, "--output", str(picture)]) == 0
    assert capsys.readouterr().out == f"drawn: {picture}\n"
    root = ET.parse(picture).getroot()
    text = [one.text or "" for one in root.iter(f"{SVG}text")]
    loaded = load_workspace(read_files(folder))
    for journey in loaded.journeys.values():
        for name in (journey.name, journey.goal, *journey.begins_with, *journey.actions):
            assert name in text
    assert "Win back <an> abandoned & forgotten" in text
    frames = boxes(root)
    assert len(frames) > 20
    for one, other in combinations(frames, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)
    for said in root.iter(f"{SVG}text"):
        x, y = float(said.get("x", "")), float(said.get("y", ""))
        if y > 40:
            right = x + len(said.text or "") * CHARACTER
            assert any(a <= x and right <= c and b <= y <= d for a, b, c, d in frames), said.text
    assert main([*here, "welcome"]) == 0
    alone = ET.fromstring(capsys.readouterr().out)
    assert [b for b in alone.iter(f"{SVG}text") if b.text == "welcome"]
    assert not [b for b in alone.iter(f"{SVG}text") if b.text == "abandoned_cart"]
    assert main([*here, "nothing"]) == 2
    assert main([*here, "--output", str(tmp_path / "no" / "where.svg")]) == 2
