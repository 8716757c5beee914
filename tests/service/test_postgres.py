from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agents import passes
from agents.steps import Line
from profiles.arrivals import Arrival
from service import cli
from tests.service.test_interruption import check, story
from tests.shop import Shop, at, cart, consent, open_shop, row
from tests.stores import Schema
from tools.toolbox import Intent, Outcome

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "service" / "samples" / "events.jsonl"
WORKERS = 3
ROUNDS = 100 if os.environ.get("SAFECONDUCT_SOAK") == "1" else 2


def lines(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[dict[str, Any]]:
    """What a command prints for programs."""
    code = cli.main([str(argument) for argument in (*arguments, "--json")])
    out, err = capsys.readouterr()
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


async def decided(shop: Shop, arrivals: Sequence[Arrival]) -> tuple[Line, ...]:
    """What a shop makes of arrivals that it has read before."""
    return await shop._decide(arrivals)


def worker(workspace: Path, events: Path, schema: Schema) -> subprocess.Popen[bytes]:
    """A process that runs the events of a file into the store."""
    command = [sys.executable, "-u", "-m", "service.cli", "run", str(events), "--json"]
    command += ["--workspace", str(workspace), "--store", schema.url]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_the_samples_go_the_same_way_on_postgresql(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, schema: Schema
) -> None:
    """The same lines as on SQLite, to the byte; then only duplicates; it explains and verifies."""
    here, there = (["--workspace", str(tmp_path / name)] for name in ("here", "there"))
    for workspace in (here[1], there[1]):
        assert cli.main(["init", workspace]) == 0
    capsys.readouterr()
    there += ["--store", schema.url]
    on_sqlite = lines(capsys, "run", SAMPLES, *here)
    assert lines(capsys, "run", SAMPLES, *there) == on_sqlite
    again = lines(capsys, "run", SAMPLES, *there)
    assert [line["verdict"] for line in again] == [
        "dead" if line["verdict"] == "dead" else "duplicate"
        for line in on_sqlite
        if line["pass"] in ("event", None)
    ]
    for line in on_sqlite:
        if line["decision_id"] is not None:
            shown = [lines(capsys, "explain", line["decision_id"], *to) for to in (here, there)]
            assert shown[0] == shown[1]
    asked = lines(capsys, "approvals", "list", *there)
    assert asked == lines(capsys, "approvals", "list", *here)
    for to in (here, there):
        approve = ["approvals", "approve", asked[0]["approval_id"], "--by", "ana", *to]
        assert cli.main([str(argument) for argument in approve]) == 0
    capsys.readouterr()
    (verified,) = lines(capsys, "ledger", "verify", *there)
    assert [verified] == lines(capsys, "ledger", "verify", *here)


def test_workers_that_merge_the_same_people_come_to_the_same(
    tmp_path: Path, schema: Schema, capsys: pytest.CaptureFixture[str]
) -> None:
    """Events that make few people of many, spread over processes: as if one had read them all."""
    chance = random.Random(7)
    rows = []
    for number in range(120):
        n = chance.choice((1, 2, 3))
        names = {
            "user_id": chance.choice([f"u{n}", None]),
            "email": chance.choice([f"{n}@x.example", "family@x.example", None]),
            "anonymous_id": chance.choice([f"v{n}", f"w{n}"]),
        }
        at = f"2026-10-05T0{chance.randrange(6, 9)}:{chance.randrange(60):02}:00Z"
        said = {"event": "page_viewed", "id": f"e-{number}", "at": at, "traits": {"n": number}}
        rows.append({**said, **{ns: value for ns, value in names.items() if value}})
    with open_shop(tmp_path / "one", store=None) as shop:
        shop.run(*rows)
    with open_shop(tmp_path / "many", store=schema.url):
        pass
    workers = []
    for part in range(WORKERS):
        events = tmp_path / f"events-{part}.jsonl"
        events.write_text("".join(json.dumps(said) + "\n" for said in rows[part::WORKERS]))
        workers.append(worker(tmp_path / "many", events, schema))
    for process in workers:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()
    people = []
    for folder, store in (("one", []), ("many", ["--store", schema.url])):
        place = ["--workspace", str(tmp_path / folder), *store]
        shown = []
        for name in [f"user_id:u{n}" for n in (1, 2, 3)]:
            shown += lines(capsys, "profile", "show", name, *place)
        people.append(shown)
    assert people[0] == people[1]
    assert sum(len(one["fragments"]) for one in people[0]) > 3


def test_many_workers_on_the_same_events_decide_each_once(tmp_path: Path, schema: Schema) -> None:
    """Processes that read one file at once: one decision an event, one effect a permit."""
    rows = story(6)
    events = tmp_path / "events.jsonl"
    events.write_text("".join(json.dumps(said) + "\n" for said in rows))
    with open_shop(tmp_path / "w", store=schema.url):
        pass
    workers = [worker(tmp_path / "w", events, schema) for _ in range(WORKERS)]
    told: list[dict[str, Any]] = []
    for process in workers:
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, err.decode()
        told += [json.loads(line) for line in out.splitlines()]
    firsts = [t for t in told if t["pass"] == "event" and t["verdict"] != "duplicate"]
    assert len(firsts) == len(rows)
    with open_shop(tmp_path / "w", store=schema.url) as shop:
        check(shop, rows)
        assert all(line["verdict"] == "duplicate" for line in shop.run(*rows))


@pytest.mark.soakable
def test_a_worker_that_is_killed_beside_another_loses_and_doubles_nothing(
    tmp_path: Path, schema: Schema
) -> None:
    """One of two is killed at any instant; the other goes on, and a third settles what is left."""
    rows, chance = story(12), random.Random(20261005)
    events = tmp_path / "events.jsonl"
    events.write_text("".join(json.dumps(said) + "\n" for said in rows))
    for number in range(ROUNDS):
        schema.empty()
        folder = tmp_path / f"w{number}"
        with open_shop(folder, store=schema.url):
            pass
        one, two = (worker(folder, events, schema) for _ in range(2))
        assert one.stdout is not None
        for _ in range(chance.randrange(1, len(rows))):
            one.stdout.readline()
        one.send_signal(signal.SIGKILL)
        one.communicate()
        _, err = two.communicate(timeout=100)
        assert two.returncode == 0, err.decode()
        with open_shop(folder, store=schema.url) as shop:
            shop.run(*rows)
            check(shop, rows)


def test_what_a_live_worker_is_about_is_left_to_it(tmp_path: Path, schema: Schema) -> None:
    """A worker that starts settles what the dead have left, not what the living still send."""
    with open_shop(tmp_path / "w", store=schema.url) as shop:
        shop.run(consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"))
        execute = shop.deps.toolbox.execute
        settled: list[int] = []

        async def meanwhile(intent: Intent, work: Any) -> Outcome:
            with open_shop(tmp_path / "w", store=schema.url) as other:
                settled.append(await passes.recover(other.deps))
            return await execute(intent, work)

        shop.deps.toolbox.execute = meanwhile  # type: ignore[method-assign]
        line = shop.one(cart("2026-10-05T09:00:00Z"))
        assert line["action"] == "remind_by_email"
        assert settled == [0]
        assert len(shop.sent("email")) == 1
        assert {step["state"] for step in shop.rows("outbox")} == {"sent"}


def test_a_pass_that_another_worker_has_made_is_not_made_again(
    tmp_path: Path, schema: Schema
) -> None:
    """Two workers see the same timer fall due; one fires it, the other goes on without a word."""
    with (
        open_shop(tmp_path / "w", store=schema.url) as one,
        open_shop(tmp_path / "w", store=schema.url) as two,
    ):
        granted = consent("granted", "2026-10-05T12:00:00Z", channel="sms", phone="+4915123456789")
        held = one.run(granted, cart("2026-10-05T20:30:00Z"))[-1]
        assert held["verdict"] == "held"
        when = "2026-10-06T18:00:00Z"
        due = passes.due(two.deps, at(when), 8)
        assert len(due) == 1
        first = one.wake(when)
        assert len(first) == 1
        assert asyncio.run(decided(two, due)) == ()
        assert two.wake(when) == []
        assert len([d for d in one.rows("decisions") if d["parent_id"]]) == 1


def test_a_vote_on_one_machine_is_seen_on_another(tmp_path: Path, schema: Schema) -> None:
    """An approval given through one process is carried out once, whoever wakes first."""
    with (
        open_shop(tmp_path / "w", store=schema.url) as one,
        open_shop(tmp_path / "w", store=schema.url) as two,
    ):
        one.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
            row("self_service_failed", "2026-10-05T08:30:00Z", topic="returns"),
            row("contact_opened", "2026-10-05T08:40:00Z", topic="returns"),
        )
        (asked,) = two.rows("approvals")
        two.vote(asked["approval_id"], "approve", "2026-10-05T09:00:00Z")
        assert [line["verdict"] for line in one.wake("2026-10-05T09:00:00Z")] == ["permitted"]
        assert two.wake("2026-10-05T09:00:00Z") == []
        assert len(one.sent("email")) == 1
