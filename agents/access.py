"""Everything that is held on a person, in one document that programs can read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, bindparam, select

from agents import letters
from agents.minds.mind import Mind
from agents.reconsider import WorkspaceOf, explain
from domain.canonical import parse
from domain.context import Retention
from domain.verdict import Audience
from profiles.views import View
from store import tables as t
from store.database import Database, Snapshot
from store.instants import instant
from store.packing import unpack
from store.statements import Statement
from traces.explain import as_json as explained_json

HELD: tuple[Table, ...] = (
    t.profiles,
    t.consents,
    t.suppressions,
    t.contacts,
    t.decisions,
    t.outbox,
    t.outcomes,
    t.approvals,
    t.approval_votes,
    t.timers,
    t.instances,
    t.assignments,
    t.grants,
    t.cases,
    t.events,
    t.logouts,
    t.bounces,
    t.rulings,
    t.requests,
    t.inquiries,
    t.statutory,
)
"""The tables whose rows about a person are handed out."""

NOT_HELD: Mapping[str, str] = {
    "data_keys": "keys, not data",
    "identifiers": "fingerprints of the identifiers, which are handed out as they are",
    "chains": "where the record has got to",
    "tombstones": "up to where the record was pruned",
}
_SEALED: Mapping[str, Retention] = {
    "profiles": "erasable",
    "decisions": "erasable",
    "outbox": "erasable",
    "timers": "erasable",
    "cases": "erasable",
    "consents": "evidence",
    "requests": "evidence",
    "statutory": "statutory",
}
_COLLEAGUES = frozenset(("by", "decided_by"))
_ROWS = {
    str(table.name): Statement(
        select(table)
        .where(table.c.profile_id.in_(bindparam("people", expanding=True)))
        .order_by(*table.primary_key.columns)
    )
    for table in HELD
}
_KEYS = Statement(
    select(t.data_keys.c.profile_id, t.data_keys.c.retention, t.data_keys.c.wrapped).where(
        t.data_keys.c.profile_id.in_(bindparam("people", expanding=True))
    )
)
_LETTERS = Statement(select(t.dead_letters))


@dataclass(frozen=True, slots=True)
class Access:
    """Whoever asks sees what they may: a customer no colleagues' names, and no reason that is
    withheld from customers."""

    database: Database
    audience: Audience
    workspace_of: WorkspaceOf
    mind: Mind

    def of(self, found: View, portrait: Mapping[str, Any]) -> dict[str, Any]:
        """The whole document.

        Args:
            portrait: who the person is, as it is shown elsewhere.
        """
        people = [member.profile_id for member in found.members]
        with self.database.read() as snapshot:
            for profile_id, retention, wrapped in snapshot.rows(_KEYS, people=people):
                self.database.vault.unwrap(profile_id, retention, wrapped)
            rows = {name: list(self._rows(snapshot, name, people)) for name in _ROWS}
            letters = list(self._letters(snapshot, found))
        explained = [self._explained(row["decision_id"]) for row in rows["decisions"]]
        if self.audience == "customer":
            del rows["decisions"]  # what they say is explained, and names no rule that is withheld
            rows["suppressions"] = [self._suppression(row) for row in rows["suppressions"]]
            rows["requests"] = [_asked(row) for row in rows["requests"] if _is_theirs(row)]
            for name in ("approvals", "approval_votes", "rulings"):
                rows[name] = [_without_words(row) for row in rows[name]]
        return {
            "person": dict(portrait),
            "decisions_explained": explained,
            "dead_letters": letters,
            **rows,
        }

    def _rows(
        self, snapshot: Snapshot, name: str, people: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        columns = t.metadata.tables[name].columns.keys()
        for values in snapshot.rows(_ROWS[name], people=list(people)):
            row = dict(zip(columns, values, strict=True))
            sealed = row.pop("sealed", None)
            shown = {column: _shown(column, value) for column, value in row.items()}
            if self.audience == "customer":
                shown = {k: v for k, v in shown.items() if k not in _COLLEAGUES}
                if name == "outcomes" and row["by"] is not None:
                    shown["detail"] = "unavailable"  # a colleague's remark
            if sealed is not None:
                shown["content"] = self._content(name, row["profile_id"], sealed)
            yield shown

    def _content(self, name: str, profile_id: str, sealed: bytes) -> Any:
        """What was sealed; None where its key is gone."""
        data = self.database.vault.open_kept(profile_id, _SEALED[name], name, sealed)
        if data is None:
            return None
        return parse(unpack(data) if name == "decisions" else data)

    def _explained(self, decision_id: str) -> dict[str, Any]:
        found = explain(self.database, decision_id, self.workspace_of, self.mind)
        return explained_json(found, self.audience)

    def _suppression(self, row: Mapping[str, Any]) -> dict[str, Any]:
        if self.audience in parse(row["shown_to"]):
            return dict(row)
        withheld = dict.fromkeys(("reason", "shown_to", "target", "ref", "blocks"), "unavailable")
        return {**row, **withheld}

    def _letters(self, snapshot: Snapshot, found: View) -> Iterator[dict[str, Any]]:
        """Dead letters in which one of the person's identifiers stands."""
        named = [one.identifier for one in found.whole.identifiers]
        columns = t.dead_letters.columns.keys()
        for values in snapshot.stream(_LETTERS):
            row = dict(zip(columns, values, strict=True))
            raw = self.database.vault.open_letter(row.pop("sealed"))
            if letters.names(raw, named):
                content = raw.decode("utf-8", "replace")
                yield {**{k: _shown(k, v) for k, v in row.items()}, "content": content}


def _is_theirs(row: Mapping[str, Any]) -> bool:
    """Whether the person knows of it: that a court or a review holds data is not for them."""
    return row["kind"] not in ("hold", "release")


def _asked(row: Mapping[str, Any]) -> dict[str, Any]:
    """A request of theirs; a refusal's cause, and what a colleague wrote about it, stay inside."""
    content = {key: said for key, said in (row["content"] or {}).items() if key != "reason"}
    return {**row, "content": content}


def _without_words(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without the rule it rests on, which may be withheld, and a colleague's remarks."""
    withheld = {key: "unavailable" for key in ("rule", "reason") if key in row}
    return {**row, **withheld}


def _shown(column: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int) and (column == "at" or column.endswith("_at")):
        return instant(value).isoformat().replace("+00:00", "Z")
    return value
