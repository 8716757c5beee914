from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agents.access import HELD, NOT_HELD
from profiles.requests import due
from service.cli import main
from store import tables as t
from tests.profiles.test_erasure import MAIL, PHONE, USER, codes, story
from tests.shop import cart, consent, open_shop, row


def asked(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """What a command prints for programs."""
    capsys.readouterr()
    assert main(["profile", *arguments]) == code
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_table_that_names_a_person_is_handed_out() -> None:
    """A table with a person in it is in the export, or said to hold none of their data."""
    named = {name for name, table in t.metadata.tables.items() if "profile_id" in table.columns}
    assert named == {table.name for table in HELD} | NOT_HELD.keys()


def test_an_export_holds_all_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Identifiers, traits, what was said, decided, sent, opened and granted; dead letters too."""
    place = ["--workspace", str(tmp_path / "w")]
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(*story(), row("oops", "2026-10-06T21:00:00Z", email=MAIL, brand="nobody's"))
        held = {
            table.name: list(shop.rows(str(table.name)))
            for table in HELD
            if table.name != "rulings"
        }
    (document,) = asked(capsys, "export", f"user_id:{USER}", "--audience", "auditor", *place)
    for name, rows in held.items():
        assert len(document[name]) == len(rows), name
    assert {table for table, rows in held.items() if rows} >= {
        "consents", "contacts", "decisions", "outbox", "outcomes", "cases", "instances", "events",
    }  # fmt: skip
    text = json.dumps(document)
    for secret in (MAIL, PHONE, "Zerlinda", "Xylophone Lane 7", "wobbly-gizmo"):
        assert secret in text
    assert document["dead_letters"][0]["reason"] == "invalid_field"
    assert any(MAIL in json.dumps(step["content"]) for step in document["outbox"])


def test_who_asked_for_their_data_has_a_receipt_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the day on which they asked, the request is kept and told with its clock; a look by a
    colleague is none."""
    place = ["--workspace", str(tmp_path / "w")]
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(*story())
    asked(capsys, "export", f"user_id:{USER}", *place)
    assert asked(capsys, "requests", "--json", *place) == []
    when = ["--received", "2026-10-31T09:00:00Z", "--at", "2026-11-02T00:00:00Z", "--by", "ida"]
    (document,) = asked(capsys, "export", f"user_id:{USER}", *when, *place)
    (kept,) = asked(capsys, "requests", "--json", *place)
    told = [kept[key] for key in ("kind", "state", "by", "received_at", "due_at")]
    assert told[:3] == ["export", "done", "ida"]
    assert [at[:10] for at in told[3:]] == ["2026-10-31", "2026-11-30"]
    assert [one["kind"] for one in document["requests"]] == ["export"]


def test_a_customer_is_not_told_what_is_withheld(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fraud review reads `unavailable`, in its row and in every explanation."""
    place = ["--workspace", str(tmp_path / "w")]
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email=MAIL),
            row(
                "suppression_added", "2026-10-05T08:10:00Z", target="person", blocks="marketing",
                reason="fraud review", shown_to=["fraud"],
            ),
            cart("2026-10-05T09:00:00Z"),
        )  # fmt: skip
    for audience, told in (("customer", False), ("fraud", True)):
        (document,) = asked(capsys, "export", f"email:{MAIL}", "--audience", audience, *place)
        rest = {key: value for key, value in document.items() if key != "events"}
        assert ("fraud review" in json.dumps(rest["suppressions"])) is told
        assert ("fraud review" in json.dumps(rest["decisions_explained"])) is told
        assert len(document["suppressions"]) == 1


def test_a_customer_reads_no_colleagues_words_and_of_no_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What staff wrote about an approval or a request, and that a court wants the data, stays."""
    place = ["--workspace", str(tmp_path / "w")]
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email=MAIL),
            row("self_service_failed", "2026-10-05T09:00:00Z", topic="returns"),
            row("contact_opened", "2026-10-05T10:00:00Z", topic="returns"),
        )
        (waiting,) = shop.rows("approvals")
        shop.run(row("page_viewed", "2026-10-05T10:01:00Z", "c-2"))
    pair = ["user_id:c-1", "user_id:c-2", "--reason", "a cousin's hint"]
    assert main(["profile", "merge", *pair, *place]) == 0
    no = ["approvals", "reject", waiting["approval_id"], "--by", "ana", "--reason", "odd orders"]
    assert main([*no, "--at", "2026-10-05T10:05:00Z", *place]) == 0
    asked(capsys, "hold", "user_id:c-1", "on", "--reason", "a court's order", "--json", *place)
    asked(capsys, "object", "user_id:c-1", "--reason", "a rude letter", "--json", *place)
    words = ("odd orders", "a court's order", "a rude letter", "a cousin's hint", waiting["rule"])
    for audience, told in (("customer", False), ("auditor", True)):
        (document,) = asked(capsys, "export", "user_id:c-1", "--audience", audience, *place)
        rest = {k: v for k, v in document.items() if k not in ("decisions", "decisions_explained")}
        assert [word in json.dumps(rest) for word in words] == [told] * len(words)
        assert ("hold" in {one["kind"] for one in document["requests"]}) is told
        assert len(document["approval_votes"]) == 1


def test_an_export_holds_no_letters_of_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`c-1` stands in `c-12`, and is somebody else."""
    place = ["--workspace", str(tmp_path / "w")]
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(
            row("signed_up", "2026-10-05T08:00:00Z"),
            row("oops", "2026-10-05T09:00:00Z", "c-12", email=MAIL, brand="nobody's"),
            row("oops", "2026-10-05T09:00:00Z", "c-1", email="mine@shop.example", brand="nobody's"),
        )
    (document,) = asked(capsys, "export", "user_id:c-1", *place)
    assert len(document["dead_letters"]) == 1
    assert MAIL not in json.dumps(document)


def test_an_objection_holds_at_every_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At those there are and those to come, until the person says otherwise."""
    place = ["--workspace", str(tmp_path / "w")]
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email=MAIL))
    (receipt,) = asked(capsys, "object", "user_id:c-1", "--reason", "by letter", "--json", *place)
    assert receipt["kind"] == "object"
    assert asked(capsys, "object", "user_id:c-1", "--purpose", "nonsense", *place, code=2) == []
    with open_shop(tmp_path / "w", store=None) as shop:
        now = shop.database.clock()
        when = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        line = shop.one(cart(when, email="second@shop.example"))
        assert "objection" in codes(shop, line, "remind_by_email")


def test_who_is_restricted_hears_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The data stay, and are used for nothing; lifted, all is as before."""
    place = ["--workspace", str(tmp_path / "w")]
    at = "2026-10-05T08:30:00Z"
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email=MAIL))
    asked(capsys, "restrict", f"email:{MAIL}", "on", "--at", at, "--json", *place)
    with open_shop(tmp_path / "w", store=None) as shop:
        line = shop.one(cart("2026-10-05T09:00:00Z"))
        assert "restricted" in codes(shop, line, "remind_by_email")
        assert shop.sent() == []
    asked(
        capsys, "restrict", f"email:{MAIL}", "off", "--at", "2026-10-05T09:30:00Z", "--json", *place
    )
    with open_shop(tmp_path / "w", store=None) as shop:
        assert shop.one(cart("2026-10-05T10:00:00Z", cart_id="k-2"))["action"] == "remind_by_email"
    asked(capsys, "restrict", f"email:{MAIL}", "off", *place, code=2)


def test_a_restriction_ends_what_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A message that was held for the morning is not sent to somebody restricted at night."""
    place = ["--workspace", str(tmp_path / "w")]
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", channel="sms", phone=PHONE),
            cart("2026-10-05T22:30:00Z"),
        )
        assert [kept["state"] for kept in shop.rows("timers")] == ["pending"]
    at = "2026-10-05T23:00:00Z"
    asked(capsys, "restrict", "user_id:c-1", "on", "--at", at, "--json", *place)
    with open_shop(tmp_path / "w", store=None) as shop:
        assert [kept["state"] for kept in shop.rows("timers")] != ["pending"]
        shop.wake("2026-10-06T12:00:00Z")
        assert shop.sent("sms") == []


def test_traits_are_put_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From now on it is what was said; the receipt names the trait and not its values."""
    place = ["--workspace", str(tmp_path / "w")]
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(row("signed_up", "2026-10-05T08:00:00Z", traits={"first_name": "Ane", "plan": 1}))
    (receipt,) = asked(
        capsys, "rectify", "user_id:c-1", "first_name=Anne", "plan=2", "--json", *place
    )
    assert "Anne" not in json.dumps(receipt)
    (person,) = asked(capsys, "show", "user_id:c-1", "--json", *place)
    assert person["traits"]["first_name"]["value"] == "Anne"
    assert person["traits"]["plan"]["value"] == 2
    assert asked(capsys, "rectify", "user_id:c-1", "Anne", *place, code=2) == []


@pytest.mark.parametrize(
    ("received", "until"),
    [("2026-01-31", "2026-02-28"), ("2027-12-15", "2028-01-15"), ("2028-01-30", "2028-02-29")],
)
def test_the_clock_is_a_calendar_month(received: str, until: str) -> None:
    """One month on, or the last day of a shorter one."""
    came_in = datetime.fromisoformat(received).replace(tzinfo=UTC)
    assert due(came_in).date().isoformat() == until


def test_the_day_of_a_request_is_its_beginning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A letter bears a day and no hour; what is no time at all is refused by the option's name."""
    place = ["--workspace", str(tmp_path / "w")]
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(*story())
    asked(capsys, "export", f"user_id:{USER}", "--received", "2026-10-31", *place)
    (kept,) = asked(capsys, "requests", "--json", *place)
    assert kept["received_at"] == "2026-10-31T00:00:00.000Z"
    assert asked(capsys, "export", f"user_id:{USER}", "--received", "2026-13", *place, code=2) == []
