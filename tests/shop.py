"""A shop to try things on: the starter workspace, its store, and events as short as can be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agents import approvals
from agents.supervisor import through_graph, through_steps
from domain.approval import Approval
from domain.errors import InputError
from domain.event import Event
from service.assemble import Assembly, assemble
from service.inputs import DeadRow
from service.lines import as_json
from service.running import Run
from service.settings import make_workspace
from tools import switches

BEGIN = "2026-10-05T09:00:00Z"
SWITCHERS = ("omar", "ida")
APART = timedelta(milliseconds=100)


def at(text: str) -> datetime:
    """The instant of an RFC 3339 text."""
    return datetime.fromisoformat(text)


def row(event: str, when: str, user: str = "c-1", **more: Any) -> dict[str, Any]:
    """One canonical event; what is no field of an event goes to its properties."""
    own = {"id", "source", "email", "phone", "traits", "brand", "anonymous_id", "identifiers"}
    said = {key: value for key, value in more.items() if key in own}
    properties = {key: value for key, value in more.items() if key not in own}
    made = {"id": f"{event}-{user}-{when}", "event": event, "at": when, "user_id": user, **said}
    return {**made, "properties": properties}


def consent(
    value: str, when: str, user: str = "c-1", channel: str | None = "email", **more: Any
) -> dict[str, Any]:
    """What a customer says about marketing."""
    purpose = more.pop("purpose", "marketing")
    said = {"value": value, "purpose": purpose, **more}
    return row("consent_changed", when, user, **({"channel": channel} if channel else {}), **said)


def cart(when: str, user: str = "c-1", *, cart_id: str = "k-1", **more: Any) -> dict[str, Any]:
    """A cart that was left behind, worth a message."""
    return row("cart_abandoned", when, user, cart_id=cart_id, **{"value": 80.0, **more})


class Shop:
    """A running shop. Every call decides and returns the lines that `--json` would print."""

    def __init__(self, assembly: Assembly, *, graph: bool) -> None:
        self.assembly = assembly
        self.database = assembly.database
        self.deps = assembly.deps
        self._decide = (through_graph if graph else through_steps)(assembly.deps)

    def run(self, *rows: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Feed rows as one file."""
        items: list[Event | DeadRow] = []
        for number, said in enumerate(rows, 1):
            items += self._read(json.dumps(said).encode(), f"events.jsonl:{number}")
        lines: list[dict[str, Any]] = []
        run = Run(self.assembly, self._decide, lambda item: lines.append(as_json(item)))
        asyncio.run(run.over(items))
        return lines

    def one(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Feed one row and return its own line."""
        return next(line for line in self.run(said) if line["pass"] in ("event", None))

    def read(self, said: Mapping[str, Any]) -> list[Event]:
        """The events of one row, received when they occurred."""
        found = self._read(json.dumps(said).encode(), "events.jsonl:1")
        return [
            replace(item, received_at=item.occurred_at or item.received_at)
            for item in found
            if isinstance(item, Event)
        ]

    def wake(self, when: str) -> list[dict[str, Any]]:
        """Let time pass."""
        lines: list[dict[str, Any]] = []
        run = Run(self.assembly, self._decide, lambda item: lines.append(as_json(item)))
        asyncio.run(run.wake(at(when)))
        return lines

    def vote(self, approval_id: str, says: approvals.Says, when: str, by: str = "ana") -> Approval:
        """Count one vote, without the pass it leads to."""
        return approvals.vote(self.deps, approval_id, says, by=by, at=at(when))

    def kill(self, scope: str, when: str) -> None:
        """Stop a scope."""
        switches.turn_on(
            self.database, scope, reason="a test", by="ida", at=at(when), authorised=SWITCHERS
        )

    def release(self, scope: str, when: str) -> list[dict[str, Any]]:
        """Let a scope go on, by two people, and ask again about the first of what it held."""
        self.let_go(scope, when)
        return self.wake((at(when) + timedelta(seconds=5)).isoformat())

    def let_go(self, scope: str, when: str, apart: timedelta = APART) -> None:
        """Let a scope go on, by two people."""
        for by, said in zip(SWITCHERS, ("asked", "off"), strict=True):
            assert said == switches.turn_off(
                self.database,
                scope,
                reason="over",
                by=by,
                at=at(when),
                authorised=SWITCHERS,
                apart=apart,
            )

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Everything in a table, as the store keeps it."""
        from sqlalchemy import select

        from store import tables
        from store.statements import Statement

        kept = tables.metadata.tables[table]
        names = [column.name for column in kept.columns]
        found = self.database.rows(Statement(select(kept)))
        return [dict(zip(names, values, strict=True)) for values in found]

    def sent(self, channel: str | None = None) -> list[Path]:
        """The messages that left, in the order of their names."""
        folder = self.assembly.place.outbox
        pattern = f"{channel or '*'}/*/*"
        return sorted(path for path in folder.glob(pattern) if path.is_file())

    def _read(self, raw: bytes, place: str) -> list[Event | DeadRow]:
        found: list[Event | DeadRow] = []
        now = at("2030-01-01T00:00:00Z")
        try:
            read = self.assembly.reading.read(raw, received_at=now, place=place)
        except InputError as error:
            read = (error,)
        for item in read:
            if isinstance(item, InputError):
                found.append(DeadRow(place, item.reason, item.cause, item.remedy or "", raw))
            else:
                found.append(item)
        return found


@contextmanager
def open_shop(
    folder: Path,
    *,
    store: str | None = "sqlite://",
    graph: bool = False,
    changes: Mapping[str, tuple[str, str]] | None = None,
) -> Iterator[Shop]:
    """The starter's shop in a folder.

    Args:
        store: where it is kept; None for the workspace's own file.
        changes: in which file to put what for what, before the workspace is loaded.
    """
    if not folder.exists():
        for _ in make_workspace(folder):
            pass
    for name, (old, new) in (changes or {}).items():
        text = (folder / name).read_text()
        assert old in text, (name, old)
        (folder / name).write_text(text.replace(old, new))
    assembly = assemble(folder, store)
    try:
        yield Shop(assembly, graph=graph)
    finally:
        assembly.close()
