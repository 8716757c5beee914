"""Reads why customers may be contacted, and refuses what no consent model can allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from domain.context import FieldLabel
from domain.errors import ConfigurationError
from policies.documents import Document
from policies.media import NEVER_EXEMPT, NEVER_OPT_OUT
from policies.policy_set import SOFT_OPT_IN, ChannelPolicy, ConsentTerms, Purpose
from policies.schema import CeilingEntry, ModelEntry, PurposeEntry

UNITED_STATES = "US"


def read_purpose(
    document: Document,
    name: str,
    entry: PurposeEntry,
    channels: Mapping[str, ChannelPolicy],
    fields: Mapping[str, FieldLabel],
) -> Purpose:
    """One purpose of a policy file. Raises `ConfigurationError` with file, line and remedy."""
    place = document.place("purposes", name)
    if entry.model == "exempt":
        _check_exempt(name, entry, place)
    elif entry.templates or entry.exemption or entry.ceiling:
        key = next(k for k in ("templates", "exemption", "ceiling") if getattr(entry, k))
        raise ConfigurationError(
            f"purpose `{name}` has `{key}` and is not exempt from consent",
            place=document.place("purposes", name, key),
            remedy=f"remove `{key}`",
        )
    if entry.model == "opt_out" and entry.marketing:
        raise _silence(name, place)
    own = ConsentTerms(entry.model, entry.basis, entry.evidence, place=place)
    _check_basis(name, own, fields)
    exceptions = tuple(_exceptions(document, name, entry, channels, fields))
    ceiling = entry.ceiling or CeilingEntry()
    purpose = Purpose(
        name,
        entry.title,
        entry.model,
        entry.marketing,
        entry.legal_basis,
        place,
        own,
        exceptions,
        frozenset(entry.templates),
        entry.exemption,
        ceiling.sends if entry.model == "exempt" else 0,
        ceiling.window,
    )
    if entry.model == "exempt":
        _check_channels(purpose, channels.values())
    return purpose


def _check_exempt(name: str, entry: PurposeEntry, place: str) -> None:
    if entry.marketing:
        raise ConfigurationError(
            f"purpose `{name}` is marketing and cannot be `exempt` from consent",
            place=place,
            remedy="use `model: opt_in`",
        )
    if not entry.legal_basis:
        raise ConfigurationError(
            f"purpose `{name}` is exempt from consent without a `legal_basis`",
            place=place,
            remedy="name it, such as `legal_basis: contract`",
        )


def _silence(name: str, place: str) -> ConfigurationError:
    return ConfigurationError(
        f"purpose `{name}` takes silence for a yes to marketing",
        place=place,
        remedy="use `model: opt_in`",
    )


def _exceptions(
    document: Document,
    name: str,
    entry: PurposeEntry,
    channels: Mapping[str, ChannelPolicy],
    fields: Mapping[str, FieldLabel],
) -> Iterator[ConsentTerms]:
    for index, model in enumerate(entry.models):
        made = _exception(document, name, index, model)
        for channel in made.channels or ():
            if channel not in channels:
                raise ConfigurationError(
                    f"purpose `{name}` names channel `{channel}`, which is not declared",
                    place=document.place("purposes", name, "models", index, "channels"),
                    remedy=f"use one of {', '.join(sorted(channels)) or 'none declared'}",
                )
        _check_basis(name, made, fields)
        if made.model == "opt_out" and entry.marketing:
            for known in channels.values():
                _check_silence(name, made, known)
        yield made


def _exception(document: Document, name: str, index: int, entry: ModelEntry) -> ConsentTerms:
    place = document.place("purposes", name, "models", index)
    if entry.channels is None and entry.jurisdictions is None:
        raise ConfigurationError(
            f"a model of purpose `{name}` holds everywhere, and so does the purpose's own",
            place=place,
            remedy="name its `channels` or its `jurisdictions`",
        )
    return ConsentTerms(
        entry.model,
        entry.basis,
        entry.evidence,
        None if entry.channels is None else frozenset(entry.channels),
        None if entry.jurisdictions is None else frozenset(entry.jurisdictions),
        place,
    )


def _check_basis(name: str, terms: ConsentTerms, fields: Mapping[str, FieldLabel]) -> None:
    """Silence is a yes only where a law says so, or where the address was got in a sale."""

    def wrong(cause: str, remedy: str) -> ConfigurationError:
        return ConfigurationError(f"purpose `{name}` {cause}", place=terms.place, remedy=remedy)

    basis, evidence = terms.basis, terms.evidence
    if terms.model != "opt_out":
        if basis is not None or evidence is not None:
            raise wrong("has a `basis` for a model that takes no silence for a yes", "remove it")
        return
    if basis is None:
        raise wrong(
            "takes silence for a yes and does not say by what right",
            "add `basis`: one of its `jurisdictions`, or `soft_opt_in` with `evidence`",
        )
    if (basis == SOFT_OPT_IN) != (evidence is not None):
        raise wrong(
            "has `evidence` and `basis`, and they do not fit",
            "write `basis: soft_opt_in` and the field that is its `evidence`, or neither",
        )
    if evidence is not None:
        _check_evidence(name, terms, fields.get(evidence))
        return
    outside = [one for one in terms.jurisdictions or ("everywhere",) if not _within(one, basis)]
    if outside:
        raise wrong(
            f"takes silence for a yes by the law of {basis}, also in {', '.join(sorted(outside))}",
            f"name `jurisdictions: [{basis}]`, and others in an entry of their own",
        )


def _within(code: str, country: str) -> bool:
    return code == country or code.startswith(f"{country}-")


def _check_evidence(name: str, terms: ConsentTerms, label: FieldLabel | None) -> None:
    """Evidence is of one controller's sales: a bank may not go by what was bought in a shop."""
    fits = (
        label is not None
        and label.type in ("bool", "string")
        and label.controller is not None
        and "decide" in label.uses
    )
    if not fits:
        raise ConfigurationError(
            f"purpose `{name}` has evidence `{terms.evidence}`, which proves no sale",
            place=terms.place,
            remedy="declare that field as a bool or the address itself (a string), with its "
            "`controller`, to `decide` by",
        )


def _check_silence(name: str, terms: ConsentTerms, channel: ChannelPolicy) -> None:
    strict = sorted(channel.media & NEVER_OPT_OUT)
    if strict and terms.concerns(channel.name):
        raise ConfigurationError(
            f"purpose `{name}` takes silence for a yes to marketing on channel `{channel.name}`, "
            f"which {_may_be(channel)} `{strict[0]}`",
            place=terms.place,
            remedy=_told_apart(channel, f"leave `{channel.name}` out of its `channels`"),
        )


def _check_channels(purpose: Purpose, channels: Iterable[ChannelPolicy]) -> None:
    """No exemption reaches where the law knows none."""
    codes = {code for one in purpose.exceptions for code in one.jurisdictions or ()}
    american = {code for code in codes if _within(code, UNITED_STATES)} | {UNITED_STATES}
    for channel in channels:
        strict = sorted(channel.media & NEVER_EXEMPT)
        if strict and any(_exempt(purpose, channel, code) for code in codes | {""}):
            raise ConfigurationError(
                f"purpose `{purpose.name}` is exempt from consent on channel `{channel.name}`, "
                f"which {_may_be(channel)} `{strict[0]}`",
                place=purpose.place,
                remedy=_told_apart(
                    channel, f"add `{{channels: [{channel.name}], model: opt_in}}` to its `models`"
                ),
            )
        texted = "sms" in channel.media and purpose.exemption is None
        if texted and any(_exempt(purpose, channel, code) for code in american):
            raise ConfigurationError(
                f"purpose `{purpose.name}` is exempt from consent for text messages to the "
                f"United States (channel `{channel.name}`)",
                place=purpose.place,
                remedy=f"add `{{channels: [{channel.name}], jurisdictions: [US], model: opt_in}}` "
                "to its `models`, or name the rule that exempts it as its `exemption`",
            )


def _exempt(purpose: Purpose, channel: ChannelPolicy, code: str) -> bool:
    return all(one.model == "exempt" for one in purpose.terms_in(channel.name, code))


def _may_be(channel: ChannelPolicy) -> str:
    return "is" if len(channel.media) == 1 else "may be"


def _told_apart(channel: ChannelPolicy, remedy: str) -> str:
    return remedy if len(channel.media) == 1 else f"declare the channel's `medium`, or {remedy}"
