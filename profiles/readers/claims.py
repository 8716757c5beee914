"""Makes normalised identifiers of what a sender claims about who the event concerns.

A claim that is null or blank says nothing. An e-mail address or phone number that is none is left
out while another identifier remains; any other malformed claim spoils the event.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from domain.errors import InputError
from domain.event import Identifier
from profiles.readers.fields import TEXT_MAX, invalid, is_text

IDENTIFIERS_MAX = 32
EMAIL_MAX = 254
CACHED_MAX = 8192

_NAMESPACE = re.compile(r"[a-z][a-z0-9_]{0,31}")
_PHONE = re.compile(r"\+?[0-9 ().\-/\u00a0]{3,40}")
# What East Asian keyboards write in full width, and the same in the usual one.
_HALF_WIDTH = {ord(c) + 0xFEE0: c for c in "0123456789+-()"} | {0x3000: " "}
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+(?![0-9]+\Z){_LABEL}")
_LOOKING_ALIKE = frozenset(("LATIN", "CYRILLIC", "GREEK"))
_NOT_IN_EMAIL = frozenset(' <>(),;:"[]\\')
_ADDRESSES = ("email", "phone")
_SHAPES: Mapping[str, str] = {
    "email": "write it as `name@example.com`",
    "phone": "write it in E.164 such as `+4930123456`, or set `region` in `settings.toml`",
}


class Claim(NamedTuple):
    """One identifier as the sender wrote it, and the JSON path it was found at."""

    ns: str
    value: Any
    path: str


def stated(*claims: Claim) -> list[Claim]:
    """Those claims that say something."""
    return [claim for claim in claims if not _is_silent(claim.value)]


def claims_of(given: Mapping[str, Any], at: str) -> list[Claim]:
    """The claims in an object `{namespace: value or [values]}`."""
    claims: list[Claim] = []
    for ns, values in given.items():
        if not is_namespace(ns):
            raise invalid(
                at,
                "has a malformed namespace",
                "use lower-case letters, digits and `_`, at most 32",
            )
        if isinstance(values, list):
            claims += [Claim(ns, value, f"{at}.{ns}[{i}]") for i, value in enumerate(values)]
        else:
            claims.append(Claim(ns, values, f"{at}.{ns}"))
    return stated(*claims)


def is_namespace(ns: str) -> bool:
    """Whether identifiers can be kept under this name."""
    return _NAMESPACE.fullmatch(ns) is not None


def identifiers(
    claims: Iterable[Claim], region: str | None, blocked: frozenset[Identifier]
) -> tuple[Identifier, ...]:
    """The distinct identifiers claimed, in order of appearance. Raises where none is left."""
    found: dict[Identifier, None] = {}
    bad: Claim | None = None
    for claim in claims:
        identifier = normalise(claim.ns, _written(claim), region)
        if identifier is None:
            if claim.ns not in _ADDRESSES:
                raise _malformed(claim)
            bad = bad or claim
        elif identifier.folded not in blocked:
            found[identifier] = None
    if len(found) > IDENTIFIERS_MAX:
        raise invalid("$", f"names more than {IDENTIFIERS_MAX} identifiers", "send one person each")
    if found:
        return tuple(found)
    if bad is not None:
        raise _malformed(bad)
    raise InputError(
        "no_identifier",
        "`$` names nobody",
        remedy="give at least one identifier that is not blocked, such as a user id or an e-mail",
    )


def normalise(ns: str, value: str, region: str | None) -> Identifier | None:
    """The identifier in the one spelling it is kept in; None where it is malformed.

    Args:
        region: the country (ISO 3166 alpha-2) whose numbers may be written without their prefix.
    """
    # Before the cache, so that nobody can fill it with long strings.
    if len(value) > 2 * TEXT_MAX:
        return None
    return _normalised(ns, value, region)


@lru_cache(maxsize=CACHED_MAX)
def _normalised(ns: str, value: str, region: str | None) -> Identifier | None:
    stripped = value.strip()
    if ns == "email":
        kept = _email(stripped)
    elif ns == "phone":
        kept = _phone(stripped, region)
    else:
        kept = stripped if is_text(stripped) else None
    return None if kept is None else Identifier(ns, kept)


def _email(text: str) -> str | None:
    """The address in lower case, its domain as DNS knows it (A-labels), or None.

    A tag (`ana+shop@`) is part of the address: not every provider takes it for the same mailbox.
    """
    address = text.lower()
    local, _, domain = address.partition("@")
    is_address = local != "" and address.isprintable() and _NOT_IN_EMAIL.isdisjoint(address)
    if not is_address or "@" in domain:
        return None
    if not address.isascii():
        plain, ascii_domain = _plain_local(local), _ascii_domain(domain)
        if plain is None or ascii_domain is None:
            return None
        local, domain = plain, ascii_domain
    address = f"{local}@{domain}"
    return address if len(address) <= EMAIL_MAX and _DOMAIN.fullmatch(domain) else None


def _ascii_domain(domain: str) -> str | None:
    """An internationalised domain after IDNA 2008 and UTS 46; None where it is none."""
    import idna  # few addresses need it

    try:
        return idna.encode(domain, uts46=True, std3_rules=True).decode().lower()
    except idna.IDNAError:
        return None


def _plain_local(local: str) -> str | None:
    """A local part in one spelling; None where it may be taken for another.

    That is so for letters of another width or form, and for Latin letters beside Cyrillic or Greek
    ones that look like them (Unicode Technical Standard 39).
    """
    composed = unicodedata.normalize("NFC", local)
    if unicodedata.normalize("NFKC", composed) != composed:
        return None
    scripts = {unicodedata.name(c, "").partition(" ")[0] for c in composed if c.isalpha()}
    return None if len(scripts & _LOOKING_ALIKE) > 1 else composed


def _phone(text: str, region: str | None) -> str | None:
    """E.164, or None. Numbers that cannot be in use are refused: nobody can be reached there.

    Letters, extensions and short codes are none that E.164 can say.
    """
    import phonenumbers  # it takes long to import, and many rows have no number

    text = text.translate(_HALF_WIDTH)
    if not _PHONE.fullmatch(text):
        return None
    number = _parsed(text, region)
    if number is None:
        return None
    if not text.startswith("+") and region is not None:
        # `49 171 ...` in Germany: a number of its own, or one whose `+` was left out?
        code = str(phonenumbers.country_code_for_region(region))
        digits = re.sub(r"\D", "", text)
        if digits.startswith(code) and _parsed(f"+{digits}", None) not in (None, number):
            return None
    return number


def _parsed(text: str, region: str | None) -> str | None:
    import phonenumbers

    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if number.extension or not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _written(claim: Claim) -> str:
    value = claim.value
    if isinstance(value, str):
        return value
    if claim.ns == "user_id" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise invalid(claim.path, "is no string", "write identifiers as strings")


def _malformed(claim: Claim) -> InputError:
    remedy = _SHAPES.get(claim.ns, f"use 1 to {TEXT_MAX} printable characters")
    return invalid(claim.path, f"is no valid {claim.ns}", remedy)


def _is_silent(value: Any) -> bool:
    return value is None or (isinstance(value, str) and (value == "" or value.isspace()))
