"""Merges as people see them: what one would change, done by a ruling, and undone by another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from agents.workspace import Workspace
from domain.canonical import canonical
from domain.consent import Consent, answer
from profiles.identifying import known_ref
from profiles.rulings import Preview, Registry
from profiles.state import Fragment
from service.assemble import assemble, assemble_reading, make_registry
from service.lines import Printed
from service.portraits import WHY, questions
from service.settings import find_workspace, instant_given, load
from store.vault import Vault


def merge_preview(
    workspace: Path | None,
    store: str | None,
    one: str,
    other: str,
    at: str | None,
    *,
    as_json: bool,
) -> Printed:
    """What it would be for two people to be one."""

    def preview(registry: Registry, now: datetime) -> Preview:
        return registry.preview_merge(one, other, now)

    yield from _previewed(workspace, store, at, preview, as_json=as_json)


def unmerge_preview(
    workspace: Path | None,
    store: str | None,
    one: str,
    other: str,
    at: str | None,
    *,
    as_json: bool,
) -> Printed:
    """What it would be for two fragments of one person to be two people."""

    def preview(registry: Registry, now: datetime) -> Preview:
        return registry.preview_unmerge(one, other, now)

    yield from _previewed(workspace, store, at, preview, as_json=as_json)


def rule(
    workspace: Path | None,
    store: str | None,
    one: str,
    other: str,
    at: str | None,
    *,
    together: bool,
    by: str,
    reason: str,
    as_json: bool,
) -> Printed:
    """Make two people one, or one person two, and say what came of it."""
    assembly = assemble(workspace, store)
    try:
        registry = make_registry(assembly.database, assembly.workspace)
        now = instant_given(at) or assembly.database.clock()
        ruled = registry.merge if together else registry.unmerge
        preview = ruled(one, other, by=by, reason=reason, at=now)
        yield from _told(preview, assembly.database.vault, assembly.workspace, now, as_json)
    finally:
        assembly.close()


def _previewed(
    workspace: Path | None,
    store: str | None,
    at: str | None,
    preview: Callable[[Registry, datetime], Preview],
    *,
    as_json: bool,
) -> Printed:
    loaded = load(find_workspace(workspace))
    database = assemble_reading(workspace, store)
    try:
        now = instant_given(at) or database.clock()
        found = preview(make_registry(database, loaded), now)
        yield from _told(found, database.vault, loaded, now, as_json)
    finally:
        database.close()


def _told(
    preview: Preview, vault: Vault, loaded: Workspace, now: datetime, as_json: bool
) -> Printed:
    changed = list(_changed_consents(preview, vault, loaded, now))
    if as_json:
        yield _as_json(preview, vault, changed)
    else:
        yield from _as_text(preview, vault, changed)


def _changed_consents(
    preview: Preview, vault: Vault, loaded: Workspace, now: datetime
) -> Iterator[dict[str, Any]]:
    """The ledger's answers that come out otherwise, person by person as they were."""
    for root, was in preview.was.items():
        lines = preview.lines
        before = dict(_answers(lines, preview.before[root], was, vault, loaded, now))
        for following, members in preview.after.items():
            if set(members).isdisjoint(preview.before[root]):
                continue
            whole = preview.whole[following]
            lines = (*preview.lines, *preview.restated)
            after = dict(_answers(lines, members, whole, vault, loaded, now))
            for asked, value in sorted(before.items()):
                if after.get(asked, value) != value:
                    brand, channel, purpose, address = asked
                    yield {
                        "profile_id": root,
                        "brand": brand,
                        "channel": channel,
                        "purpose": purpose,
                        "address": address or None,
                        "before": value,
                        "after": after[asked],
                    }


def _answers(
    lines: Sequence[Consent],
    members: tuple[str, ...],
    whole: Fragment,
    vault: Vault,
    loaded: Workspace,
    now: datetime,
) -> Iterator[tuple[tuple[str, str, str, str], str]]:
    def points(kind: str) -> list[tuple[str, str]]:
        return [(known_ref(vault, one), one.value) for one in whole.identifiers if one.ns == kind]

    for ask, address in questions(loaded, members, points):
        said = answer(lines, ask, now).value
        yield (ask.brand, ask.channel, ask.purpose, address or ""), said


def _names(preview: Preview, vault: Vault) -> dict[str, str]:
    """Identifiers by fingerprint, as `ns value`."""
    return {
        known_ref(vault, known): f"{known.ns:<16}{known.value}"
        for whole in preview.whole.values()
        for known in whole.identifiers
    }


def _as_json(preview: Preview, vault: Vault, changed: list[dict[str, Any]]) -> dict[str, Any]:
    names = _names(preview, vault)
    return {
        "ruling": preview.ruling,
        "fragments": list(preview.pair),
        "before": {root: list(members) for root, members in preview.before.items()},
        "after": {root: list(members) for root, members in preview.after.items()},
        "links": [
            {
                "identifier": names.get(link.ref, "").split(None, 1)[-1],
                "ns": link.ns,
                "fragments": list(link.holders),
                "joins": not link.why,
                "why_not": link.why or None,
            }
            for link in preview.links
        ],
        "traits_that_differ": _differing(preview),
        "consents_that_change": changed,
    }


def _as_text(preview: Preview, vault: Vault, changed: list[dict[str, Any]]) -> Iterator[str]:
    yield from (f"before: {_person(r, m)}" for r, m in preview.before.items())
    yield from (f"after:  {_person(r, m)}" for r, m in preview.after.items())
    names = _names(preview, vault)
    people = list(preview.after.values())
    links = [link for link in preview.links if not link.why or link.parts(people)]
    if links:
        yield "identifiers that several fragments bear"
    for link in links:
        says = f"joins nobody: {WHY[link.why]}" if link.why else "joins them"
        yield f"  {names.get(link.ref, link.ns):<48}  {says}"
    differing = _differing(preview)
    if differing:
        yield "traits that differ"
    for name, values in differing.items():
        was, then = (
            ", ".join(canonical(value).decode() for value in values[side].values())
            for side in ("before", "after")
        )
        yield f"  {name:<16}{was} -> {then}"
    if changed:
        yield "consents that change"
    for one in changed:
        about = f"{one['brand']} {one['channel']} {one['purpose']}"
        address = one["address"] or "no address"
        yield f"  {about:<32}  {address:<32}  {one['before']} -> {one['after']}"


def _person(root: str, members: tuple[str, ...]) -> str:
    others = [one for one in members if one != root]
    return root + (f" with {', '.join(others)}" if others else "")


def _differing(preview: Preview) -> dict[str, dict[str, dict[str, Any]]]:
    """Traits whose values differ: each person's `before` and `after`; None where it has none."""
    names = {name for whole in preview.was.values() for name in whole.traits}
    differing = {}
    for name in sorted(names):
        values = {"before": _values(preview.was, name), "after": _values(preview.whole, name)}
        told = {canonical(value) for side in values.values() for value in side.values()}
        if len(told) > 1:
            differing[name] = values
    return differing


def _values(people: Mapping[str, Fragment], name: str) -> dict[str, Any]:
    found = {root: whole.traits.get(name) for root, whole in people.items()}
    return {root: None if trait is None else trait.value for root, trait in found.items()}
