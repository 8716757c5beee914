from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any, get_args

import pytest
from sqlalchemy import select

from agents import erasure
from agents.access import HELD
from agents.minds.formula import FormulaMind
from agents.reconsider import recompute
from domain.context import Retention
from domain.errors import ConfigurationError, UsageError
from service import rights
from service.assemble import kept_workspace
from service.cli import main
from store import tables as t
from store.database import Database, open_database
from store.packing import unpack
from store.statements import Statement
from store.work import Work
from tests.shop import Shop, cart, consent, open_shop, row
from tests.stores import Schema
from tools.toolbox import Intent, Outcome
from traces.ledger import verify

YEAR = timedelta(days=365)
ROOT = Path(__file__).resolve().parents[2]
MAIL, PHONE, USER = "zanzibar.quux@shop.example", "+491701234567", "customer-zq-77"
SECRETS = (MAIL, PHONE, USER, "Zerlinda", "Quuxington", "Xylophone Lane 7", "wobbly-gizmo")
SEALED = tuple(
    name
    for name, table in t.metadata.tables.items()
    if {"sealed", "profile_id"} <= set(table.columns.keys())
)
DEVICE = "handset-zq-0815"


def story(user: str = USER, mail: str = MAIL, phone: str = PHONE) -> list[dict[str, Any]]:
    """Everything the shop can come to hold on somebody: messages, cases, a voucher, timers."""
    traits = {
        "first_name": "Zerlinda",
        "last_name": "Quuxington",
        "address": {"street": "Xylophone Lane 7"},
    }
    return [
        row("signed_up", "2026-10-05T08:00:00Z", user, email=mail, phone=phone, traits=traits),
        consent("granted", "2026-10-05T08:01:00Z", user, email=mail, wording="wobbly-gizmo"),
        consent("granted", "2026-10-05T08:02:00Z", user, "sms", phone=phone),
        cart("2026-10-05T09:00:00Z", user, cart_id="wobbly-gizmo"),
        row("self_service_failed", "2026-10-05T09:10:00Z", user, topic="wobbly-gizmo"),
        row("checkout_failed", "2026-10-05T09:20:00Z", user, error="wobbly-gizmo"),
        row("order_completed", "2026-10-05T09:30:00Z", user, order_id="wobbly-gizmo", value=1.0),
        cart("2026-10-06T20:30:00Z", user, cart_id="k-2"),
    ]


def erase(folder: Path, who: str, *more: str) -> int:
    """The command, on a shop's own store."""
    return main(["profile", "erase", who, "--workspace", str(folder), *more])


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A shop's folder with somebody in its store, and somebody else."""
    folder = tmp_path / "w"
    with open_shop(folder, store=None) as made:
        others = json.dumps(story("other", "other@shop.example", "+491709999999"))
        for secret in SECRETS:
            others = others.replace(secret, "somebody")
        made.run(*story(), *json.loads(others))
        made.run(row("oops", "2026-10-06T21:00:00Z", email=MAIL, brand="nobody's"))
    return folder


def spellings(text: str) -> Iterator[bytes]:
    """How a text may stand in a file."""
    for said in (text, text.lower(), text.upper()):
        raw = said.encode()
        yield from (raw, said.encode("utf-16-le"), raw.hex().encode(), json.dumps(said).encode())
        for shift in range(3):  # wherever it stands in what was encoded
            encoded = base64.b64encode(b"\0" * shift + raw)
            yield encoded[4:-4] if len(encoded) > 16 else encoded


def found_in(data: bytes) -> list[str]:
    """The secrets that stand in some bytes."""
    return [secret for secret in SECRETS if any(one in data for one in spellings(secret))]


def every_file(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, the store's own included."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def opened(database: Database, table: str) -> Iterator[bytes]:
    """Every sealed value of a table that the keys there are still open."""
    for profile_id, retention, wrapped in database.rows(
        Statement(select(t.data_keys.c.profile_id, t.data_keys.c.retention, t.data_keys.c.wrapped))
    ):
        database.vault.unwrap(profile_id, retention, wrapped)
    kept = t.metadata.tables[table]
    for profile_id, sealed in database.rows(Statement(select(kept.c.profile_id, kept.c.sealed))):
        for retention in get_args(Retention):
            if sealed is not None and database.vault.knows(profile_id, retention):
                try:
                    data = database.vault.open(profile_id, retention, table, bytes(sealed))
                except Exception:  # noqa: BLE001 - sealed under another key of the person
                    continue
                yield unpack(data) if table == "decisions" else data


def test_nothing_is_left_of_who_was_erased(
    shop: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No byte of any file, and nothing that a key still opens, but for the proof of consent."""
    before = every_file(shop)
    assert {s for data in before.values() for s in found_in(data)} >= {MAIL, "Zerlinda"}
    log = shop / "log.jsonl"
    monkeypatch.setenv("SAFECONDUCT_LOG", "info")
    capfd.readouterr()
    assert erase(shop, f"email:{MAIL}", "--yes", "--reason", "she asked") == 0
    told = capfd.readouterr()
    log.write_text(told.err)
    assert "erase" in told.out
    assert not found_in(told.out.encode())
    for name, data in every_file(shop).items():
        assert not found_in(data), name
    with closing(open_database(f"sqlite:///{shop}/safeconduct.db", writable=False)) as database:
        for table in SEALED:
            for data in opened(database, table):
                left = [] if table == "consents" else found_in(data)
                assert not left, (table, data)
        (letters,) = database.rows(Statement(select(t.dead_letters.c.sealed).limit(1))) or [()]
        assert not letters
        assert verify(database).people == 2
        again = recompute(database, lambda v: kept_workspace(database, v), FormulaMind())
        assert again.erased > 0
        assert again.same > 0
        assert not again.different


def everything(folder: Path, store: str, changes: Mapping[str, tuple[str, str]]) -> None:
    """Somebody on whom every table that knows people holds something."""
    device, help_on = {"anonymous_id": DEVICE}, {"topic": "wobbly-gizmo"}
    first, later = story()[:3], story()[3:]
    with open_shop(folder, store=store, changes=changes) as shop:
        shop.run(
            *first,
            row("profile_updated", "2026-10-05T08:03:00Z", USER, traits={"tax_id": "DE-4711"}),
            row("self_service_failed", "2026-10-05T08:10:00Z", USER, **help_on),
            row("contact_opened", "2026-10-05T08:20:00Z", USER, **help_on),
        )
        (asked,) = shop.rows("approvals")
        shop.vote(asked["approval_id"], "approve", "2026-10-05T08:25:00Z")
        shop.wake("2026-10-05T08:26:00Z")
        shop.run(
            *later,
            row("page_viewed", "2026-10-07T09:40:00Z", USER, **device),
            row("logged_out", "2026-10-07T09:45:00Z", USER, **device),
            row("bounced", "2026-10-07T09:50:00Z", USER, type="soft", contact_point=MAIL),
            row("page_viewed", "2026-10-07T09:55:00Z", "same-person-too"),
            row("oops", "2026-10-07T09:56:00Z", USER, email=MAIL, brand="nobody's"),
        )
    place = ["--workspace", str(folder), "--store", store]
    for words in (
        ["profile", "merge", f"user_id:{USER}", "user_id:same-person-too"],
        ["profile", "object", f"user_id:{USER}", "--purpose", "marketing"],
        ["suppressions", "add", f"user_id:{USER}", "--blocks", "marketing"],
        ["policies", "explain", "--profile", f"user_id:{USER}", "--action", "remind_by_email"],
    ):
        assert main([*words, "--at", "2026-10-07T12:00:00Z", *place]) == 0, words


def test_no_row_of_any_table_is_left_of_who_was_erased(tmp_path: Path, store: str) -> None:
    """On every store: of a person of whom each table holds something, no row says anything, and
    what a key still opens is proof, or what the law wants."""
    folder, secrets = tmp_path / "w", (*SECRETS, DEVICE, "DE-4711")
    changes = {"policies/fields.yaml": ("fields:", "fields:" + TAX_ID)}
    everything(folder, store, changes)
    with open_shop(folder, store=store) as shop:
        held = {str(table.name) for table in HELD} - {"statutory"}
        assert [name for name in sorted(held) if not shop.rows(name)] == []
        opened_before = b"".join(data for name in SEALED for data in opened(shop.database, name))
        assert [one for one in secrets if one.encode() not in opened_before] == []
    words = ("--yes", "--at", "2026-10-08T00:00:00Z", "--store", store)
    assert erase(folder, f"user_id:{USER}", *words) == 0
    with open_shop(folder, store=store) as shop:
        for name in t.metadata.tables:
            for kept in shop.rows(name):
                values = b"\0".join(
                    value if isinstance(value, bytes) else str(value).encode()
                    for value in kept.values()
                )
                assert not [one for one in secrets for s in spellings(one) if s in values], name
        left = {name: b"".join(opened(shop.database, name)) for name in SEALED}
        assert {name for name, data in left.items() if data} == {
            "consents",
            "requests",
            "statutory",
        }
        assert b"DE-4711" in left["statutory"]
        assert [one for one in secrets if one.encode() in left["requests"]] == []
        verify(shop.database)


def test_no_log_or_trace_needs_to_be_erased(tmp_path: Path) -> None:
    """What a run writes beside its answer (the log at its fullest, every span) and, while the store
    is still open after an erasure, its write-ahead log and free pages: no byte is the person's."""
    folder, events, told = tmp_path / "w", tmp_path / "events.jsonl", tmp_path / "told"
    with open_shop(folder, store=None):
        pass
    bad = row("oops", "2026-10-06T21:00:00Z", email=MAIL, brand="nobody's")
    events.write_text("".join(json.dumps(one) + "\n" for one in (*story(), bad)))
    chatty = {
        "SAFECONDUCT_LOG": "debug",
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_TRACES_SAMPLER": "always_on",
    }
    words = ["run", str(events), "--json", "--workspace", str(folder)]
    with told.open("wb") as file:
        subprocess.run(
            [sys.executable, "-m", "service.cli", *words],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=file, check=True,
            env={**os.environ, **chatty},
        )  # fmt: skip
    said = told.read_bytes()
    assert b"span_id" in said
    assert b"decided" in said
    assert found_in(said) == []
    with open_shop(folder, store=None) as shop:
        assert found_in(b"".join(every_file(folder).values()))
        shop.run(row("page_viewed", "2026-10-06T21:30:00Z", USER, email=MAIL))
        (person,) = {one["root_id"] for one in shop.rows("profiles") if one["sealed"]}
        sealed = [bytes(one["sealed"]) for one in shop.rows("profiles")]
        assert any(one in data for one in sealed for data in every_file(folder).values())
        erased_here(shop, person)
        for name, data in every_file(folder).items():
            assert not found_in(data), name
            assert not [one for one in sealed if one in data], name


def test_the_other_customer_is_untouched(shop: Path) -> None:
    """Erasing one person takes nothing from another."""
    with open_shop(shop, store=None) as opened_shop:
        messages = len(opened_shop.sent())
        mine = [p for p in opened_shop.sent() if MAIL in p.read_text() or PHONE in p.read_text()]
    assert mine
    assert erase(shop, f"user_id:{USER}", "--yes") == 0
    with open_shop(shop, store=None) as opened_shop:
        assert len(opened_shop.sent()) == messages - len(mine)
        line = opened_shop.one(cart("2026-10-08T09:00:00Z", "other", cart_id="k-3"))
        assert line["action"] == "remind_by_email"


def test_24_an_event_replayed_after_erasure(tmp_path: Path, store: str) -> None:
    """Case 24: `duplicate`/`erased` and no more; a new order is somebody new, promo `suppressed`
    until a new explicit grant."""
    folder = tmp_path / "w"
    told = cart("2026-10-05T09:00:00Z", email=MAIL)
    with open_shop(folder, store=store) as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email=MAIL))
        first = shop.one(told)
        assert first["action"] == "remind_by_email"
    assert (
        erase(folder, f"email:{MAIL}", "--yes", "--at", "2026-11-01T00:00:00Z", "--store", store)
        == 0
    )
    with open_shop(folder, store=store) as shop:
        again = shop.one(told)
        assert (again["verdict"], again["code"]) == ("duplicate", "erased")
        assert first["profile_id"] not in json.dumps(again)
        assert not {"remind_by_email", "cart_abandoned"} & set(map(str, again.values()))
        assert [kept for kept in shop.rows("profiles") if kept["sealed"] is not None] == []
        promo = cart("2026-11-03T09:00:00Z", email=MAIL, cart_id="k-2", id="new")
        line = shop.one(promo)
        assert line["profile_id"] != first["profile_id"]
        assert "suppressed" in codes(shop, line, "remind_by_email")
        order = row(
            "order_completed", "2026-11-03T10:00:00Z", email=MAIL, order_id="o-1", value=5.0
        )
        assert shop.one(order)["verdict"] != "dead"
        shop.run(consent("granted", "2026-11-03T11:00:00Z", email=MAIL))
        later = shop.one(cart("2026-11-03T12:00:00Z", email=MAIL, cart_id="k-3"))
        assert later["action"] == "remind_by_email"


def test_case_24_a_new_order_after_an_erasure(tmp_path: Path, store: str) -> None:
    """Exactly: the order's own news is permitted; a promotion is denied `suppressed`, unless the
    order itself carries a new explicit yes; an old yes that is told again is none."""
    mapped = (
        'source = "shop"\n[input.consent_categories]\n'
        'News = {purpose = "marketing", channel = "email"}'
    )
    changes = {
        "settings.toml": ('source = "shop"', mapped),
        "journeys/failed_checkout.yaml": ("trigger: checkout_failed", "trigger: order_placed"),
        "journeys/abandoned_cart.yaml": (
            "actions: [remind_by_email, remind_by_sms, cart_banner]",
            "actions: [remind_by_email]",
        ),
    }

    def order(number: int, when: str, **consent: Any) -> dict[str, Any]:
        context = {"traits": {"email": MAIL}, **consent}
        return {
            "type": "track", "event": "order_placed", "messageId": f"o-{number}", "userId": "c-1",
            "timestamp": when, "properties": {"order_id": f"o-{number}"}, "context": context,
        }  # fmt: skip

    def promo(shop: Shop, when: str) -> tuple[str, bool, str | None]:
        line = shop.one(cart(when, email=MAIL, cart_id=when))
        suppressed = "suppressed" in codes(shop, line, "remind_by_email")
        return line["verdict"], suppressed, line["next_eligible_at"]

    folder = tmp_path / "w"
    with open_shop(folder, store=store, changes=changes) as shop:
        shop.run(consent("granted", "2026-05-05T08:00:00Z", email=MAIL))
        first = shop.one(cart("2026-05-05T09:00:00Z", email=MAIL))
        assert first["action"] == "remind_by_email"
    words = ("--yes", "--at", "2026-06-01T00:00:00Z", "--store", store)
    assert erase(folder, f"email:{MAIL}", *words) == 0
    with open_shop(folder, store=store) as shop:
        again = shop.one(cart("2026-05-05T09:00:00Z", email=MAIL))
        assert (again["verdict"], again["code"]) == ("duplicate", "erased")
        news = shop.one(order(1, "2026-06-03T09:00:00Z"))
        assert (news["verdict"], news["action"]) == ("permitted", "checkout_help")
        assert news["profile_id"] != first["profile_id"]
        assert promo(shop, "2026-06-03T10:00:00Z") == ("denied", True, None)
        imported = consent("granted", "2026-06-03T10:30:00Z", email=MAIL, bulk=True)
        older = consent("granted", "2026-05-30T10:30:00Z", email=MAIL, id="told late")
        shop.run(imported, older)
        assert promo(shop, "2026-06-03T11:00:00Z") == ("denied", True, None)
        yes = {"consent": {"categoryPreferences": {"News": True}}}
        shop.one(order(2, "2026-06-03T12:00:00Z", **yes))
        assert promo(shop, "2026-06-03T13:00:00Z") == ("permitted", False, None)


def codes(shop: Shop, line: Mapping[str, Any], action: str) -> list[str]:
    """The codes that stood against an action."""
    data = shop.deps.history.get(line["decision_id"]).record()
    assert data is not None
    considered = json.loads(data)["thought"]["considered"]
    (asked,) = (one for one in considered if one["action"] == action)
    return [code for _, code in asked["against"]]


def test_service_goes_on_after_an_erasure(tmp_path: Path) -> None:
    """What the erasure suppresses is marketing: who fails at self-service is helped."""
    folder = tmp_path / "w"
    with open_shop(folder, store=None) as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email=MAIL))
    assert erase(folder, f"email:{MAIL}", "--yes", "--at", "2026-11-01T00:00:00Z") == 0
    with open_shop(folder, store=None) as shop:
        line = shop.one(
            row("self_service_failed", "2026-11-03T09:00:00Z", email=MAIL, topic="returns")
        )
        assert line["verdict"] == "permitted"


def test_without_yes_nothing_changes(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What would go and what would stay is shown first."""
    before = every_file(shop)["safeconduct.db"]
    capsys.readouterr()
    assert erase(shop, f"user_id:{USER}") == 0
    out = capsys.readouterr().out
    assert "add `--yes`" in out
    assert "proof of consent" in out
    with closing(sqlite3.connect(shop / "safeconduct.db")) as raw:
        assert raw.execute("SELECT count(*) FROM requests").fetchone() == (0,)
    assert found_in(before) == []  # personal data are sealed even before


def test_a_legal_hold_stops_the_clock(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While it is on nothing is erased, and the request stays open until it is done."""
    place = ["--workspace", str(shop)]
    assert main(["profile", "hold", f"user_id:{USER}", "on", "--reason", "a case", *place]) == 0
    assert erase(shop, f"user_id:{USER}", "--yes") == 2
    assert "legal hold" in capsys.readouterr().err
    assert main(["profile", "show", f"user_id:{USER}", *place]) == 0
    capsys.readouterr()
    assert main(["profile", "requests", "--open", "--json", *place]) == 0
    (waiting,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (waiting["kind"], waiting["state"]) == ("erase", "refused")
    assert waiting["due_at"][:7] > waiting["received_at"][:7]
    assert main(["profile", "hold", f"user_id:{USER}", "off", *place]) == 0
    assert main(["profile", "hold", f"user_id:{USER}", "off", *place]) == 2
    assert erase(shop, f"user_id:{USER}", "--yes") == 0
    capsys.readouterr()
    assert main(["profile", "requests", "--open", *place]) == 0
    assert capsys.readouterr().out == "nothing is open\n"


def test_an_erasure_that_was_cut_short_is_done_by_asking_again(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed at any moment, the person is either there or gone, and asking again finishes it."""
    with open_shop(shop, store=None) as opened_shop:
        person = opened_shop.rows("profiles")[0]["root_id"]
    for seconds in (0.75, 0.85, 0.95, 1.05, 1.2):
        command = [sys.executable, "-m", "service.cli", "profile", "erase", person, "--yes"]
        process = subprocess.Popen(
            [*command, "--workspace", str(shop)],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    capsys.readouterr()
    assert erase(shop, person, "--yes") == 0
    assert "erase" in capsys.readouterr().out
    with closing(open_database(f"sqlite:///{shop}/safeconduct.db", writable=False)) as database:
        assert verify(database).people == 2
        keys = database.rows(Statement(select(t.data_keys.c.profile_id, t.data_keys.c.retention)))
    assert (person, "erasable") not in keys


def erased_here(shop: Shop, person: str) -> None:
    """The erasure itself, in this process."""
    now = shop.database.clock()
    done = erasure.erase(
        shop.deps, person, received_at=now, at=now, by="ida", reason="", evidence_for=YEAR
    )
    asyncio.run(done)


def before_commit(shop: Shop, what: Callable[[], object]) -> None:
    """Have something happen once, between an erasure's reading and its commit."""
    commit, done = shop.database.commit, list[object]()

    def interrupted(works: Sequence[Work]) -> list[bool]:
        if not done and any(work.shown_as.startswith("erasure") for work in works):
            done.append(what())
        return commit(works)

    shop.database.commit = interrupted  # type: ignore[method-assign]


def test_a_hold_that_comes_in_between_keeps_everything(tmp_path: Path) -> None:
    """A legal hold set while an erasure is read wins, and no message is destroyed."""
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email=MAIL), cart("2026-10-05T09:00:00Z")
        )
        person, sent = shop.rows("profiles")[0]["root_id"], shop.sent()
        assert sent
        before_commit(
            shop, lambda: rights._record(shop.assembly, person, "hold", rights.Asked("ida", ""), {})
        )
        with pytest.raises(UsageError, match="legal hold"):
            erased_here(shop, person)
        assert shop.sent() == sent
        assert all(kept["sealed"] is not None for kept in shop.rows("profiles"))


def test_files_that_an_erasure_did_not_come_to_are_removed_at_the_next_start(
    tmp_path: Path,
) -> None:
    """A process that dies right after the commit has erased: the next one removes the messages."""
    folder = tmp_path / "w"
    with open_shop(folder, store=None) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email=MAIL), cart("2026-10-05T09:00:00Z")
        )
        person = shop.rows("profiles")[0]["root_id"]
    killed = (
        "import os, signal, sys\n"
        "from service import cli\n"
        "from tools.channels.local import LocalOutbox\n"
        "LocalOutbox.forget = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "cli.main(sys.argv[1:])"
    )
    arguments = ["profile", "erase", person, "--yes", "--workspace", str(folder)]
    made = subprocess.run([sys.executable, "-c", killed, *arguments], cwd=ROOT, check=False)
    assert made.returncode == -signal.SIGKILL
    with open_shop(folder, store=None) as shop:
        assert shop.rows("profiles")[0]["sealed"] is None
        assert shop.sent()
        shop.wake("2026-10-06T09:00:00Z")
        assert not shop.sent()
        assert [kept for kept in shop.rows("meta") if kept["key"].startswith("erasing")] == []


def test_nobody_is_erased_while_another_worker_sends(tmp_path: Path, schema: Schema) -> None:
    """What would come after its own erasure stops it; once it has ended, it goes."""
    with (
        open_shop(tmp_path / "w", store=schema.url) as one,
        open_shop(tmp_path / "w", store=schema.url) as other,
    ):
        one.run(consent("granted", "2026-10-05T08:00:00Z", email=MAIL))
        person, execute = one.rows("profiles")[0]["root_id"], one.deps.toolbox.execute
        refused: list[str] = []

        def meanwhile() -> None:
            try:
                erased_here(other, person)
            except UsageError as error:
                refused.append(error.cause)

        async def slow(intent: Intent, work: Work) -> Outcome:
            thread = Thread(target=meanwhile)
            thread.start()
            thread.join()
            return await execute(intent, work)

        one.deps.toolbox.execute = slow  # type: ignore[method-assign]
        one.run(cart("2026-10-05T09:00:00Z"))
        assert refused == ["another process is sending something to this person right now"]
        assert one.sent()
        erased_here(other, person)
        assert not one.sent()
        assert {step["state"] for step in one.rows("outbox")} == {"sent"}


def test_an_address_that_was_only_named_is_suppressed_too(tmp_path: Path) -> None:
    """One that a consent was given for, and that nobody ever was known by."""
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(
            row("signed_up", "2026-10-05T08:00:00Z"),
            consent("granted", "2026-10-05T08:01:00Z", contact_point="second@shop.example"),
        )
        (named,) = {kept["contact_point"] for kept in shop.rows("consents")}
    assert erase(tmp_path / "w", "user_id:c-1", "--yes") == 0
    with open_shop(tmp_path / "w", store=None) as shop:
        assert named in {kept["ref"] for kept in shop.rows("suppressions")}


def shared_with_somebody_erased(folder: Path) -> None:
    """Ann and Bob share an address and both agreed; Ann is erased."""
    with open_shop(folder, store=None) as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", "ann", email=MAIL),
            consent("granted", "2026-10-05T08:05:00Z", "bob", email=MAIL),
        )
    assert erase(folder, "user_id:ann", "--yes", "--at", "2026-10-06T00:00:00Z") == 0


def test_who_shares_an_address_does_not_learn_of_the_erasure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other at the address hears that something is not available, and not what."""
    shared_with_somebody_erased(tmp_path / "w")
    with open_shop(tmp_path / "w", store=None) as shop:
        line = shop.one(row("signed_up", "2026-10-07T09:00:00Z", "bob", email=MAIL))
        assert line["code"] == "suppressed"
    place = ["--workspace", str(tmp_path / "w")]
    for audience, told in (("customer", False), ("auditor", True)):
        capsys.readouterr()
        assert main(["explain", line["decision_id"], "--audience", audience, *place]) == 0
        out = capsys.readouterr().out
        assert ("erased" in out) is told
        assert ("suppressed" in out) is told


def test_a_yes_to_one_topic_lifts_no_more_than_that(tmp_path: Path) -> None:
    """An older yes to everything does not come back with a newer one to a single topic."""
    shared_with_somebody_erased(tmp_path / "w")
    with open_shop(tmp_path / "w", store=None) as shop:
        shop.run(consent("granted", "2026-10-08T08:00:00Z", "bob", email=MAIL, topic="welcome"))
        line = shop.one(cart("2026-10-09T09:00:00Z", "bob"))
        assert "suppressed" in codes(shop, line, "remind_by_email")
        shop.run(consent("granted", "2026-10-09T10:00:00Z", "bob", email=MAIL))
        later = shop.one(cart("2026-10-10T11:00:00Z", "bob", cart_id="k-2"))
        assert later["action"] == "remind_by_email"


def test_nothing_is_said_in_the_name_of_who_was_erased(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An objection or a correction for them is refused, with what to do."""
    with open_shop(shop, store=None) as opened_shop:
        person = opened_shop.rows("profiles")[0]["root_id"]
    assert erase(shop, person, "--yes") == 0
    for words in (["object", person], ["rectify", person, "plan=1"]):
        assert main(["profile", *words, "--workspace", str(shop)]) == 2
        assert "was erased" in capsys.readouterr().err


def test_the_proof_goes_at_its_date_unless_it_is_held(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before its date and under a hold it opens; after, no key of the person is left."""
    place = ["--workspace", str(shop)]
    with open_shop(shop, store=None) as opened_shop:
        person = opened_shop.rows("profiles")[0]["root_id"]
    assert erase(shop, person, "--yes", "--at", "2026-10-07T00:00:00Z") == 0

    def left(when: str) -> set[str]:
        assert main(["profile", "prune", "--at", when, *place]) == 0
        with open_shop(shop, store=None) as now:
            assert verify(now.database).people == 2
            mine = [kept for kept in now.rows("data_keys") if kept["profile_id"] == person]
            return {kept["retention"] for kept in mine}

    assert left("2029-10-05T00:00:00Z") == {"evidence"}
    assert main(["profile", "hold", person, "on", *place]) == 0
    assert left("2029-10-07T00:00:00Z") == {"evidence"}
    assert main(["profile", "hold", person, "off", *place]) == 0
    assert left("2029-10-07T00:00:00Z") == set()
    capsys.readouterr()
    assert main(["profile", "prune", "--at", "2029-10-07T00:00:00Z", *place]) == 0
    assert capsys.readouterr().out == "nothing is over its date\n"


LABELS = """
  profile.tax_id:
    type: string
    retention: statutory
  profile.address.street:
    type: string
    retention: evidence
"""


TAX_ID = """
  profile.tax_id:
    type: string
    retention: statutory"""


def test_what_the_law_wants_is_restricted_until_its_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], store: str
) -> None:
    """Statutory fields and those that are proof stay, sealed apart, and nothing else of the
    profile; no decision reads them; each goes at its own date, unless it is held."""
    folder = tmp_path / "w"
    place = ["--workspace", str(folder), "--store", store]
    changes = {
        "policies/fields.yaml": ("fields:", "fields:" + LABELS.rstrip()),
        "settings.toml": ("[store]", '[retention]\nstatutory = "6y"\n\n[store]'),
    }
    with open_shop(folder, store=store, changes=changes) as shop:
        shop.run(*story())
        told = row("profile_updated", "2026-10-05T08:30:00Z", USER, traits={"tax_id": "DE-4711"})
        shop.run(told)
        (person,) = {kept["root_id"] for kept in shop.rows("profiles")}
    words = ("--yes", "--at", "2026-10-07T00:00:00Z", "--store", store)
    assert erase(folder, f"user_id:{USER}", *words) == 0
    said = capsys.readouterr().out
    assert "the fields `profile.tax_id` (statutory: the law wants it), until 2032-10-05" in said
    assert "the fields `profile.address.street` (evidence: proof), until 2029-10-06" in said

    def export() -> dict[str, Any]:
        assert main(["profile", "export", person, "--audience", "auditor", *place]) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    def left(when: str) -> tuple[bool, bool]:
        assert main(["profile", "prune", "--at", when, *place]) == 0
        capsys.readouterr()
        text = json.dumps(export())
        return "DE-4711" in text, "Xylophone Lane 7" in text

    kept = json.dumps(export())
    assert found_in(kept.encode()) == ["Xylophone Lane 7", "wobbly-gizmo"]
    assert "DE-4711" in kept
    with open_shop(folder, store=store) as shop:
        assert [one for one in shop.rows("profiles") if one["sealed"] is not None] == []
        assert not shop.database.vault.knows(person, "statutory")
        verify(shop.database)
    assert left("2029-10-05T00:00:00Z") == (True, True)
    assert left("2029-10-07T00:00:00Z") == (True, False)
    assert main(["profile", "hold", person, "on", *place]) == 0
    assert left("2032-10-06T00:00:00Z") == (True, False)
    assert main(["consent", "export", *place]) == 0  # some lines lie under a key that is gone
    capsys.readouterr()
    assert main(["profile", "hold", person, "off", *place]) == 0
    assert left("2032-10-06T00:00:00Z") == (False, False)
    with open_shop(folder, store=store) as shop:
        assert shop.rows("statutory") == []
        keys = {(one["profile_id"], one["retention"]) for one in shop.rows("data_keys")}
        assert (person, "statutory") not in keys
        verify(shop.database)


def test_only_a_profiles_fields_can_be_kept(tmp_path: Path) -> None:
    """What no erasure could keep cannot be declared as kept."""
    labels = "fields:\n  event.vat:\n    type: string\n    retention: statutory"
    with (
        pytest.raises(ConfigurationError, match=r"`event\.vat` is `statutory`"),
        open_shop(tmp_path / "w", changes={"policies/fields.yaml": ("fields:", labels)}),
    ):
        pass


def test_an_erased_person_is_nobody(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No identifier leads to them any more."""
    assert erase(shop, f"user_id:{USER}", "--yes") == 0
    for who in (f"user_id:{USER}", f"email:{MAIL}", f"phone:{PHONE}"):
        assert main(["profile", "show", who, "--workspace", str(shop)]) == 2
    assert "nobody is known" in capsys.readouterr().err
