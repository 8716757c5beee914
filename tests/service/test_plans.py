"""No statement on the way of a decision reads a whole table: what is slow at 200,000 people."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.supervisor import through_steps
from service.assemble import Assembly, assemble
from service.inputs import read_inputs
from service.running import Run
from service.settings import make_workspace

SAMPLES = Path(__file__).parents[2] / "service" / "samples" / "events.jsonl"
# A handful of rows each, whatever the number of people and events.
SMALL = {"kill_switches", "sources", "workspaces", "meta", "sqlite_master", "alembic_version"}
# In the order of an index and cut off by `LIMIT`, or over an index of pending rows alone.
ORDERED = ("SCAN timers USING INDEX ix_timers_pending", "SCAN decisions USING INDEX")


@pytest.fixture
def assembly(tmp_path: Path) -> Iterator[Assembly]:
    for _ in make_workspace(tmp_path / "shop"):
        pass
    assembly = assemble(tmp_path / "shop")
    yield assembly
    assembly.close()


def _asked_of(assembly: Assembly) -> set[str]:
    """Every statement that a run over the sample events executes."""
    heard: set[str] = set()
    connection = assembly.database._driver.connection
    connection.set_trace_callback(heard.add)
    run = Run(assembly, through_steps(assembly.deps), lambda line: None)
    asyncio.run(run.over(read_inputs([str(SAMPLES)], assembly.reading)))
    connection.set_trace_callback(None)
    assert run.counts.total() > 10
    return {text for text in heard if text.lstrip().startswith(("SELECT", "UPDATE", "DELETE"))}


def _scans(connection: sqlite3.Connection, text: str) -> list[str]:
    plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
    return [
        step
        for step in plan
        if step.startswith("SCAN ")
        and step.split()[1] not in SMALL
        and not step.startswith(ORDERED)
    ]


def test_no_statement_of_a_run_reads_a_whole_table(assembly: Assembly) -> None:
    """Every statement finds its rows through an index, however many there are."""
    asked = _asked_of(assembly)
    assert len(asked) > 50
    connection = assembly.database._driver.connection
    assert {text: scans for text in asked if (scans := _scans(connection, text))} == {}


def test_a_scan_would_be_seen(assembly: Assembly) -> None:
    """The check itself: a question that no index answers is a scan."""
    connection = assembly.database._driver.connection
    assert _scans(connection, "SELECT * FROM cases WHERE queue = 'x'") == ["SCAN cases"]
