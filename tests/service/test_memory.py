"""Memory stays flat, however long a run is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EVENTS = 1_000_000 if os.environ.get("SAFECONDUCT_SOAK") == "1" else 4_000
SAMPLES = 20
RESIDENT_MAX = 400e6

_CHILD = """
import asyncio, json, random, sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agents.supervisor import through_steps
from domain.event import Event
from service.assemble import assemble, steady
from service.inputs import DeadRow, read_inputs
from service.running import Run
from service.settings import make_workspace

folder, events, samples = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
people, chance = events // 50, random.Random(7)
began = datetime(2026, 9, 1, 9, tzinfo=UTC)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def rows() -> Iterator[dict[str, Any]]:
    names = ["page_viewed"] * 16 + ["cart_abandoned", "checkout_failed", "order_completed"]
    for n in range(events):
        at = began + timedelta(seconds=n)
        person = n if n < people else chance.randrange(people)
        name = "consent_changed" if n < people else chance.choice(names)
        said = {"cart_id": f"k{n}", "order_id": f"o{n}", "value": 80.0, "error": "card"}
        if n < people:
            said = {"channel": "email", "purpose": "marketing", "value": "granted", "source": "s"}
        mail = {"email": f"u{person}@x.example"} if n < people else {}
        yield {
            "id": f"e{n}", "event": name, "at": at.isoformat(), "user_id": f"u{person}", **mail,
            "properties": said,
        }


def watched(items: Iterator[Event | DeadRow]) -> Iterator[Event | DeadRow]:
    for n, item in enumerate(items):
        if n and n % (events // samples) == 0:
            print(json.dumps(resident()), flush=True)
        yield item


for _ in make_workspace(folder):
    pass
given = folder / "events.jsonl"
with given.open("w") as file:
    for row in rows():
        print(json.dumps(row), file=file)
assembly = assemble(folder)
run = Run(assembly, through_steps(assembly.deps), lambda line: None)
steady()
asyncio.run(run.over(watched(read_inputs([str(given)], assembly.reading))))
assembly.close()
assert run.rows == run.counts.total() == events, run.counts
assert run.counts["dead"] == run.counts["duplicate"] == 0, run.counts
assert run.counts["permitted"] > events / 100, run.counts
print(json.dumps(resident()))
"""


@pytest.mark.soakable
@pytest.mark.timeout(5400)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system has no /proc")
def test_memory_stays_flat(tmp_path: Path) -> None:
    """A file is read in less than 400 MB, and after a quarter of it no more memory is taken."""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", _CHILD, str(tmp_path / "shop"), str(EVENTS), str(SAMPLES)]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)
    shutil.rmtree(tmp_path / "shop", ignore_errors=True)
    assert done.returncode == 0, done.stderr
    resident = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(resident) == SAMPLES
    early, late = resident[SAMPLES // 4], max(resident[SAMPLES // 2 :])
    said = f"{early / 1e6:,.0f} MB at a quarter of the run, {late / 1e6:,.0f} MB at most later"
    assert late < early * 1.15, said
    assert late < RESIDENT_MAX, said
