from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from agents import dispatch
from policies.guard import PERMIT_TTL
from store.work import Work
from tests.shop import Shop, cart, consent, open_shop, row
from tools.toolbox import Intent, Outcome
from traces.ledger import verify

SOAK = os.environ.get("SAFECONDUCT_SOAK") == "1"
ROUNDS = 200 if SOAK else 5


def story(people: int) -> list[dict[str, Any]]:
    """Events that lead to every kind of step: messages, vouchers, cases, hand-offs, holds."""
    rows: list[dict[str, Any]] = []
    for n in range(people):
        user, mail = f"c-{n}", {"email": f"c{n}@shop.example"}
        rows += [
            consent("granted", "2026-10-05T08:00:00Z", user, **mail),
            row("signed_up", "2026-10-05T08:10:00Z", user),
            cart("2026-10-05T09:00:00Z", user),
            row("checkout_failed", "2026-10-05T09:30:00Z", user, order_id="o", error="card"),
            row("self_service_failed", "2026-10-05T10:00:00Z", user, topic="returns"),
            row("contact_opened", "2026-10-06T11:00:00Z", user, topic="returns"),
        ]
    return sorted(rows, key=lambda said: str(said["at"]))


def check(shop: Shop, rows: Sequence[dict[str, Any]]) -> None:
    """One first decision an event; at most one effect a permit; nothing counted twice or lost."""
    verify(shop.database)
    firsts = [d for d in shop.rows("decisions") if d["pass_kind"] == "event"]
    assert len(firsts) == len({d["event_key"] for d in firsts}) == len(rows)
    event_of = {d["decision_id"]: d["event_key"] for d in shop.rows("decisions")}
    sent = Counter(event_of[path.stem.rpartition("-")[0]] for path in shop.sent())
    assert all(count == 1 for count in sent.values()), "a customer heard of one event twice"
    steps = shop.rows("outbox")
    assert {step["state"] for step in steps} <= {"sent", "cancelled"}
    permits = {permit["permit_id"] for permit in shop.rows("permits")}
    done = Counter((s["permit_id"], s["step"]) for s in steps if s["state"] == "sent")
    assert {permit for permit, _ in done} <= permits
    assert all(count == 1 for count in done.values())
    told = [s for s in steps if s["state"] == "sent" and s["tool"] == "message"]
    assert {path.stem for path in shop.sent()} == {s["outbox_id"] for s in told}
    committed = [c for c in shop.rows("contacts") if c["state"] == "committed"]
    assert {c["decision_id"] for c in committed} == {s["decision_id"] for s in told}
    assert not [c for c in shop.rows("contacts") if c["state"] == "unknown"]
    held = Counter(g["offer"] for g in shop.rows("grants") if g["state"] == "granted")
    waiting = Counter("voucher_25" for a in shop.rows("approvals") if a["state"] == "pending")
    for counter in shop.rows("counters"):
        offer = counter["key"].rpartition(":")[2]
        assert counter["amount"] == held[offer] + waiting[offer], counter


class Crash(BaseException):
    """The plug is pulled here."""


def crash_at(shop: Shop, nth: int, where: str) -> None:
    """Let the shop die around its nth commit or its nth step."""
    count = 0
    if where.endswith("commit"):
        kept = shop.database.commit

        def commit(works: Sequence[Work]) -> list[bool]:
            nonlocal count
            count += bool(works)
            if count == nth and where == "before commit":
                raise Crash
            written = kept(works)
            if count == nth and where == "after commit":
                raise Crash
            return written

        shop.database.commit = commit  # type: ignore[method-assign]
        return
    execute = shop.deps.toolbox.execute

    async def carry_out(intent: Intent, work: Work) -> Outcome:
        nonlocal count
        count += 1
        if count == nth and where == "before step":
            raise Crash
        outcome = await execute(intent, work)
        if count == nth and where == "after step":
            raise Crash
        return outcome

    shop.deps.toolbox.execute = carry_out  # type: ignore[method-assign]


@pytest.mark.parametrize("where", ["before commit", "after commit", "before step", "after step"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5, 7, 9, 12])
def test_pulling_the_plug_anywhere_loses_and_doubles_nothing(
    tmp_path: Path, store: str, where: str, nth: int
) -> None:
    """Wherever the process dies, a rerun ends with one decision an event and no second effect."""
    rows = story(2)
    with suppress(Crash), open_shop(tmp_path / "w", store=store) as shop:
        crash_at(shop, nth, where)
        try:
            shop.run(*rows)
        finally:
            shop.deps.pending.clear()  # what was only in memory is gone
    with open_shop(tmp_path / "w", store=store) as shop:
        shop.run(*rows)
        check(shop, rows)
        assert all(line["verdict"] == "duplicate" for line in shop.run(*rows))


@pytest.mark.soakable
def test_kill_9_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """A command killed at any instant, and run again, ends as if it had never been killed."""
    chance = random.Random(20261005)
    rows = story(12)
    events = tmp_path / "events.jsonl"
    events.write_text("".join(json.dumps(said) + "\n" for said in rows))
    for number in range(ROUNDS):
        folder = tmp_path / f"w{number}"
        store = f"sqlite:///{tmp_path / f'shop{number}.db'}"
        with open_shop(folder, store=store):
            pass
        command = [sys.executable, "-u", "-m", "service.cli", "run", str(events), "--json"]
        command += ["--workspace", str(folder), "--store", store]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parents[2],
            text=True,
        )
        assert process.stdout is not None
        for _ in range(chance.randrange(1, len(rows))):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        with open_shop(folder, store=store) as shop:
            shop.run(*rows)
            check(shop, rows)


def test_a_switch_between_the_grant_and_the_message_stops_both(tmp_path: Path) -> None:
    """Case 27's gate: a promise goes out only if nothing moved after its grant; else neither."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(
            consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
        )
        execute = shop.deps.toolbox.execute
        turned: list[Intent] = []

        async def meddle(intent: Intent, work: Work) -> Outcome:
            if intent.tool == "offer" and not turned:
                turned.append(intent)
                shop.kill("channel:email", "2026-10-05T09:00:00Z")
            return await execute(intent, work)

        shop.deps.toolbox.execute = meddle  # type: ignore[method-assign]
        shop.run(row("self_service_failed", "2026-10-05T08:30:00Z", topic="returns"))
        held = shop.one(row("contact_opened", "2026-10-05T08:40:00Z", topic="returns"))
        (asked,) = shop.rows("approvals")
        shop.vote(asked["approval_id"], "approve", "2026-10-05T09:00:00Z")
        lines = shop.wake("2026-10-05T09:00:00Z")
        assert [(line["verdict"], line["pass"]) for line in lines] == [
            ("permitted", "approval"),
            ("held", "retry"),
        ]
        assert lines[1]["code"] == "kill_switch"
        assert held["action"] == "apology_voucher"
        assert not shop.sent("email")
        assert {grant["state"] for grant in shop.rows("grants")} == {"released"}
        assert sum(c["amount"] for c in shop.rows("counters")) == 0
        steps = [
            s["state"] for s in shop.rows("outbox") if s["decision_id"] == lines[0]["decision_id"]
        ]
        assert steps == ["cancelled", "cancelled"]


MAIL = (
    consent("granted", "2026-10-05T08:00:00Z", email="a@shop.example"),
    cart("2026-10-05T09:00:00Z"),
)


def test_a_step_that_its_permit_outlived_is_never_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may take a sender for dead by then: it withdraws and asks again."""
    with open_shop(tmp_path / "w") as shop:
        shop.run(MAIL[0])
        late = [monotonic() + PERMIT_TTL.total_seconds() + 5]
        monkeypatch.setattr(dispatch, "monotonic", lambda: late.pop() if late else monotonic())
        lines = shop.run(MAIL[1])
        assert [(line["verdict"], line["pass"]) for line in lines] == [
            ("permitted", "event"),
            ("permitted", "retry"),
        ]
        steps = {step["decision_id"]: step["state"] for step in shop.rows("outbox")}
        assert [steps[line["decision_id"]] for line in lines] == ["cancelled", "sent"]
        (mail,) = shop.sent("email")
        assert mail.stem.startswith(lines[1]["decision_id"])


def die_after_sending(folder: Path, store: str) -> None:
    """Send `MAIL`, and be gone before anybody could write that it was sent."""
    with suppress(Crash), open_shop(folder, store=store) as shop:
        shop.run(MAIL[0])
        crash_at(shop, 1, "after step")
        try:
            shop.run(MAIL[1])
        finally:
            shop.deps.pending.clear()


def test_what_was_sent_from_elsewhere_is_not_sent_again_from_here(tmp_path: Path) -> None:
    """Another machine's outbox cannot be looked into: what it was about stays unknown."""
    store = f"sqlite:///{tmp_path / 'shop.db'}"
    die_after_sending(tmp_path / "one", store)
    with open_shop(tmp_path / "two", store=store) as shop:
        shop.wake("2026-10-05T09:00:30Z")
        assert not shop.sent("email")
        assert [step["state"] for step in shop.rows("outbox")] == ["unknown"]
        assert [contact["state"] for contact in shop.rows("contacts")] == ["unknown"]


def test_whom_two_find_dead_is_settled_once(tmp_path: Path) -> None:
    """Where somebody else settles a dead process's step first, recovering goes on."""
    store = f"sqlite:///{tmp_path / 'shop.db'}"
    die_after_sending(tmp_path / "w", store)
    with open_shop(tmp_path / "w", store=store) as shop:
        commit, others = shop.database.commit, list[Work]()

        def overtaken(works: Sequence[Work]) -> list[bool]:
            if works and not others:
                others.extend(works)
                assert commit(works) == [True]  # the other was first, and with the same result
            return commit(works)

        shop.database.commit = overtaken  # type: ignore[method-assign]
        shop.wake("2026-10-05T09:00:30Z")
        assert others
        assert [step["state"] for step in shop.rows("outbox")] == ["sent"]
        assert len(shop.sent("email")) == 1
        verify(shop.database)


def test_no_outcome_is_recorded_before_it_is_durable(tmp_path: Path) -> None:
    """The commit that says `sent` waits for the disk that holds the message."""
    done: list[str] = []
    with open_shop(tmp_path / "w") as shop:
        settle, commit = shop.deps.toolbox.settle, shop.database.commit

        def settled() -> None:
            settle()
            done.append("settled")

        def committed(works: Sequence[Work]) -> list[bool]:
            done.append("committed")
            return commit(works)

        shop.deps.toolbox.settle = settled  # type: ignore[method-assign]
        shop.database.commit = committed  # type: ignore[method-assign]
        shop.run(*MAIL)
    assert done.count("committed") >= 2
    assert all(before == "settled" for before, now in pairwise(["", *done]) if now == "committed")
