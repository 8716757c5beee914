"""Suppressions that are added, listed and lifted by a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.cli import main
from tests.shop import cart, consent, open_shop, row

MAIL = "maya@example.com"
WHO = f"email:{MAIL}"
AT = "2026-10-05T08:40:00Z"


def told(
    capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str, code: int = 0
) -> tuple[str, str]:
    """What `safeconduct suppressions` prints, and complains of."""
    capsys.readouterr()
    assert main(["suppressions", *arguments, "--workspace", str(folder), "--at", AT]) == code
    printed = capsys.readouterr()
    return printed.out, printed.err


def listed(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> list[Any]:
    out, _ = told(capsys, folder, "list", *arguments, "--json")
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with a customer who agreed to marketing, and one who complained."""
    with open_shop(tmp_path / "w", store=None) as opened:
        opened.run(
            consent("granted", "2026-10-05T08:00:00Z", email=MAIL),
            row("spam_complaint", "2026-10-05T08:10:00Z", "c-2", email="b@example.com"),
        )
    return tmp_path / "w"


def reminded(folder: Path, when: str, cart_id: str) -> bool:
    with open_shop(folder, store=None) as opened:
        return bool(opened.one(cart(when, cart_id=cart_id))["action"] == "remind_by_email")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--target", "address", "--address", " Maya@Example.com"),
        ("--target", "domain", "--address", "x@example.com"),
        ("--channel", "email", "--brand", "shop", "--blocks", "all"),
    ],
)
def test_what_is_added_blocks_until_it_is_lifted(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    """A suppression blocks, is listed with who made it, and ends where it is lifted."""
    said = ("--reason", "a lawsuit", "--by", "ida", "--json")
    made = json.loads(told(capsys, folder, "add", WHO, *arguments, *said)[0])
    (one,) = listed(capsys, folder, WHO)
    assert (one["suppression_id"], one["reason"], one["by"]) == (
        made["suppression_id"],
        "a lawsuit",
        "ida",
    )
    assert not reminded(folder, "2026-10-05T09:00:00Z", "k-1")
    told(capsys, folder, "lift", made["suppression_id"], "--by", "omar", "--reason", "settled")
    assert listed(capsys, folder, WHO) == []
    (ended,) = listed(capsys, folder, WHO, "--all")
    assert (ended["lifted_by"], ended["lifted_at"]) == ("omar", "2026-10-05T09:00:00.000Z")
    assert reminded(folder, "2026-10-07T09:00:00Z", "k-2")
    assert main(["ledger", "verify", "--workspace", str(folder)]) == 0


def test_who_may_not_know_learns_only_that_there_is_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a fraud review, everybody else sees a line of the same keys that says nothing."""
    with open_shop(folder, store=None) as opened:
        opened.run(row("fraud_review_opened", "2026-10-05T08:20:00Z"))
    (inside,) = listed(capsys, folder, WHO, "--audience", "fraud")
    assert inside["reason"] == "fraud review"
    for audience in ("customer", "agent", "auditor", "approver"):
        (outside,) = listed(capsys, folder, WHO, "--audience", audience)
        assert outside.keys() == inside.keys()
        assert "fraud" not in json.dumps(outside)
        assert "fraud" not in told(capsys, folder, "list", WHO, "--audience", audience)[0]


def test_what_cannot_be_lifted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A spam complaint, an id of nothing and one lifted before are refused with what to do."""
    (complaint,) = listed(capsys, folder)
    _, error = told(capsys, folder, "lift", complaint["suppression_id"], code=2)
    assert "a spam complaint stands for good" in error
    _, error = told(capsys, folder, "lift", "s-nothing", code=2)
    assert "there is no suppression `s-nothing`" in error
    out, _ = told(capsys, folder, "add", WHO, "--reason", "x", "--json")
    made = json.loads(out)["suppression_id"]
    told(capsys, folder, "lift", made)
    _, error = told(capsys, folder, "lift", made, code=2)
    assert "is lifted already" in error


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--target", "domain"), "it is not said which domain to suppress"),
        (("--channel", "fax"), "`$.properties.channels` is none that is known"),
        (("--brand", "nobody"), "is one that no controller owns"),
        (("--shown-to", "everybody"), "`$.properties.shown_to` is none that is known"),
        (("--expires-at", "soon"), "`$.properties.expires_at` is no instant"),
    ],
)
def test_what_cannot_be_added(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    """What is not understood blocks nothing, and says what is wrong."""
    _, error = told(capsys, folder, "add", WHO, *arguments, code=2)
    assert says in error
    assert len(listed(capsys, folder)) == 1
