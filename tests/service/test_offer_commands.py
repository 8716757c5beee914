"""The catalogue, grants and the search, as commands show them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.cli import main
from tests.shop import consent, open_shop, row

AT = "2026-10-06T09:00:00Z"
CATALOGUE = """
offers:
  voucher_5:
    title: "5 EUR voucher"
    worth: "5.00 EUR"
    stock: 10
    exclusive: [vouchers]
    expires_after: 7d
    returns: true
  voucher_25:
    title: "25 EUR voucher"
    worth: "25.00 EUR"
    stock: 50
    exclusive: [vouchers]
  free_shipping:
    title: "Free shipping"
    description: "Nothing to pay for the delivery of your next order."
    worth: "4.90 EUR"
    stock: 100
    channels: [email]
  free_shipping_plus:
    title: "Free shipping for regulars"
    worth: "4.90 EUR"
    stock: 100
    eligible: "has(signal.purchases_90d) && signal.purchases_90d > 0"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A shop that has welcomed somebody with a voucher, and knows somebody else."""
    changes = {
        "actions.yaml": (
            "    propensity: 0.42\n    value: 18",
            "    propensity: 0.9\n    value: 90",
        ),
        "journeys/welcome.yaml": ("holdout: 0.1", "holdout: 0"),
    }
    with open_shop(tmp_path / "w", store=None, changes=changes):
        pass
    (tmp_path / "w" / "offers.yaml").write_text(CATALOGUE)
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="c1@shop.example"),
            row("signed_up", "2026-10-05T09:00:00Z"),
            row("order_completed", "2026-10-05T09:30:00Z", "c-2", order_id="o-1", value=20.0),
        )
    return tmp_path / "w"


def told(
    capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str, code: int = 0
) -> tuple[str, str]:
    """What `safeconduct offers` prints, and complains of."""
    capsys.readouterr()
    assert main(["offers", *arguments, "--workspace", str(folder)]) == code
    printed = capsys.readouterr()
    return printed.out, printed.err


def as_json(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> list[Any]:
    return [json.loads(line) for line in told(capsys, folder, *arguments, "--json")[0].splitlines()]


def test_the_catalogue_says_how_many_are_left(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line an offer; what was granted is missing from its stock."""
    out, _ = told(capsys, folder, "list")
    assert "voucher_5               shop        9 of 10 left            5.00 EUR" in out
    assert len(out.splitlines()) == 4
    (one,) = as_json(capsys, folder, "show", "voucher_5")
    assert (one["left"], one["granted"], one["redeemed"], one["returned"]) == (9, 1, 0, 0)
    assert one["place"] == "offers.yaml:3"
    shown, _ = told(capsys, folder, "show", "free_shipping_plus")
    assert "signal.purchases_90d > 0" in shown
    _, said = told(capsys, folder, "show", "nothing", code=2)
    assert "use one of free_shipping" in said


def test_a_grant_is_listed_and_taken_back_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its id, by whom and why; its stock is there again, for the offer returns."""
    (grant,) = as_json(capsys, folder, "grants")
    assert (grant["state"], grant["expires_at"]) == ("granted", "2026-10-12T09:00:00.000Z")
    assert as_json(capsys, folder, "grants", "--profile", "user_id:c-1") == [grant]
    assert as_json(capsys, folder, "grants", "--offer", "voucher_5") == [grant]
    assert told(capsys, folder, "grants", "--profile", "user_id:c-2")[0] == "nothing was granted\n"
    assert as_json(capsys, folder, "grants", "--offer", "voucher_25") == []
    named = grant["grant_id"]
    given = ("revoke", named, "--reason", "a slip", "--by", "ana", "--at", AT)
    (revoked,) = as_json(capsys, folder, *given)
    assert (revoked["state"], revoked["returned"], revoked["ended_at"]) == (
        "revoked",
        True,
        "2026-10-06T09:00:00.000Z",
    )
    _, said = told(capsys, folder, *given, code=2)
    assert "this grant is revoked" in said
    _, said = told(capsys, folder, "revoke", "g-nothing-0", code=2)
    assert "offers grants" in said
    (one,) = as_json(capsys, folder, "show", "voucher_5")
    assert (one["left"], one["granted"], one["revoked"], one["returned"]) == (10, 0, 1, 1)
    assert "revoked at 2026-10-06 09:00Z, back in stock" in told(capsys, folder, "grants")[0]
    assert main(["ledger", "verify", "--workspace", str(folder)]) == 0
    capsys.readouterr()
    assert main(["explain", grant["decision_id"], "--workspace", str(folder)]) == 0
    assert "2026-10-06 09:00:00Z  step 0: revoked by ana  a slip" in capsys.readouterr().out


def searched(capsys: pytest.CaptureFixture[str], folder: Path, who: str, *more: str) -> list[str]:
    given = ("search", "free shipping", "--profile", f"user_id:{who}", "--at", AT)
    return [hit["offer"] for hit in as_json(capsys, folder, *given, *more)]


def test_what_is_found_is_what_the_person_could_be_granted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The nearest first; what a rule forbids this person is not found however near it is."""
    near, others = ["free_shipping_plus", "free_shipping"], {"voucher_5", "voucher_25"}
    assert searched(capsys, folder, "c-1") == near[1:]
    found = searched(capsys, folder, "c-2")
    assert found[:2] == near
    assert set(found[2:]) == others
    assert searched(capsys, folder, "c-2", "--most", "1") == near[:1]
    by_phone = searched(capsys, folder, "c-2", "--channel", "sms")
    assert by_phone[0] == "free_shipping_plus"
    assert set(by_phone[1:]) == others
    given = ("search", "free shipping", "--profile", "user_id:c-2", "--at", AT)
    out, _ = told(capsys, folder, *given)
    assert out.endswith("4 of 4 offers could be granted\n")
    _, said = told(capsys, folder, *given, "--channel", "fax", code=2)
    assert "there is no channel `fax`" in said


def test_a_search_follows_the_workspace_and_changes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was added is found at once; nothing is decided, and nobody's record grows."""
    searched(capsys, folder, "c-2")
    with open_shop(folder, store=None) as shop:
        before = {name: shop.rows(name) for name in ("decisions", "profiles", "revisions")}
    (folder / "offers.yaml").write_text(
        CATALOGUE + '  shipping:\n    title: "Free shipping"\n    worth: "1.00 EUR"\n    stock: 1\n'
    )
    assert "shipping" in searched(capsys, folder, "c-2")[:2]
    with open_shop(folder, store=None) as shop:
        assert before == {name: shop.rows(name) for name in before}


def test_who_is_in_review_for_fraud_is_offered_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hard eligibility is the whole guard's word, not the catalogue's alone."""
    with open_shop(folder, store=None) as shop:
        shop.run(row("fraud_review_opened", "2026-10-05T10:00:00Z", "c-2"))
    assert searched(capsys, folder, "c-2") == []
