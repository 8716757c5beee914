"""What the reading commands print: from a store opened for reading only, beside its writer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import select

from agents import approvals
from agents.minds.formula import FormulaMind
from agents.reconsider import WorkspaceOf, explain, recompute
from agents.record import read_record
from agents.workspace import Workspace
from domain.approval import Approval
from domain.errors import LedgerBroken
from domain.verdict import Audience
from profiles.views import find_root
from service.assemble import assemble_reading, kept_workspace, make_identity
from service.lines import Printed, Quoted, quoted_json, quoted_text, stamp
from service.settings import find_workspace, instant_given, load
from store import tables as t
from store.database import Database
from store.instants import instant
from store.statements import Statement
from tools import switches
from traces.explain import as_json as explained_json
from traces.explain import as_text as explained_text
from traces.history import History, Kept
from traces.ledger import verify

_DEAD = Statement(
    select(
        t.dead_letters.c.dead_id,
        t.dead_letters.c.place,
        t.dead_letters.c.reason,
        t.dead_letters.c.cause,
        t.dead_letters.c.remedy,
        t.dead_letters.c.at,
        t.dead_letters.c.state,
    ).order_by(t.dead_letters.c.at, t.dead_letters.c.place, t.dead_letters.c.dead_id)
)


@contextmanager
def _reading(workspace: Path | None, store: str | None) -> Iterator[Database]:
    database = assemble_reading(workspace, store)
    try:
        yield database
    finally:
        database.close()


def explanation(
    workspace: Path | None,
    store: str | None,
    decision_id: str,
    audience: Audience,
    *,
    as_json: bool,
) -> Printed:
    """One decision explained, from its record alone."""
    with _reading(workspace, store) as database:
        found = explain(database, decision_id, _workspaces(database), FormulaMind())
        yield explained_json(found, audience) if as_json else explained_text(found, audience)


def _workspaces(database: Database) -> WorkspaceOf:
    """Workspaces of the past by version, a few of them kept at hand."""

    @lru_cache(maxsize=4)
    def workspace_of(version: str) -> Workspace:
        return kept_workspace(database, version)

    return workspace_of


def decision_lines(
    workspace: Path | None, store: str | None, profile: str | None, limit: int, *, as_json: bool
) -> Printed:
    """The newest decisions, oldest of them first, one line each."""
    with _reading(workspace, store) as database:
        history = History(database)
        if profile is not None and ":" in profile:
            profile = _root(database, workspace, profile)
        found = history.latest(limit) if profile is None else history.of_person(profile, limit)
        for kept in found:
            quoted = _quoted(kept)
            yield quoted_json(quoted) if as_json else quoted_text(quoted)


def _root(database: Database, workspace: Path | None, who: str) -> str:
    """The id of who is meant by an identifier."""
    loaded = load(find_workspace(workspace))
    with database.read() as snapshot:
        region, rules = loaded.input.region, make_identity(loaded)
        return find_root(snapshot, database.vault, who, region, rules)


def _quoted(kept: Kept) -> Quoted:
    data = kept.record()
    event_id = "" if data is None else read_record(data).event_id
    decision = kept.decision(event_id)
    return Quoted(decision, decision.verdict)


def approval_lines(
    workspace: Path | None, store: str | None, at: str | None, *, everything: bool, as_json: bool
) -> Printed:
    """What waits for a person, the first to expire first."""
    with _reading(workspace, store) as database:
        now = instant_given(at) or database.clock()
        found = approvals.everything(database) if everything else approvals.pending(database, now)
        for approval in found:
            yield _approval_json(approval) if as_json else _approval_text(approval)
        if not found and not as_json:
            yield "nothing waits for approval"


def _approval_json(approval: Approval) -> dict[str, Any]:
    said = asdict(approval)
    return {
        key: stamp(value) if isinstance(value, datetime) else value for key, value in said.items()
    }


def _approval_text(approval: Approval) -> str:
    by = f" by {approval.decided_by}" if approval.decided_by else ""
    return (
        f"{approval.requested_at:%Y-%m-%d %H:%M}  {approval.action:<20}  {approval.profile_id}  "
        f"{approval.state + by:<10}  {approval.reason} (role {approval.role}, until "
        f"{approval.expires_at:%Y-%m-%d %H:%MZ})  {approval.approval_id}"
    )


def verification(workspace: Path | None, store: str | None, *, as_json: bool) -> Printed:
    """What a ledger that verifies holds; raises `LedgerBroken` where it does not."""
    with _reading(workspace, store) as database:
        found = verify(database)
    if as_json:
        yield {"verified": True, **asdict(found)}
    else:
        pruned = f", {found.pruned} of them pruned" if found.pruned else ""
        yield (
            f"the ledger verifies: {found.people} people, {found.decisions} decisions, "
            f"{found.entries} entries{pruned}"
        )


def recomputation(workspace: Path | None, store: str | None, *, as_json: bool) -> Printed:
    """How deciding everything again came out; raises `LedgerBroken` where it came out otherwise."""
    with _reading(workspace, store) as database:
        found = recompute(database, _workspaces(database), FormulaMind())
    if found.different:
        raise LedgerBroken(
            f"{len(found.different)} decisions come out otherwise when decided again",
            place=f"table decisions, row {found.different[0]}",
            remedy="compare them with `safeconduct explain`; was the program itself changed?",
        )
    if as_json:
        yield {"recomputed": found.same, "erased": found.erased, "different": []}
    else:
        erased = f", {found.erased} cannot be: their person was erased" if found.erased else ""
        yield f"{found.same} decisions decided again, each the same byte for byte{erased}"


def dead_lines(
    workspace: Path | None, store: str | None, *, everything: bool, as_json: bool
) -> Printed:
    """Dead letters with place, cause and remedy; their contents stay sealed."""
    with _reading(workspace, store) as database:
        none = True
        for dead_id, place, reason, cause, remedy, at, state in database.rows(_DEAD):
            if state != "dead" and not everything:
                continue
            none = False
            if as_json:
                yield {
                    "dead_id": dead_id,
                    "place": place,
                    "reason": reason,
                    "cause": cause,
                    "remedy": remedy,
                    "at": stamp(instant(at)),
                    "state": state,
                }
            else:
                shown = f"; {remedy}" if remedy else ""
                yield f"{state:<8}  {reason:<16}  {place}: {cause}{shown}  {dead_id}"
        if none and not as_json:
            yield "there are no dead letters"


def switch_lines(
    workspace: Path | None,
    store: str | None,
    scope: str | None,
    *,
    everything: bool,
    as_json: bool,
) -> Printed:
    """What is stopped, since when, by whom and why."""
    with _reading(workspace, store) as database:
        found = switches.history(database) if everything else switches.are_on(database)
        found = [switch for switch in found if scope in (None, switch.scope)]
        for switch in found:
            if as_json:
                said = asdict(switch)
                yield {
                    key: stamp(value) if isinstance(value, datetime) else value
                    for key, value in said.items()
                }
            else:
                off = (
                    f", off {switch.off_at:%Y-%m-%d %H:%MZ} by {switch.off_by}"
                    if (switch.off_at)
                    else f", {switch.asked_by} asks that it go on"
                    if switch.asked_by
                    else ""
                )
                yield (
                    f"{switch.scope:<24}  on {switch.on_at:%Y-%m-%d %H:%MZ} by {switch.on_by}"
                    f"{off}  {switch.reason}"
                ).rstrip()
        if not found and not as_json:
            yield "nothing is stopped"
