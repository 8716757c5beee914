"""Says something for a person, as an event like any other: one way for every command."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from agents.steps import Line
from agents.supervisor import through_graph
from domain.decision import Decision
from domain.errors import UsageError
from domain.event import Event, EventKind, Identifier
from profiles.views import View, view
from service.assemble import Assembly, assemble, make_identity
from service.inputs import DeadRow
from service.running import Run

SOURCE = "safeconduct"


@contextmanager
def writing(workspace: Path | None, store: str | None) -> Iterator[Assembly]:
    """A writing process, closed at the end."""
    assembly = assemble(workspace, store)
    try:
        yield assembly
    finally:
        assembly.close()


def seen(assembly: Assembly, who: str) -> View:
    """The person who is meant. Raises `UsageError`."""
    database, loaded = assembly.database, assembly.workspace
    with database.read() as snapshot:
        return view(snapshot, database.vault, who, loaded.input.region, make_identity(loaded))


def run_of(assembly: Assembly, lines: list[Line | DeadRow] | None = None) -> Run:
    """A run whose lines are gathered, or told to nobody."""
    emit = (lambda _: None) if lines is None else lines.append
    return Run(assembly, through_graph(assembly.deps), emit)


def tell(
    assembly: Assembly,
    who: str,
    what: str,
    named: tuple[EventKind, str],
    now: datetime,
    *,
    properties: Mapping[str, Any] | None = None,
    traits: Mapping[str, Any] | None = None,
) -> Decision:
    """Have the person say it, through the supervisor. Raises `InputError` where it is refused.

    Args:
        what: what the event's id begins with.
        named: the event's kind and name.
    """
    event = Event(
        source=SOURCE,
        id=f"{what}-{uuid4()}",
        kind=named[0],
        name=named[1],
        occurred_at=now,
        received_at=now,
        identifiers=(_anchor(assembly, seen(assembly, who)),),
        properties={"source": SOURCE, **(properties or {})},
        traits=traits or {},
        place=f"request about `{who}`",
    )
    lines: list[Line | DeadRow] = []
    asyncio.run(run_of(assembly, lines).over([event]))
    made = next(
        line for line in lines if isinstance(line, Line) and line.arrival.event.id == event.id
    )
    if made.decision is None:
        assert made.refused is not None
        raise made.refused
    return made.decision


def _anchor(assembly: Assembly, found: View) -> Identifier:
    """The identifier by which the person's root is known."""
    identity = make_identity(assembly.workspace)
    fragment = found.members[0].fragment
    if fragment is None:
        raise UsageError(
            "this person was erased, and nothing can be said in their name",
            place=found.profile_id,
            remedy="name the person by an identifier, such as `email:a@x.example`",
        )
    return identity.anchor(known.identifier for known in fragment.identifiers)
