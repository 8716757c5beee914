"""Who may be one person with whom, as people see it: each pair with what speaks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from profiles.matching import Match
from profiles.proposing import BLOCK_MAX, Proposal, Search, proposals
from profiles.views import find_root
from service.assemble import assemble_reading, make_identity
from service.lines import Printed
from service.settings import find_workspace, load


def proposed(
    workspace: Path | None,
    store: str | None,
    who: str | None,
    min_probability: float,
    *,
    as_json: bool,
) -> Printed:
    """Every pair that is likely enough, the likeliest first, and what was looked at."""
    loaded = load(find_workspace(workspace))
    database = assemble_reading(workspace, store)
    search = Search()
    try:
        vault = database.vault
        with database.read() as snapshot:
            root = who and find_root(
                snapshot, vault, who, loaded.input.region, make_identity(loaded)
            )
            found = proposals(
                snapshot, vault, search, min_probability=min_probability, root=root or None
            )
            for one in found:
                if as_json:
                    yield _json(one)
                else:
                    yield from _text(one)
    finally:
        database.close()
    if not as_json:
        yield from _summary(search)


def _json(proposal: Proposal) -> dict[str, Any]:
    match = proposal.match
    return {
        "one": proposal.one,
        "other": proposal.other,
        "probability": round(match.probability, 4),
        "band": match.band,
        "bits": round(match.bits, 2),
        "prior": round(match.prior, 2),
        "limited_by": match.limited_by or None,
        "evidence": [
            {
                "field": evidence.field,
                "one": evidence.one,
                "other": evidence.other,
                "level": evidence.level,
                "weight": round(evidence.weight, 2),
            }
            for evidence in match.evidence
        ],
    }


def _text(proposal: Proposal) -> Iterator[str]:
    match = proposal.match
    yield f"{match.probability:.3f} {match.band:<9} {proposal.one}  {proposal.other}"
    for evidence in match.evidence:
        shown = f"{evidence.one} / {evidence.other}"
        yield f"  {evidence.field:<12}{evidence.level:<12}{shown:<48}  {evidence.weight:+.1f}"
    yield f"  {_sum(match)}"


def _sum(match: Match) -> str:
    limit = (
        f"; no more than {match.probability:.2f}: {match.limited_by}" if match.limited_by else ""
    )
    return f"log-odds {match.bits:+.1f} bits, {match.prior:+.1f} of it before any evidence{limit}"


def _summary(search: Search) -> Iterator[str]:
    yield f"{search.people} people, {search.pairs} pairs compared; nothing was merged"
    if search.passed_over:
        yield (
            f"{search.passed_over} keys that more than {BLOCK_MAX} people share were passed over"
        )
