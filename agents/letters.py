"""Finds the dead letters that name a person, in whatever form they were written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from domain.canonical import parse
from domain.event import Identifier

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_NOT_DIGITS = re.compile(r"[^0-9]+")
# Between the digits of a number as people write it; a comma or a quote ends it.
_IN_NUMBERS = re.compile(r"(?<=[0-9+])[ ()./-]+(?=[0-9(])")
_COUNTRY_DIGITS_MAX = 3
_NATIONAL_DIGITS_MIN = 7
_TELLING_MIN = 6  # a shorter name stands in texts by chance


def names(raw: bytes, identifiers: Iterable[Identifier]) -> bool:
    """Whether one of these names stands in a letter's raw bytes.

    An address counts wherever it stands and however it is spelt; any other name only as a whole,
    for a short customer number is part of dates, prices and other people's numbers. A letter may
    be cut off, badly encoded or no JSON at all.
    """
    text = _text(raw)
    numbers = _IN_NUMBERS.sub("", text)
    whole = _scalars(raw)
    return any(_stands(one, text, numbers, whole) for one in identifiers)


def _text(raw: bytes) -> str:
    said = _ESCAPE.sub(lambda found: chr(int(found.group(1), 16)), raw.decode("utf-8", "replace"))
    return f"{said}\n{raw.decode('utf-16', 'ignore')}".casefold()


def _stands(one: Identifier, text: str, numbers: str, whole: frozenset[str] | None) -> bool:
    value = one.value.casefold()
    if one.ns == "email":
        return value in text
    if one.ns == "phone":
        return _national(value) in numbers
    if whole is not None and value in whole:
        return True
    if whole is not None and len(value) < _TELLING_MIN:
        return False
    return re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", text) is not None


def _national(number: str) -> str:
    """The digits that a number has in whatever form: without its country's one to three."""
    digits = _NOT_DIGITS.sub("", number)
    return digits[min(_COUNTRY_DIGITS_MAX, max(0, len(digits) - _NATIONAL_DIGITS_MIN)) :]


def _scalars(raw: bytes) -> frozenset[str] | None:
    """Every key and string, and every number under a key that ends in `id`; None: no JSON."""
    try:
        return frozenset(_walk(parse(raw), ""))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _walk(value: Any, key: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(name).casefold()
            yield from _walk(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, key)
    elif isinstance(value, str) or (isinstance(value, int) and key.casefold().endswith("id")):
        yield str(value).casefold()
