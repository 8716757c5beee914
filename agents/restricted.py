"""Keeps what an erasure may not take: fields that a law, or a proof, wants for longer.

A field's label says so (`retention: statutory | evidence`). From the erasure on nothing reads
them but an access request; the key of the statutory ones is destroyed when their date has come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import bindparam, delete, select

from domain.canonical import canonical
from domain.context import FieldLabel, Retention
from profiles.labels import nested
from profiles.state import Fragment, Trait
from store import tables as t
from store.database import Database
from store.instants import micros
from store.statements import Statement
from store.vault import Vault
from store.work import Work

Fields = Mapping[str, Mapping[str, Trait]]
"""Each fragment's fields, by their labels' names."""

_OVER = Statement(
    select(t.statutory.c.profile_id, t.profiles.c.root_id)
    .join(t.profiles, t.profiles.c.profile_id == t.statutory.c.profile_id)
    .where(t.statutory.c.until_at <= bindparam("at"))
    .order_by(t.statutory.c.profile_id)
)
_DROP = Statement(
    delete(t.statutory).where(t.statutory.c.profile_id.in_(bindparam("people", expanding=True)))
)
_DESTROY_KEYS = Statement(
    delete(t.data_keys).where(
        t.data_keys.c.profile_id.in_(bindparam("people", expanding=True)),
        t.data_keys.c.retention == "statutory",
    )
)


def fields_of(
    fragments: Mapping[str, Fragment], labels: Iterable[FieldLabel], retention: Retention
) -> Fields:
    """What of some fragments is of a retention class."""
    wanted = [label.name for label in labels if label.retention == retention]
    found: dict[str, dict[str, Trait]] = {}
    for profile_id, fragment in fragments.items():
        for name in wanted:
            trait = _trait(fragment, name)
            if trait is not None:
                found.setdefault(profile_id, {})[name] = trait
    return found


def keep(work: Work, vault: Vault, fields: Fields, until: datetime) -> None:
    """Seal fields for the law, under keys of their own."""
    for profile_id, said in fields.items():
        wrapped = vault.new_key(profile_id, "statutory")
        work.insert(t.data_keys, profile_id=profile_id, retention="statutory", wrapped=wrapped)
        sealed = vault.seal(profile_id, "statutory", "statutory", canonical(said))
        work.insert(t.statutory, profile_id=profile_id, until_at=micros(until), sealed=sealed)


def over(database: Database, at: datetime) -> dict[str, str]:
    """The fragments whose date has come, and the root of each."""
    return dict(database.rows(_OVER, at=micros(at)))


def destroy(work: Work, people: list[str]) -> None:
    """Let go of what was kept for the law, and of its keys."""
    work.change(_DROP, people=people)
    work.change(_DESTROY_KEYS, people=people)


def _trait(fragment: Fragment, name: str) -> Trait | None:
    root, _, path = name.partition(".")
    key, _, rest = path.partition(".")
    trait = fragment.traits.get(key) if root == "profile" else None
    if trait is None:
        return None
    value = nested(trait.value, rest) if rest else trait.value
    return None if value is None else replace(trait, value=value)
