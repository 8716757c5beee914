from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.world.shop import Setup, files
from service.assemble import assemble
from service.cli import main
from tests.worlds import live, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with a store of some days' choices, most of them left to chance."""
    made = write(tmp_path / "w", files(Setup("logistic", exploration=0.9, holdout=0.2)))
    assembly = assemble(made)
    live(assembly.deps, 8, people=80, days=18, learn_every=0)
    assembly.close()
    return made


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What a command prints for programs."""
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_learn_says_what_it_learnt_from_and_what_it_would_have_gained(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counts, the mean reward and the estimates; the next training goes on, or has nothing new."""
    on = ("learn", "--workspace", str(folder))
    first = said(capsys, *on, "--at", "2026-03-07T00:00:00Z")
    second = said(capsys, *on)
    third = said(capsys, *on)
    assert first["n"] == 1 and first["parent"] is None
    assert second["n"] == 2 and second["parent"] == first["version"]
    assert third["version"] is None and third["lessons"] == 0
    assert first["lessons"] > 10
    assert 0 < second["mean_reward"] < 1
    judged = second["off_policy"]
    low, high = judged["snips_interval"]
    assert low <= judged["snips"] <= high
    assert judged["refused"] is None


def test_learn_tells_people_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One paragraph a journey; and what is erased is left out and counted."""
    for who in ("u-1", "u-2", "u-3", "u-4"):
        erased = ["profile", "erase", f"user_id:{who}", "--yes", "--reason", "asked"]
        assert main([*erased, "--workspace", str(folder)]) == 0
    capsys.readouterr()
    assert main(["learn", "--workspace", str(folder), "--journey", "cart"]) == 0
    text = capsys.readouterr().out
    assert "model " in text and "(number 1)" in text
    assert "mean reward 0." in text
    assert " erased\n" in text
    assert "SNIPS 0." in text and "IPS 0." in text


def test_learn_leaves_out_what_was_decided_before(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--since` only later choices are learnt from."""
    later = said(capsys, "learn", "--workspace", str(folder), "--since", "2026-03-18T00:00:00Z")
    assert 0 < later["lessons"] < 50
    outcome = said(capsys, "outcomes", "--workspace", str(folder))
    assert {one["arm"] for one in outcome["arms"]} == {"treated", "held_out"}


@pytest.mark.parametrize("command", ["learn", "outcomes"])
def test_a_journey_that_is_not_there_is_refused(
    folder: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names those that are."""
    assert main([command, "--workspace", str(folder), "--journey", "nope"]) == 2
    assert "use one of cart" in capsys.readouterr().err


def test_where_nothing_learns_learn_says_how_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The starter's journeys learn nothing; the message says what to write where."""
    made = write(tmp_path / "w", files(Setup()))
    assert main(["learn", "--workspace", str(made)]) == 2
    assert "`learning: logistic`" in capsys.readouterr().err


def test_people_read_outcomes_by_arm(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shares with intervals, and the uplift with its sign."""
    capsys.readouterr()
    assert main(["outcomes", "--workspace", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "treated   converted" in text and "held_out  converted" in text
    assert "uplift    +" in text or "uplift    -" in text
