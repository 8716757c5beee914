from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agents import erasure
from agents.pruning import PRUNED, Pruned, prune
from domain.errors import ConfigurationError, LedgerBroken
from service.cli import main
from service.rights import Asked, _record
from store import tables as t
from store.database import open_database
from tests.shop import Shop, at, cart, consent, open_shop, row
from tests.stores import Schema
from traces.ledger import Verified, verify

LATER = "2029-10-06T00:00:00Z"
"""Three years after the story's first day, and before three years after its last."""
FIRST, LAST = "2026-10-05T09:00:00Z", "2026-10-20T09:00:00Z"
WORDS = "wobbly-gizmo"


def story(shop: Shop) -> list[dict[str, Any]]:
    """A yes and a message; another and a no, a fortnight later."""
    return shop.run(
        consent("granted", "2026-10-05T08:00:00Z", email="a@x.example", wording=WORDS),
        cart(FIRST, cart_id=WORDS),
        cart(LAST, cart_id="k-2"),
        consent("denied", "2026-10-20T10:00:00Z", email="a@x.example"),
    )


def left(shop: Shop) -> dict[str, int]:
    """How many rows of each table of the record there are."""
    return {name: len(shop.rows(name)) for name in (*t.CHAINED, "tombstones")}


def test_a_record_that_was_pruned_verifies_and_says_so(tmp_path: Path, store: str) -> None:
    """Old decisions, and what hung on them, are gone; what was said stands; the chain goes on."""
    folder = tmp_path / "w"
    with open_shop(folder, store=store) as shop:
        lines = story(shop)
        before, had, sent = verify(shop.database), left(shop), shop.sent("email")
        (done,) = prune(shop.deps, at(LATER))
        after = verify(shop.database)
        assert after == Verified(before.people, before.entries, before.decisions - 2, done.entries)
        assert done.entries > 2
        assert left(shop)["consents"] == had["consents"]
        old = {line["decision_id"] for line in lines if line["at"] < "2026-10-06"}
        assert old
        for name in ("decisions", "outcomes", "permits", "outbox", "contacts", "timers"):
            assert not [kept for kept in shop.rows(name) if kept["decision_id"] in old], name
        assert len(shop.sent("email")) == len(sent) - 1
        assert prune(shop.deps, at(LATER)) == []
        assert shop.one(cart("2026-10-21T09:00:00Z", cart_id="k-3"))["channel"] != "email"
        assert verify(shop.database).decisions == after.decisions + 1
        (rest,) = prune(shop.deps, at("2031-01-01T00:00:00Z"))
        assert rest.length > done.length
        assert not shop.rows("decisions")
        assert len(shop.rows("consents")) == 2
        assert verify(shop.database).pruned == done.entries + rest.entries
        later = shop.one(consent("granted", "2026-10-22T09:00:00Z", email="a@x.example"))
        assert later["verdict"] != "dead"
        assert verify(shop.database).decisions == 1


def test_an_event_whose_decision_was_pruned_is_still_a_duplicate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is decided no second time, and nothing is told but that it was; nor is it explained."""
    with open_shop(tmp_path / "w", store=None) as shop:
        first = next(line for line in story(shop) if at(line["at"]) == at(FIRST))
        prune(shop.deps, at(LATER))
        sent = shop.sent()
        again = shop.one(cart(FIRST, cart_id=WORDS))
        assert (again["verdict"], again["code"]) == ("duplicate", "pruned")
        assert (again["decision_id"], again["action"]) == (first["decision_id"], "no_action")
        assert first["profile_id"] not in json.dumps(again)
        assert shop.sent() == sent
    place = ["--workspace", str(tmp_path / "w")]
    assert main(["explain", first["decision_id"], *place]) == 2
    assert "was pruned" in capsys.readouterr().err
    assert main(["explain", "d-nothing", *place]) == 2
    assert "there is no decision" in capsys.readouterr().err


def test_nothing_of_what_was_pruned_is_in_a_file(tmp_path: Path) -> None:
    """Neither the sealed rows nor the messages: the files are searched for their bytes."""
    folder = tmp_path / "w"
    with open_shop(folder, store=None) as shop:
        story(shop)
        sealed = [kept["sealed"] for kept in shop.rows("decisions") if kept["at"] < micros(LATER)]
        assert sealed[0] in b"".join(files(folder))
        prune(shop.deps, at("2031-01-01T00:00:00Z"))
        kept = b"".join(files(folder))
        assert not [one for one in sealed if one in kept]
        assert WORDS.encode() not in kept


def micros(text: str) -> int:
    return int(at(text).timestamp() * 1_000_000)


def files(folder: Path) -> Iterator[bytes]:
    """Every file's bytes."""
    return (path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_what_something_waits_for_is_not_pruned(tmp_path: Path) -> None:
    """An open case keeps its decision and all after it, however old; closed, it goes with it."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(row("checkout_failed", "2026-10-05T09:20:00Z", error="card", order_id="o-1"))
        (opened,) = [kept for kept in shop.rows("cases") if kept["state"] == "open"]
        shop.run(cart("2026-10-06T09:00:00Z"))
        prune(shop.deps, at("2031-01-01T00:00:00Z"))
        decisions = [kept["decision_id"] for kept in shop.rows("decisions")]
        assert opened["decision_id"] in decisions
        assert len(decisions) >= 2
        shop.database._driver.execute("UPDATE cases SET state = 'closed'")
        assert prune(shop.deps, at("2031-01-01T00:00:00Z"))
        assert not shop.rows("cases")
        assert not shop.rows("decisions")
        verify(shop.database)


def test_a_legal_hold_keeps_the_record(tmp_path: Path) -> None:
    """Nothing of who is under a hold is pruned until it is released, be it put on in between."""
    with open_shop(tmp_path / "w") as shop:
        story(shop)
        had = len(shop.rows("decisions"))
        _record(shop.assembly, "user_id:c-1", "hold", Asked("ida", "a court"), {})
        assert prune(shop.deps, at(LATER)) == []
        assert len(shop.rows("decisions")) == had
        _record(shop.assembly, "user_id:c-1", "release", Asked("ida", "over"), {})
        commit = shop.database.commit

        def interrupted(works: Any) -> list[bool]:
            shop.database.commit = commit  # type: ignore[method-assign]
            _record(shop.assembly, "user_id:c-1", "hold", Asked("ida", "a court"), {})
            return commit(works)

        shop.database.commit = interrupted  # type: ignore[method-assign]
        assert prune(shop.deps, at(LATER)) == []
        assert len(shop.rows("decisions")) == had


def test_a_pruning_that_was_cut_short_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages whose decisions are gone are found again, and go."""
    with open_shop(tmp_path / "w") as shop:
        story(shop)
        sent = len(shop.sent("email"))

        def killed(_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(shop.deps.toolbox, "forget", killed)
            with pytest.raises(KeyboardInterrupt):
                prune(shop.deps, at(LATER))
        verify(shop.database)
        assert len(shop.sent("email")) == sent
        assert prune(shop.deps, at(LATER)) == []
        assert len(shop.sent("email")) == sent - 1


def test_who_was_erased_is_pruned_too_and_stays_suppressed(tmp_path: Path) -> None:
    """The receipt says until when; after it the plain columns go, and what forbids stays."""
    with open_shop(tmp_path / "w") as shop:
        story(shop)
        (root,) = {kept["root_id"] for kept in shop.rows("profiles")}
        now = at("2026-11-01T00:00:00Z")
        receipt = asyncio.run(
            erasure.erase(
                shop.deps, root, received_at=now, at=now, by="ida", reason="",
                evidence_for=timedelta(days=30),
            )
        )  # fmt: skip
        dates = [kept["until"] for kept in receipt.kept if "decisions" in kept["what"]]
        assert dates == ["2029-10-31T00:00:00Z"]
        suppressed = shop.rows("suppressions")
        assert prune(shop.deps, at(dates[0]))
        assert not [kept for kept in shop.rows("decisions") if kept["profile_id"] == root]
        assert shop.rows("suppressions") == suppressed
        assert verify(shop.database).pruned


@pytest.fixture
def pruned(tmp_path: Path) -> Path:
    """The file of a shop whose record was pruned twice, and a copy from between."""
    folder = tmp_path / "w"
    with open_shop(folder, store=None) as shop:
        story(shop)
        shop.run(consent("granted", "2026-10-05T08:00:00Z", "c-2", email="b@x.example"))
        assert len(prune(shop.deps, at(LATER))) == 2
        older = shop.rows("tombstones")
        shop.run(cart("2026-10-21T09:00:00Z", cart_id="k-3"))
        assert len(prune(shop.deps, at("2029-10-19T12:00:00Z"))) == 1
    (tmp_path / "older").write_text(repr(older))
    return folder / "safeconduct.db"


def meddled(path: Path, statement: str, values: tuple[Any, ...] = ()) -> str | None:
    """Where verifying stops after a statement past the program."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        assert raw.execute(statement, values).rowcount
    with closing(open_database(f"sqlite:///{path}", writable=False)) as database:
        try:
            verify(database)
        except LedgerBroken as error:
            return error.place
    return None


@pytest.mark.parametrize("column", [c.name for c in t.tombstones.columns])
def test_an_edit_of_any_cell_of_a_tombstone_is_found(pruned: Path, column: str) -> None:
    """A tombstone says what only the holder of the key can have it say."""
    kind = t.tombstones.c[column].type.python_type
    change = {int: '"{}" + 1', str: "'p-x'", bytes: "zeroblob(32)"}[kind].format(column)
    where = "WHERE profile_id = (SELECT max(profile_id) FROM tombstones)"
    found = meddled(pruned, f'UPDATE tombstones SET "{column}" = {change} {where}')
    assert found is not None
    assert found.startswith("table tombstones, row ")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM tombstones",
        "DELETE FROM tombstones WHERE profile_id = (SELECT max(profile_id) FROM tombstones)",
        "DELETE FROM consents WHERE n = 1",
        "UPDATE consents SET kind = 'grant' WHERE kind = 'denial'",
        "UPDATE consents SET kind = 'pending' WHERE n = 1",
        "UPDATE consents SET hash = zeroblob(32) WHERE n = 1",
        "UPDATE consents SET n = 2 WHERE n = 1",
        "DELETE FROM chains",
        "DELETE FROM decisions",
    ],
)
def test_pruning_hides_nothing_else(pruned: Path, statement: str) -> None:
    """What was kept of a pruned part, and all after it, is held as firmly as before."""
    assert meddled(pruned, statement) is not None


def test_an_older_tombstone_is_found(pruned: Path) -> None:
    """Put back, it leaves a gap before what is there."""
    for older in eval((pruned.parent.parent / "older").read_text()):
        sets = ", ".join(f'"{name}" = ?' for name in older)
        found = meddled(
            pruned,
            f"UPDATE tombstones SET {sets} WHERE profile_id = ?",
            (*older.values(), older["profile_id"]),
        )
    assert found is not None


def test_a_broken_record_is_not_pruned(tmp_path: Path) -> None:
    """No tombstone is signed over a row that somebody else has edited."""
    folder = tmp_path / "w"
    with open_shop(folder, store=None) as shop:
        story(shop)
    with closing(sqlite3.connect(folder / "safeconduct.db")) as raw, raw:
        raw.execute("UPDATE decisions SET reason = 'nice' WHERE n < 4")
    with open_shop(folder, store=None) as shop:
        had = left(shop)
        with pytest.raises(LedgerBroken, match="not as it was written"):
            prune(shop.deps, at(LATER))
        assert left(shop) == had
        assert had["tombstones"] == 0


def test_the_command_prunes_and_verify_says_pruned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an operator has run every day, and reads."""
    with open_shop(tmp_path / "w", store=None) as shop:
        story(shop)
    place = ["--workspace", str(tmp_path / "w")]
    assert main(["ledger", "prune", *place, "--at", "2028-01-01T00:00:00Z"]) == 0
    assert capsys.readouterr().out == "nothing is over its date\n"
    assert main(["ledger", "prune", *place, "--at", LATER, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert main(["ledger", "verify", *place]) == 0
    assert f", {Pruned(**said).entries} of them pruned" in capsys.readouterr().out
    assert main(["ledger", "recompute", *place]) == 0


@pytest.mark.parametrize(
    ("said", "days"),
    [("3y", 1095), ("10y", 3650), ("400d", 400), ("399d", None), ("0y", None), ("101y", None)],
)
def test_how_long_the_record_is_kept_is_said_in_years(
    tmp_path: Path, said: str, days: int | None
) -> None:
    """No shorter than a rule may look back, so that pruning never lets a contact through."""
    setting = ("[store]\n", f'[retention]\nrecord = "{said}"\nevidence = "{said}"\n\n[store]\n')
    try:
        with open_shop(tmp_path / "w", changes={"settings.toml": setting}) as shop:
            retention = shop.deps.workspace.retention
            assert (retention.record.days, retention.evidence.days) == (days, days)
    except ConfigurationError:
        assert days is None


def test_only_decisions_and_what_became_of_them_are_pruned() -> None:
    """A new table of the record is kept until somebody decides otherwise."""
    assert {table.name for table in PRUNED} == {"decisions", "outcomes", "approval_votes"}


def test_two_prune_at_once(tmp_path: Path, schema: Schema) -> None:
    """Two processes on one store prune each entry once, and the record verifies."""
    with (
        open_shop(tmp_path / "w", store=schema.url) as one,
        open_shop(tmp_path / "w", store=schema.url) as other,
    ):
        story(one)
        commit = one.database.commit

        def overtaken(works: Any) -> list[bool]:
            one.database.commit = commit  # type: ignore[method-assign]
            assert len(prune(other.deps, at(LATER))) == 1
            return commit(works)

        one.database.commit = overtaken  # type: ignore[method-assign]
        assert prune(one.deps, at(LATER)) == []
        assert verify(one.database).pruned
