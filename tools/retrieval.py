"""Finds by meaning among what is eligible: the port, the embedding, and what every adapter answers.

An embedding counts what a text is made of: its words, and the three-letter parts of each, hashed
into so many whole numbers (Weinberger et al., "Feature Hashing for Large Scale Multitask
Learning", ICML 2009). It needs no model and no network, is the same on every machine, and finds
what shares words or their stems; it knows no synonyms. Being whole numbers, similarities are
compared exactly, and an answer has one order.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol

DIMENSIONS = 1024
WORD_WEIGHT = 3
"""A whole word says more than one of its parts."""
TEXT_LENGTH_MAX = 20_000

Vector = tuple[int, ...]

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Hit:
    """What was found. `similarity` is the cosine between its text and what was asked, 0 to 1."""

    name: str
    similarity: float


class Retrieval(Protocol):
    """What is there to be found, by name."""

    def search(self, text: str, eligible: Collection[str], k: int) -> tuple[Hit, ...]:
        """Exactly the `k` nearest of the eligible, the nearest first, equal ones by name.

        Of what is eligible and not there, nothing is found.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class InMemory:
    """Texts kept by name, for tests and for small catalogues."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._vectors = {name: embedding(text) for name, text in texts.items()}

    def search(self, text: str, eligible: Collection[str], k: int) -> tuple[Hit, ...]:
        """Exactly the `k` nearest of the eligible."""
        wanted = frozenset(eligible)
        some = [(name, vector) for name, vector in self._vectors.items() if name in wanted]
        return nearest(embedding(text), some, k)

    def close(self) -> None:
        """Nothing is held."""


def embedding(text: str) -> Vector:
    """How often each hashed word and part of a word occurs; of a longer text, its beginning."""
    counts = [0] * DIMENSIONS
    folded = unicodedata.normalize("NFKC", text[:TEXT_LENGTH_MAX]).casefold()
    for word in _WORD.findall(folded):
        counts[_place(f" {word} ")] += WORD_WEIGHT
        padded = f" {word} "
        for start in range(len(padded) - 2):
            counts[_place(padded[start : start + 3] + "~")] += 1
    return tuple(counts)


@lru_cache(maxsize=65_536)
def _place(feature: str) -> int:
    digest = blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % DIMENSIONS


def nearest(asked: Vector, vectors: Iterable[tuple[str, Sequence[int]]], k: int) -> tuple[Hit, ...]:
    """The `k` vectors of the greatest cosine to the one asked about, equal ones by name."""
    used = [(at, value) for at, value in enumerate(asked) if value]
    own = sum(value * value for _, value in used)
    ranked: list[tuple[Fraction, str]] = []
    for name, vector in vectors:
        size = sum(value * value for value in vector)
        dot = sum(value * vector[at] for at, value in used)
        # No count is below zero, so squares are in the same order as cosines, and are exact.
        ranked.append((Fraction(dot * dot, size * own) if dot else Fraction(0), name))
    ranked.sort(key=lambda one: (-one[0], one[1]))
    return tuple(Hit(name, math.sqrt(square)) for square, name in ranked[: max(k, 0)])
