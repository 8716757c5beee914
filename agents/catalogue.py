"""Reads the catalogue of offers, and refuses what could never be granted or judged."""

from __future__ import annotations

from collections.abc import Collection

from agents.schema import OfferEntry, OffersFile, SettingsFile
from domain.action import Offer
from domain.errors import ConfigurationError
from policies.documents import Document, parse_yaml
from policies.expressions import Condition
from policies.loader import compile_text, context_fields
from policies.policy_set import PolicySet

OFFERS = "offers.yaml"


def load_offers(
    text: str, settings: SettingsFile, policies: PolicySet
) -> tuple[dict[str, Offer], dict[str, Condition]]:
    """The offers by name, and the compiled conditions of those that have one.

    Raises:
        ConfigurationError: file, line, key, what is wrong, remedy.
    """
    document = parse_yaml(text, OFFERS)
    file = document.validate(OffersFile)
    fields = context_fields(policies.fields)
    offers: dict[str, Offer] = {}
    eligible: dict[str, Condition] = {}
    for name, entry in file.offers.items():
        _check(document, name, entry, settings, policies)
        offers[name] = _offer(name, entry, document.place("offers", name))
        if entry.eligible is not None:
            at = ("offers", name, "eligible")
            eligible[name] = compile_text(document, at, entry.eligible, fields)
    return offers, eligible


def _offer(name: str, entry: OfferEntry, place: str) -> Offer:
    return Offer(
        name=name,
        title=entry.title,
        worth=entry.worth,
        stock=entry.stock,
        valid_from=entry.valid_from,
        valid_until=entry.valid_until,
        brands=None if entry.brands is None else frozenset(entry.brands),
        channels=None if entry.channels is None else frozenset(entry.channels),
        exclusive=tuple(sorted(set(entry.exclusive))),
        per_person=entry.per_person,
        expires_after=entry.expires_after,
        returns=entry.returns,
        description=entry.description,
        place=place,
    )


def _check(
    document: Document, name: str, entry: OfferEntry, settings: SettingsFile, policies: PolicySet
) -> None:
    def wrong(key: str, cause: str, remedy: str) -> ConfigurationError:
        place = document.place("offers", name, key)
        return ConfigurationError(f"offer `{name}` {cause}", place=place, remedy=remedy)

    currencies = {brand.currency for brand in settings.brands.values()}
    if entry.worth.currency not in currencies:
        raise wrong(
            "worth",
            f"is worth {entry.worth.currency}, which no brand uses",
            f"use one of {', '.join(sorted(currencies))}",
        )
    known: tuple[tuple[str, list[str] | None, Collection[str]], ...] = (
        ("brands", entry.brands, settings.brands),
        ("channels", entry.channels, policies.channels),
    )
    for key, named, declared in known:
        missing = sorted(set(named or ()) - set(declared))
        if missing:
            raise wrong(
                key,
                f"names `{missing[0]}`, which is not among the {key}",
                f"use one of {', '.join(sorted(declared)) or 'none declared'}",
            )
    begins, ends = entry.valid_from, entry.valid_until
    if begins is not None and ends is not None and begins >= ends:
        raise wrong(
            "valid_until", "ends before it begins", "let `valid_until` be after `valid_from`"
        )
