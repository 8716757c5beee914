from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from profiles import proposing
from service.cli import main
from tests.shop import open_shop, row

HOME: dict[str, Any] = {"address": {"street": "12 Main Street", "postal_code": "97035"}}


def customer(user: str, first: str, last: str = "Bell", **more: Any) -> dict[str, Any]:
    """A customer's own record; what is no field of an event is a trait."""
    email = {"email": more.pop("email")} if "email" in more else {}
    traits = {"first_name": first, "last_name": last, **more}
    return row("identified", "2026-10-05T08:00:00Z", user, traits=traits, **email)


def keep(folder: Path, *rows: dict[str, Any]) -> None:
    """A workspace and its store, in which these rows were read."""
    with open_shop(folder, store=None) as shop:
        shop.run(*rows)


def asked(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    """What `safeconduct profile proposals --json` prints."""
    capsys.readouterr()
    code = main(["profile", "proposals", "--json", "--workspace", str(folder), *words])
    assert code == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def ids(folder: Path, capsys: pytest.CaptureFixture[str], *users: str) -> list[str]:
    """The profile ids of some customers."""
    found = []
    for user in users:
        assert (
            main(["profile", "show", f"user_id:{user}", "--json", "--workspace", str(folder)]) == 0
        )
        found.append(json.loads(capsys.readouterr().out)["profile_id"])
    return found


def kept(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of people, identifiers, rulings and revisions."""
    with open_shop(folder, store=None) as shop:
        return {
            name: shop.rows(name) for name in ("profiles", "identifiers", "rulings", "revisions")
        }


def test_who_may_be_one_is_proposed_and_nothing_is_merged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Name and address, or an e-mail with a slip, make a proposal; the store is left as it was."""
    folder = tmp_path / "w"
    keep(
        folder,
        customer("c-1", "Robert", birth_date="1980-04-12", **HOME),
        customer("c-2", "Robért", birth_date="1980-04-12", **HOME),
        customer("c-3", "Maria", "Ortiz", email="maria.ortiz@gmail.com"),
        customer("c-4", "Maria", "Ortiz", email="maria.ortiz@gmial.com"),
        customer("c-5", "Paul", "Stone", email="paul@shop.example"),
    )
    before = kept(folder)
    one, two, three, four = ids(folder, capsys, "c-1", "c-2", "c-3", "c-4")
    found = asked(folder, capsys)
    pairs = {frozenset((p["one"], p["other"])): p for p in found}
    assert pairs.keys() == {frozenset((one, two)), frozenset((three, four))}
    assert pairs[frozenset((one, two))]["band"] == "certain"
    likely = pairs[frozenset((three, four))]
    assert likely["band"] == "likely"
    assert {e["field"]: e["level"] for e in likely["evidence"]} == {
        "first_name": "same", "last_name": "same", "email": "slip",
    }  # fmt: skip
    assert found == sorted(found, key=lambda p: -p["probability"])
    assert kept(folder) == before
    for secret in ("Robert", "Ortiz", "maria.ortiz", "1980-04", "Main"):
        assert secret not in json.dumps(found)


def test_one_persons_proposals_and_only_the_likely_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`WHO` and `--min-probability` leave out what was not asked for."""
    folder = tmp_path / "w"
    keep(
        folder,
        customer("c-1", "Robert", birth_date="1980-04-12", **HOME),
        customer("c-2", "Robert", birth_date="1980-04-12", **HOME),
        customer("c-3", "Robert", **HOME),
        customer("c-4", "Zoe", "Quill", email="zoe.quill@gmail.com"),
        customer("c-5", "Zoe", "Quill", email="zoe.quil@gmail.com"),
    )
    everybody = asked(folder, capsys)
    assert len(everybody) == 4
    only = asked(folder, capsys, "user_id:c-5")
    assert [frozenset((p["one"], p["other"])) for p in only] == [
        frozenset(ids(folder, capsys, "c-4", "c-5"))
    ]
    assert only[0] in everybody
    certain = asked(folder, capsys, "--min-probability", "0.99")
    assert [p["band"] for p in certain] == ["certain"]
    assert asked(folder, capsys, "user_id:c-3", "--min-probability", "0.99") == []


def test_a_family_is_not_certain_and_stays_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Father, son of the same name, twins and mother at one address and one e-mail are five."""
    folder = tmp_path / "w"
    family: dict[str, Any] = {**HOME, "email": "the.bells@shop.example"}
    keep(
        folder,
        customer("father", "Robert", birth_date="1980-04-12", **family),
        customer("son", "Robert", birth_date="2008-01-30", **family),
        customer("tim", "Tim", birth_date="2010-06-01", **family),
        customer("tom", "Tom", birth_date="2010-06-01", **family),
        customer("mother", "Ann", birth_date="1981-11-02", **family),
        customer("namesake", "Robert", **HOME),
    )
    assert len(set(ids(folder, capsys, "father", "son", "tim", "tom", "mother", "namesake"))) == 6
    found = asked(folder, capsys, "--min-probability", "0")
    assert found
    assert all(p["band"] != "certain" for p in found)
    father, son, tim, tom = ids(folder, capsys, "father", "son", "tim", "tom")
    by_pair = {frozenset((p["one"], p["other"])): p for p in found}
    assert by_pair[frozenset((father, son))]["band"] == "unlikely"
    assert by_pair[frozenset((tim, tom))]["probability"] <= 0.6
    assert len(set(ids(folder, capsys, "father", "son", "tim", "tom"))) == 4


def test_who_is_one_or_was_ruled_apart_is_not_proposed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A proposal that somebody has decided, either way, does not come again."""
    folder = tmp_path / "w"
    alike: dict[str, Any] = {"birth_date": "1980-04-12", **HOME}
    keep(folder, *(customer(user, "Robert", **alike) for user in ("c-1", "c-2", "c-3")))
    assert len(asked(folder, capsys)) == 3
    where = ["--workspace", str(folder), "--by", "ana"]
    assert main(["profile", "merge", "user_id:c-1", "user_id:c-2", *where]) == 0
    (left,) = asked(folder, capsys)
    root, three = ids(folder, capsys, "c-1", "c-3")
    assert {left["one"], left["other"]} == {root, three}
    assert main(["profile", "merge", "user_id:c-1", "user_id:c-3", *where]) == 0
    assert asked(folder, capsys) == []
    assert main(["profile", "unmerge", "user_id:c-1", "user_id:c-3", *where]) == 0
    found = {frozenset((p["one"], p["other"])) for p in asked(folder, capsys)}
    assert frozenset(ids(folder, capsys, "c-1", "c-3")) not in found


def test_a_key_that_too_many_share_is_passed_over_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is compared with a whole town, and it is said that they were not."""
    monkeypatch.setattr(proposing, "BLOCK_MAX", 3)
    folder = tmp_path / "w"
    keep(folder, *(customer(f"c-{n}", "Robert") for n in range(4)))
    assert asked(folder, capsys) == []
    assert main(["profile", "proposals", "--workspace", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "4 people, 0 pairs compared; nothing was merged" in said
    assert "1 keys that more than" in said


def test_proposals_of_an_empty_store_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nobody is, nobody is proposed."""
    folder = tmp_path / "w"
    keep(folder)
    assert asked(folder, capsys) == []


def test_more_people_are_found_than_are_kept_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many people are held open at a time changes nothing of what is found."""
    folder = tmp_path / "w"
    keep(
        folder,
        *(customer(f"c-{n}", "Robert", "Bell", birth_date="1980-04-12", **HOME) for n in range(9)),
    )
    found = asked(folder, capsys)
    assert len(found) == 36
    monkeypatch.setattr(proposing, "OPENED_MAX", 1)
    assert asked(folder, capsys) == found
