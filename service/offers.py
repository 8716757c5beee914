"""The commands about offers: the catalogue, who was granted what, and what could be granted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.options import At, By, Json, Reason, Store, Workspace, print_lines, who

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from agents.workspace import Workspace as Loaded
    from domain.action import Offer
    from profiles.grants import Grant
    from service.lines import Printed
    from store.database import Database

offers = typer.Typer(help="See, find and take back offers.", no_args_is_help=True)

Profile = Annotated[
    str | None,
    typer.Option("--profile", help="Of whom: a profile's id, or ns:value. [default: of all]"),
]


@offers.command("list")
def offers_list(workspace: Workspace = None, store: Store = None, as_json: Json = False) -> int:
    """List the catalogue: of each brand's offers, how many are left."""
    return print_lines(_listed(workspace, store, None, as_json=as_json))


@offers.command("show")
def offers_show(
    offer: Annotated[str, typer.Argument(metavar="OFFER", help="Its name.")],
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """Show one offer: who may have it, and what became of its stock."""
    return print_lines(_listed(workspace, store, offer, as_json=as_json))


@offers.command("grants")
def offers_grants(
    profile: Profile = None,
    offer: Annotated[str | None, typer.Option("--offer", help="Of this offer only.")] = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """List who was granted what, and what became of it."""
    return print_lines(_granted(workspace, store, profile, offer, as_json=as_json))


@offers.command("revoke")
def offers_revoke(
    grant: Annotated[str, typer.Argument(metavar="GRANT", help="Its id.")],
    reason: Reason = "",
    by: By = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Take a grant back that was not used yet."""
    return print_lines(_revoked(workspace, store, grant, reason, who(by), at, as_json=as_json))


@offers.command("search")
def offers_search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What it is about.")],
    profile: Annotated[
        str, typer.Option("--profile", help="For whom: a profile's id, or ns:value.")
    ],
    most: Annotated[int, typer.Option("--most", min=1, help="How many at most.")] = 5,
    brand: Annotated[
        str | None, typer.Option("--brand", help="Whose offers. [default: the workspace's brand]")
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option("--channel", help="Over which it would be promised. [default: over none]"),
    ] = None,
    workspace: Workspace = None,
    store: Store = None,
    as_json: Json = False,
    at: At = None,
) -> int:
    """Find offers by meaning among those that this person could be granted now."""
    asked = (text, profile, most, brand, channel, at)
    return print_lines(_found(workspace, store, *asked, as_json=as_json))


def _listed(
    workspace: Path | None, store: str | None, only: str | None, *, as_json: bool
) -> Printed:
    from agents.grants import balances
    from domain.errors import UsageError
    from service.assemble import assemble_reading
    from service.settings import find_workspace, load

    loaded = load(find_workspace(workspace))
    if only is not None and only not in loaded.offers:
        raise UsageError(
            f"there is no offer `{only}`",
            remedy=f"use one of {', '.join(sorted(loaded.offers)) or 'none declared'}",
        )
    database = assemble_reading(workspace, store)
    try:
        kept = balances(database)
    finally:
        database.close()
    for name, offer in loaded.offers.items():
        if only is not None and name != only:
            continue
        for brand in loaded.brands:
            if offer.brands is not None and brand not in offer.brands:
                continue
            states = kept.get((brand, name), {})
            said = _offer_json(loaded, offer, brand, states)
            if as_json:
                yield said
            elif only is not None:
                yield from _offer_text(said)
            else:
                stock = f"{said['left']} of {offer.stock} left"
                yield f"{name:<24}{brand:<12}{stock:<24}{said['worth']:<12}{offer.title}"


def _offer_json(loaded: Loaded, offer: Offer, brand: str, states: dict[str, int]) -> dict[str, Any]:
    from service.lines import stamp

    returned = states.get("returned", 0)
    taken = sum(count for state, count in states.items() if state != "returned") - returned
    condition = loaded.eligible.get(offer.name)
    lives = offer.expires_after
    return {
        "offer": offer.name,
        "brand": brand,
        "title": offer.title,
        "description": offer.description,
        "worth": str(offer.worth),
        "stock": offer.stock,
        "left": offer.stock - taken,
        **{state: states.get(state, 0) for state in _STATES},
        "eligible": condition.text if condition else None,
        "valid_from": stamp(offer.valid_from),
        "valid_until": stamp(offer.valid_until),
        "channels": None if offer.channels is None else sorted(offer.channels),
        "exclusive": list(offer.exclusive),
        "per_person": offer.per_person,
        "expires_after_seconds": None if lives is None else int(lives.total_seconds()),
        "returns": offer.returns,
        "place": offer.place,
    }


_STATES = ("reserved", "granted", "redeemed", "expired", "revoked", "returned")


def _offer_text(said: dict[str, Any]) -> Iterable[str]:
    for key, value in said.items():
        if value not in (None, [], ""):
            yield f"{key:<24}{', '.join(value) if isinstance(value, list) else value}"


def _granted(
    workspace: Path | None,
    store: str | None,
    profile: str | None,
    offer: str | None,
    *,
    as_json: bool,
) -> Printed:
    from agents.grants import grants
    from service.assemble import assemble_reading
    from service.settings import find_workspace, load

    loaded = load(find_workspace(workspace))
    database = assemble_reading(workspace, store)
    try:
        people = None if profile is None else _people(database, loaded, profile)
        found = grants(database, people=people, offer=offer)
    finally:
        database.close()
    for grant in found:
        yield _grant_json(grant) if as_json else _grant_text(grant)
    if not found and not as_json:
        yield "nothing was granted"


def _people(database: Database, loaded: Loaded, profile: str) -> list[str]:
    from profiles.views import view
    from service.assemble import make_identity

    with database.read() as snapshot:
        seen = view(snapshot, database.vault, profile, loaded.input.region, make_identity(loaded))
    return [one.profile_id for one in seen.members]


def _grant_json(grant: Grant) -> dict[str, Any]:
    from service.lines import stamp

    return {
        "grant_id": grant.grant_id,
        "offer": grant.offer,
        "brand": grant.brand,
        "profile_id": grant.profile_id,
        "decision_id": grant.decision_id,
        "state": grant.state,
        "at": stamp(grant.at),
        "expires_at": stamp(grant.expires_at),
        "ended_at": stamp(grant.ended_at),
        "returned": grant.returned,
    }


def _grant_text(grant: Grant) -> str:
    ended = grant.ended_at and f" at {grant.ended_at:%Y-%m-%d %H:%MZ}"
    until = grant.expires_at and f", until {grant.expires_at:%Y-%m-%d %H:%MZ}"
    life = ended or until or ""
    back = ", back in stock" if grant.returned else ""
    return (
        f"{grant.at:%Y-%m-%d %H:%M}  {grant.offer:<20}{grant.profile_id}  "
        f"{grant.state}{life}{back}  {grant.grant_id}"
    )


def _revoked(
    workspace: Path | None,
    store: str | None,
    grant_id: str,
    reason: str,
    by: str,
    at: str | None,
    *,
    as_json: bool,
) -> Printed:
    from agents.grants import revoke
    from service.settings import instant_given
    from service.telling import writing

    with writing(workspace, store) as assembly:
        now = instant_given(at) or assembly.database.clock()
        grant = revoke(assembly.deps, grant_id, by=by, reason=reason, at=now)
    yield _grant_json(grant) if as_json else _grant_text(grant)


def _found(
    workspace: Path | None,
    store: str | None,
    text: str,
    profile: str,
    most: int,
    brand: str | None,
    channel: str | None,
    at: str | None,
    *,
    as_json: bool,
) -> Printed:
    from service.assemble import make_retrieval
    from service.settings import find_workspace, load

    place = find_workspace(workspace)
    loaded = load(place)
    whose = brand or loaded.brand
    _check_named("brand", whose, loaded.brands)
    _check_named("channel", channel, loaded.policies.channels)
    eligible = _eligible(workspace, store, loaded, profile, whose, channel, at)
    retrieval = make_retrieval(loaded, place)
    try:
        hits = retrieval.search(text, eligible, most)
    finally:
        retrieval.close()
    for hit in hits:
        offer = loaded.offers[hit.name]
        if as_json:
            similarity = round(hit.similarity, 4)
            yield {"offer": hit.name, "similarity": similarity, "title": offer.title}
        else:
            yield f"{hit.similarity:.3f}  {hit.name:<24}{offer.title}"
    if not as_json:
        yield f"{len(eligible)} of {len(loaded.offers)} offers could be granted"


def _check_named(what: str, name: str | None, known: Collection[str]) -> None:
    from domain.errors import UsageError

    if name is not None and name not in known:
        raise UsageError(
            f"there is no {what} `{name}`",
            place=f"option `--{what}`",
            remedy=f"use one of {', '.join(sorted(known))}",
        )


def _eligible(
    workspace: Path | None,
    store: str | None,
    loaded: Loaded,
    profile: str,
    brand: str,
    channel: str | None,
    at: str | None,
) -> tuple[str, ...]:
    """The offers that nothing forbids this person; the store is only read."""
    from agents.entitlement import entitled
    from profiles.people import People
    from profiles.views import find_root
    from service.assemble import assemble_reading, make_identity, make_terms
    from service.settings import instant_given

    database = assemble_reading(workspace, store)
    try:
        now = instant_given(at) or database.clock()
        with database.read() as snapshot:
            region, rules = loaded.input.region, make_identity(loaded)
            root_id = find_root(snapshot, database.vault, profile, region, rules)
        people = People(database, make_terms(loaded))
        found = entitled(
            loaded, people, database.vault, root_id, brand=brand, channel=channel, at=now
        )
    finally:
        database.close()
    return found.eligible
