"""Names and postal addresses in one spelling, so that they can be compared (pure)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from profiles.labels import nested

TEXT_MAX = 200
CACHED_MAX = 4096

_FIRST = ("first_name", "firstName", "person.name.firstName")
_LAST = ("last_name", "lastName", "person.name.lastName")
_SUFFIXES = ("name_suffix", "suffix", "person.name.suffix")
_GENERATIONS: Mapping[str, str] = {
    "jr": "junior", "jun": "junior", "junior": "junior", "jnr": "junior",
    "sr": "senior", "sen": "senior", "senior": "senior", "snr": "senior",
    "ii": "second", "iii": "third", "iv": "fourth",
}  # fmt: skip
_STREET_WORDS: Mapping[str, str] = {
    "street": "st", "strasse": "str", "avenue": "ave", "boulevard": "blvd", "road": "rd",
    "drive": "dr", "lane": "ln", "court": "ct", "place": "pl", "terrace": "ter", "square": "sq",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Name:
    """A person's name as it was given; `generation` is that of a `Jr.` or `III`, as a word."""

    first: str = ""
    last: str = ""
    generation: str = ""


def name_of(traits: Mapping[str, Any]) -> Name:
    """The name that traits tell, in parts or as one `name`; empty where they tell none."""
    first, last = _text(traits, _FIRST), _text(traits, _LAST)
    if not first and not last:
        first, last = _parted(_text(traits, ("name", "full_name", "person.name.fullName")))
    last, generation = _without_generation(last)
    return Name(first, last, generation or _generation(_text(traits, _SUFFIXES)))


def _parted(whole: str) -> tuple[str, str]:
    """First and last name of `Ann Bell` or `Bell, Ann`."""
    last, comma, first = whole.partition(",")
    if comma and not _generation(first):
        return first.strip(), last.strip()
    words = whole.replace(",", " ").split()
    if len(words) < 2:
        return "", whole
    keeps = 2 if len(words) > 2 and _generation(words[-1]) else 1
    return words[0], " ".join(words[-keeps:])


def _without_generation(last: str) -> tuple[str, str]:
    words = last.replace(",", " ").split()
    if len(words) > 1 and (generation := _generation(words[-1])):
        return " ".join(words[:-1]), generation
    return last, ""


def _generation(word: str) -> str:
    return _GENERATIONS.get(folded_name(word), "")


@lru_cache(CACHED_MAX)
def folded_name(name: str) -> str:
    """Letters alone, without case and accents; in Unicode's order, so that `Å` is `A`."""
    apart = unicodedata.normalize("NFKD", name[:TEXT_MAX].casefold())
    return "".join(c for c in apart if c.isalpha())


def folded_postcode(code: str) -> str:
    """Letters and digits alone; of an American ZIP+4 the first five."""
    plain = re.sub(r"\W", "", code[:TEXT_MAX].casefold())
    return plain[:5] if re.fullmatch(r"\s*\d{5}-\d{4}\s*", code[:TEXT_MAX]) else plain


@lru_cache(CACHED_MAX)
def folded_street(street: str) -> str:
    """The words in order of the alphabet, the usual ones shortened: `12 Main Street` is
    `Main St. 12`."""
    apart = unicodedata.normalize("NFKD", street[:TEXT_MAX].casefold())
    plain = "".join(c for c in apart if not unicodedata.combining(c))
    words = re.findall(r"\w+", re.sub(r"strasse\b", "str", plain))
    return " ".join(sorted(_STREET_WORDS.get(word, word) for word in words))


def _text(traits: Mapping[str, Any], names: Iterable[str]) -> str:
    for name in names:
        value = nested(traits, name)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""
