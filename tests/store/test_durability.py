from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from store import tables as t
from store.database import open_database
from store.statements import Statement
from traces.ledger import verify

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 200 if os.environ.get("SAFECONDUCT_SOAK") == "1" else 10
GROUP = 4

NUMBERS = Statement(select(t.counters.c.amount).order_by(t.counters.c.key))
REVISIONS = Statement(select(t.revisions.c.revision))

# Commits numbered works in groups, each with an entry of somebody's chain, and says each last
# number after its commit. The checkpoint comes early, so that kills meet it as well.
WRITER = """
import sys
from store import sqlite
from store import tables as t
sqlite.WAL_BYTES_BEFORE_CHECKPOINT = int(sys.argv[4])
from store.database import open_database
from store.work import Work
number, group = int(sys.argv[2]), int(sys.argv[3])
database = open_database(sys.argv[1])
while True:
    works = []
    for n in range(number, number + group):
        work = Work(moves={f"k{n % 7}"})
        work.insert(t.counters, key=f"n{n:09d}", amount=n)
        work.append(t.outcomes, f"p-{n % 5}", outcome_id=f"o-{n:09d}", outbox_id="x",
                    decision_id="d", step=0, state="sent", at=n, detail="y" * 500)
        works.append(work)
    assert all(database.commit(works))
    number += group
    print(number - 1, flush=True)
"""


def written_until_killed(url: str, number: int, chance: random.Random) -> int:
    """Start a writer at `number`, kill it at some instant; the last number that it said."""
    checkpoint = chance.choice((20_000, 200_000, 8_000_000))
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(number), str(GROUP), str(checkpoint)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(chance.randrange(1, 150))]
    assert all(said), "the writer ended by itself"
    for _ in range(chance.randrange(20_000)):  # somewhere within the commit under way
        pass
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    whole = rest[: rest.rfind("\n") + 1].split()  # the last line may be cut off
    return int(whole[-1] if whole else said[-1])


@pytest.mark.soakable
@pytest.mark.timeout(1800)
def test_no_commit_is_lost_to_kill_9(tmp_path: Path) -> None:
    """All that a killed process said is there, whole groups only, and the ledger verifies."""
    chance = random.Random(7)
    path = tmp_path / "s.db"
    number = 0
    for _ in range(ROUNDS):
        said = written_until_killed(f"sqlite:///{path}", number, chance)
        database = open_database(f"sqlite:///{path}")
        kept = [amount for (amount,) in database.rows(NUMBERS)]
        assert kept == list(range(len(kept))), "a commit within is gone"
        assert len(kept) % GROUP == 0, "a group was written in part"
        assert len(kept) > said, "a commit that was answered is gone"
        assert sum(revision for (revision,) in database.rows(REVISIONS)) == len(kept)
        assert verify(database).entries == len(kept)
        database.close()
        number = len(kept)
    assert _integrity(path) == "ok"


def _integrity(path: Path) -> str:
    with sqlite3.connect(path) as raw:
        found = str(raw.execute("PRAGMA integrity_check").fetchone()[0])
    raw.close()
    return found
