"""How likely it is that two people are one, and by what evidence (pure).

Each field that both have agrees to some level. Its weight is log2(m / u): how often a pair that is
one person agrees so, over how often two strangers do (I. P. Fellegi and A. B. Sunter, JASA 64,
1969). Weights add up to log-odds, with what is shared in a household counted once in full. What
tells a father from a son of the same name, or twins apart, sets a ceiling that no sum goes over.
What comes out is proposed to people; nothing merges by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from profiles.comparing import COMPARED, Described, FieldName

PEOPLE_MIN = 1000
DUPLICATES_SHARE = 0.05
AGREEING_MIN = 2
TELLING_BITS = 1.0

CERTAIN_MIN, LIKELY_MIN, POSSIBLE_MIN = 0.99, 0.9, 0.5
LIKELY_MAX, POSSIBLE_MAX, UNLIKELY_MAX = 0.95, 0.6, 0.4

Band = Literal["certain", "likely", "possible", "unlikely"]


@dataclass(frozen=True, slots=True)
class Level:
    """How far two values agree: `m` of pairs that are one person do so, `u` of strangers."""

    name: str
    m: float
    u: float

    @property
    def weight(self) -> float:
        """In bits."""
        return math.log2(self.m / self.u)


def _levels(*told: tuple[str, float, float]) -> Mapping[str, Level]:
    return {name: Level(name, m, u) for name, m, u in told}


# Set by hand: u from how common names, birthdays and post codes are among some thousands of
# customers, m from the slips seen in such data; docs/decisions/0007 measures what comes of it.
LEVELS: Mapping[FieldName, Mapping[str, Level]] = {
    "first_name": _levels(
        ("same", 0.80, 0.005), ("similar", 0.10, 0.01), ("initial", 0.04, 0.05),
        ("differs", 0.06, 0.935),
    ),
    "last_name": _levels(("same", 0.88, 0.001), ("similar", 0.06, 0.003), ("differs", 0.06, 0.996)),
    "generation": _levels(("same", 0.98, 0.5), ("differs", 0.02, 0.5)),
    "address": _levels(
        ("same", 0.70, 2e-5), ("similar", 0.08, 2e-5), ("post code", 0.04, 0.001),
        ("differs", 0.18, 0.999),
    ),
    "birth_date": _levels(("same", 0.94, 4e-5), ("slip", 0.03, 0.0015), ("differs", 0.03, 0.998)),
    "email": _levels(
        ("same", 0.30, 1e-5), ("slip", 0.03, 2e-6), ("local part", 0.05, 0.0005),
        ("differs", 0.62, 0.9995),
    ),
    "phone": _levels(("same", 0.35, 1e-5), ("last digits", 0.03, 3e-6), ("differs", 0.62, 0.99999)),
}  # fmt: skip
HOUSEHOLD: frozenset[FieldName] = frozenset(("last_name", "address", "email", "phone"))


@dataclass(frozen=True, slots=True)
class Evidence:
    """How far one field agrees, both values masked; `weight` is in bits."""

    field: FieldName
    one: str
    other: str
    level: str
    weight: float


@dataclass(frozen=True, slots=True)
class Match:
    """What speaks for two people to be one. `bits` are the log-odds of all evidence and the prior;
    `limited_by` says what keeps `probability` below them."""

    evidence: tuple[Evidence, ...]
    prior: float
    bits: float
    probability: float
    limited_by: str = ""

    @property
    def band(self) -> Band:
        """The probability in a word."""
        if self.probability >= CERTAIN_MIN:
            return "certain"
        if self.probability >= LIKELY_MIN:
            return "likely"
        return "possible" if self.probability >= POSSIBLE_MIN else "unlikely"


def prior_bits(people: int) -> float:
    """The log-odds that two people picked blindly are one.

    Where one in twenty has a second profile, that is so for 0.05 n of n² / 2 pairs.
    """
    return math.log2(2 * DUPLICATES_SHARE / max(people, PEOPLE_MIN))


def match(one: Described, other: Described, people: int) -> Match:
    """How likely it is that two of `people` are one, the same whichever comes first."""
    evidence = tuple(_evidence(one, other))
    prior = prior_bits(people)
    bits = prior + _total(evidence)
    ceiling, why = _ceiling({e.field: e.level for e in evidence}, one, other)
    if sum(e.weight > TELLING_BITS for e in evidence) < AGREEING_MIN:
        ceiling, why = min((ceiling, why), (UNLIKELY_MAX, "one field alone agrees"))
    probability = _probability(bits)
    if probability <= ceiling:
        return Match(evidence, prior, bits, probability)
    return Match(evidence, prior, bits, ceiling, why)


def _evidence(one: Described, other: Described) -> Iterator[Evidence]:
    for field, compared in COMPARED.items():
        agreement = compared(one, other)
        if agreement is not None:
            level, shown, shown_other = agreement
            yield Evidence(field, shown, shown_other, level, LEVELS[field][level].weight)


def _total(evidence: Iterable[Evidence]) -> float:
    """The weights' sum, but of what a household shares only the strongest in full: given that,
    the rest is half expected."""
    weights = {e.field: e.weight for e in evidence}
    shared = [w for field, w in weights.items() if field in HOUSEHOLD and w > 0]
    return sum(weights.values()) - (sum(shared) - max(shared, default=0.0)) / 2


def _probability(bits: float) -> float:
    return 1 / (1 + math.exp2(-bits))


def _ceiling(levels: Mapping[str, str], one: Described, other: Described) -> tuple[float, str]:
    """What no sum goes over, and why."""
    first, birth = levels.get("first_name"), levels.get("birth_date")
    if levels.get("generation") == "differs":
        return UNLIKELY_MAX, "the names say that they are of two generations"
    if birth == "differs":
        return UNLIKELY_MAX, "they were born on different days"
    if first == "differs":
        if birth == "same":
            return POSSIBLE_MAX, "twins share all but the first name"
        return UNLIKELY_MAX, "a household shares all but the first name"
    if first != "same" or levels.get("last_name") != "same":
        return LIKELY_MAX, "the names are not the same"
    if birth != "same":
        return LIKELY_MAX, "parents and children may share name and address"
    if one.name.generation != other.name.generation:
        return LIKELY_MAX, "one of the names is of a generation"
    return 1.0, ""
