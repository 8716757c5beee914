"""What the writing commands do: run files, decide approvals, turn switches, retry dead letters."""

from __future__ import annotations

import asyncio
import difflib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, select, update

from agents import approvals
from agents.approvals import Says
from agents.steps import Line
from agents.supervisor import through_graph
from agents.workspace import Workspace
from domain.action import TOOL_NAMES
from domain.errors import ConfigurationError, InputError, UsageError
from domain.event import Event
from service.assemble import Assembly, assemble, assemble_stopping, steady
from service.inputs import STANDARD_INPUT, DeadRow, read_inputs
from service.lines import as_json as line_json
from service.lines import as_text, summary, who
from service.running import Run
from service.settings import duration_given, instant_given
from store import tables as t
from store.database import Database
from store.statements import Statement
from store.work import Work
from tools import switches

SHOWN_DEAD_MAX = 20
PROGRESS_AFTER_SECONDS = 1.0

_LETTERS = Statement(
    select(
        t.dead_letters.c.dead_id,
        t.dead_letters.c.place,
        t.dead_letters.c.ordinal,
        t.dead_letters.c.sealed,
    )
    .where(t.dead_letters.c.state == "dead")
    .order_by(t.dead_letters.c.at, t.dead_letters.c.dead_id)
)
_RETRIED = Statement(
    update(t.dead_letters)
    .where(t.dead_letters.c.dead_id == bindparam("dead"), t.dead_letters.c.state == "dead")
    .values(state="retried")
)


@contextmanager
def _writing(workspace: Path | None, store: str | None) -> Iterator[Assembly]:
    assembly = assemble(workspace, store)
    try:
        yield assembly
    finally:
        assembly.close()


def run_files(
    files: list[str],
    workspace: Path | None,
    store: str | None,
    *,
    as_json: bool,
    strict: bool,
    reorder: str,
    at: str | None,
) -> int:
    """Decide about every event of the files; 1 with `strict` where some could not be read."""
    span, undated_at = duration_given(reorder), instant_given(at)
    with Progress(files) as progress:
        with _writing(workspace, store) as assembly:
            items = read_inputs(
                files, assembly.reading, at=undated_at, reorder=span, progress=progress.tell
            )
            printer = _Printer(as_json=as_json)
            run = Run(assembly, through_graph(assembly.deps), printer.take)
            steady()
            asyncio.run(run.over(items))
        progress.stop()
        printer.finish(run)
    return 1 if strict and run.counts["dead"] else 0


def decide_approval(
    workspace: Path | None,
    store: str | None,
    approval_id: str,
    says: Says,
    by: str,
    reason: str,
    at: str | None,
    *,
    as_json: bool,
) -> int:
    """Count a vote, then let what fell due be asked again."""
    with _writing(workspace, store) as assembly:
        now = instant_given(at) or assembly.database.clock()
        voted = approvals.vote(assembly.deps, approval_id, says, by=by, at=now, reason=reason)
        if voted.state == "pending":
            print(f"{by} said yes; {voted.quorum} people have to", file=sys.stderr)
        lines = _wake(assembly, now, as_json=as_json)
        if voted.state == "expired":
            raise UsageError(
                f"expired at {voted.expires_at:%H:%M:%S}",
                place=approval_id,
                remedy="nothing was done; the event has to happen again",
            )
        if not lines and voted.state != "pending":
            print(f"{voted.state}; see `safeconduct explain {voted.decision_id}`", file=sys.stderr)
    return 0


def stop(
    workspace: Path | None,
    store: str | None,
    scope: str,
    reason: str,
    by: str,
    at: str | None,
    *,
    operator: str,
) -> int:
    """Turn a kill switch on.

    The local operator may always: stopping is safe, and a workspace in which nobody has the role
    has to be stopped too. A name given with `--by` claims an authority, which is looked up.
    """
    with closing(_switchboard(workspace, store, scope)) as board:
        switches.turn_on(
            board.database,
            scope,
            reason=reason,
            by=by,
            at=instant_given(at) or board.database.clock(),
            authorised=(*board.switchers, operator),
        )
    print(f"`{scope}` is stopped; let it go on with `safeconduct kill off {scope}`")
    return 0


def restart(
    workspace: Path | None,
    store: str | None,
    scope: str,
    reason: str,
    by: str,
    at: str | None,
    *,
    as_json: bool,
) -> int:
    """Ask that a scope go on; with the second person's word, ask again about what it held."""
    with _writing(workspace, store) as assembly:
        now = instant_given(at) or assembly.database.clock()
        state = switches.turn_off(
            assembly.database,
            scope,
            reason=reason,
            by=by,
            at=now,
            authorised=assembly.workspace.switchers,
            apart=timedelta(minutes=1) / assembly.workspace.switches.releases_per_minute,
        )
        if state == "asked":
            said = f"{by} asks that `{scope}` go on; a second person has to"
            print(said, file=sys.stderr if as_json else sys.stdout)
            return 0
        if not as_json:
            print(f"`{scope}` goes on")
        _wake(assembly, now, as_json=as_json)
    return 0


def retry_letters(
    workspace: Path | None, store: str | None, wanted: list[str], at: str | None, *, as_json: bool
) -> int:
    """Read dead letters again; those that can be read now become events like any other."""
    with _writing(workspace, store) as assembly:
        now = instant_given(at) or assembly.database.clock()
        letters = assembly.database.rows(_LETTERS)
        unknown = set(wanted) - {dead_id for dead_id, *_ in letters}
        if unknown:
            raise UsageError(
                f"there is no dead letter `{min(unknown)}`",
                remedy="list them with `safeconduct events dead`",
            )
        chosen = [letter for letter in letters if not wanted or letter[0] in wanted]
        decide = through_graph(assembly.deps)
        printer = _Printer(as_json=as_json)
        rows = read = 0
        for letter in chosen:
            run = Run(assembly, decide, printer.take)
            decided = _decide_again(assembly, run, letter, now)
            rows += decided
            read += bool(decided)
        print(f"{read} of {len(chosen)} letters could be read again: {rows} rows", file=sys.stderr)
    return 0


def _decide_again(assembly: Assembly, run: Run, letter: tuple[Any, ...], now: datetime) -> int:
    """Decide about a letter's events, then lay it aside; one that is refused again stays."""
    dead_id, place, ordinal, sealed = letter
    raw = assembly.database.vault.open_letter(sealed)
    try:
        read = assembly.reading.read(raw, received_at=now, place=place, ordinal=ordinal)
    except InputError:
        return 0
    if any(isinstance(item, InputError) for item in read):
        return 0  # a batch with a bad item: its good ones were decided when it came
    asyncio.run(run.over([item for item in read if isinstance(item, Event)]))
    if run.counts["dead"]:
        return 0
    work = Work(shown_as=f"dead letter {dead_id}")
    work.change(_RETRIED, expect=1, dead=dead_id)
    assembly.deps.commit([work])
    return run.rows


def _wake(assembly: Assembly, now: datetime, *, as_json: bool) -> int:
    printer = _Printer(as_json=as_json)
    run = Run(assembly, through_graph(assembly.deps), printer.take)
    asyncio.run(run.wake(now))
    return sum(run.passes.values())


@dataclass(frozen=True, slots=True)
class _Switchboard:
    """The store in which to stop something, and who has the role."""

    database: Database
    switchers: tuple[str, ...]
    close: Callable[[], None]


def _switchboard(workspace: Path | None, store: str | None, scope: str) -> _Switchboard:
    """Where to stop a scope; everything also by a workspace whose text cannot be used.

    Other processes go on with the text that they have read, so that theirs must still be stopped.
    """
    try:
        assembly = assemble(workspace, store)
    except ConfigurationError:
        if scope != switches.EVERYTHING:
            raise
        database = assemble_stopping(workspace, store)
        return _Switchboard(database, (), database.close)
    try:
        _check_scope(scope, assembly.workspace)
    except UsageError:
        assembly.close()
        raise
    return _Switchboard(assembly.database, assembly.workspace.switchers, assembly.close)


def _check_scope(scope: str, workspace: Workspace) -> None:
    known = [
        switches.EVERYTHING,
        *(f"channel:{name}" for name in workspace.policies.channels),
        *(f"tool:{name}" for name in TOOL_NAMES),
        *(f"journey:{name}" for name in workspace.journeys),
        *sorted({f"team:{journey.team}" for journey in workspace.journeys.values()}),
    ]
    if scope not in known:
        close = difflib.get_close_matches(scope, known, n=1)
        raise UsageError(
            f"`{scope}` is nothing that can be stopped",
            remedy=f"did you mean `{close[0]}`?" if close else f"use one of {', '.join(known)}",
        )


class _Printer:
    """Prints one line an event as it is decided, and the summary at the end."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._dead: list[str] = []

    def take(self, item: Line | DeadRow) -> None:
        """One event's line."""
        if self._as_json:
            print(json.dumps(line_json(item), ensure_ascii=False))
        elif isinstance(item, DeadRow):
            print(as_text(item))
        else:
            print(as_text(item, who(item)))
        dead = item if isinstance(item, DeadRow) else item.refused
        if dead is not None:
            remedy = f"; {dead.remedy}" if dead.remedy else ""
            self._dead.append(f"{dead.place}: {dead.cause}{remedy}")
            del self._dead[SHOWN_DEAD_MAX + 1 :]

    def finish(self, run: Run) -> None:
        """The table of what became of the rows; on standard error where programs read the rest."""
        out = sys.stderr if self._as_json else sys.stdout
        if not self._as_json or run.counts["dead"]:
            print("", *summary(run.counts, run.rows, run.passes), sep="\n", file=out)
        if self._dead:
            print("\ndead letters", file=out)
            print(*(f"  {line}" for line in self._dead[:SHOWN_DEAD_MAX]), sep="\n", file=out)
            if run.counts["dead"] > SHOWN_DEAD_MAX:
                print("  ... all of them: `safeconduct events dead`", file=out)
        if run.future:
            print(
                f"\ntimes that this machine's clock has not reached: {run.future}",
                file=sys.stderr,
            )


class Progress:
    """A progress bar on standard error, for input that takes longer than a moment."""

    def __init__(self, files: Iterable[str]) -> None:
        self._total = sum(
            Path(path).stat().st_size
            for path in files
            if path != STANDARD_INPUT and Path(path).is_file()
        )
        self._taken = 0
        self._began = time.monotonic()
        self._bar: Any = None
        self._task: Any = None
        self._wanted = sys.stderr.isatty()

    def tell(self, count: int) -> None:
        """Note that the reader has taken `count` bytes more."""
        self._taken += count
        if not self._wanted or time.monotonic() - self._began < PROGRESS_AFTER_SECONDS:
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import Progress as Bar

            # Lines for the same terminal are printed above the bar; for a file, past it.
            self._bar = Bar(
                console=Console(stderr=True, highlight=False, soft_wrap=True),
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
            )
            self._task = self._bar.add_task("deciding", total=self._total or None)
            self._bar.start()
        self._bar.update(self._task, completed=self._taken)

    def stop(self) -> None:
        """Take the bar away."""
        self._wanted = False
        if self._bar is not None:
            self._bar.stop()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
