"""Which offers somebody could be granted now: the whole guard is asked, and nothing is decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from agents.workspace import Workspace
from domain.action import Action
from domain.context import Context, Pass
from domain.errors import StoreError
from domain.event import Event
from domain.proposal import Candidate
from domain.verdict import Finding
from profiles.arrivals import Arrival
from profiles.people import People
from store.vault import Vault

SOURCE = "search"


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What the guard says of granting each offer: the offers that nothing forbids, and of the
    others the findings that do. What a person would have to approve is not forbidden."""

    eligible: tuple[str, ...]
    against: dict[str, tuple[Finding, ...]]


def entitled(
    workspace: Workspace,
    people: People,
    vault: Vault,
    root_id: str,
    *,
    brand: str,
    channel: str | None,
    at: datetime,
) -> Entitlement:
    """Ask about every offer of the catalogue.

    Args:
        channel: over which it would be promised; None for a grant without a word.

    Raises:
        StoreError: nothing is known of this person any more.
    """
    context = _context(people, vault, root_id, brand, at)
    candidates = [_candidate(workspace, name, brand, channel) for name in workspace.offers]
    eligible: list[str] = []
    against: dict[str, tuple[Finding, ...]] = {}
    for screened in workspace.guard.screen(candidates, context):
        name = screened.candidate.action.offer or ""
        if screened.forbidden:
            against[name] = tuple(one for one in screened.findings if one.outcome == "forbid")
        else:
            eligible.append(name)
    return Entitlement(tuple(eligible), against)


def _context(people: People, vault: Vault, root_id: str, brand: str, at: datetime) -> Context:
    """Everything a decision may look at, without an event; nothing about the person changes."""
    event = Event(
        source=SOURCE,
        id=None,
        kind="track",
        name=SOURCE,
        occurred_at=at,
        received_at=at,
        identifiers=(),
        brand=brand,
    )
    arrival = Arrival(
        event=event,
        now=at,
        asked=Pass("release", 1),
        event_key=vault.fingerprint_bytes(SOURCE, root_id.encode()),
        event_id=f"{SOURCE}/{root_id}",
        root_id=root_id,
        asks=True,
    )
    (perceived,) = people.read([arrival])
    if perceived.context is None:
        raise StoreError(f"nothing is known of `{root_id}` any more")
    return perceived.context


def _candidate(workspace: Workspace, name: str, brand: str, channel: str | None) -> Candidate:
    offer = workspace.offers[name]
    action = Action(
        name=f"grant_{name}",
        title=offer.title,
        tool="offer",
        kind="internal",
        purpose=workspace.policies.promotion,
        channel=channel,
        offer=name,
    )
    return Candidate(
        action=action,
        journey="",
        brand=brand,
        team="",
        instance="",
        contact_point=None,
        max_age=timedelta(days=1),
        amount=offer.worth,
    )
