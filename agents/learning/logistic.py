"""Online logistic regression: how probable success is with an action, given the facts.

P = 1 / (1 + exp(-(o + w_a + sum of w_(a,f) x_f))), where o is the log-odds of the action's own
propensity, so that a model that has learnt nothing says what `actions.yaml` says. Weights are
learnt one lesson at a time by FTRL-Proximal without L1: McMahan et al., "Ad click prediction: a
view from the trenches", KDD 2013, algorithm 1. For a gradient g = (P - reward) x of a weight:

    s = (sqrt(n + g^2) - sqrt(n)) / ALPHA,   z += g - s w,   n += g^2,
    w = -z / ((BETA + sqrt(n)) / ALPHA + L2)

Weights are found by a hash of action and feature, so that a model is of bounded size and holds
nobody's words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from math import exp, log, sqrt

import msgspec

from agents.learning.propensity import DECIMALS, Facts, Lesson, Option, greedy
from domain.canonical import canonical

ALPHA = 0.1
BETA = 1.0
L2 = 1.0
BUCKETS = 2**18
ODDS_MAX = 7.0


class _Kept(msgspec.Struct):
    """`weights` are rows of bucket, z and n; `offsets` are log-odds by action."""

    offsets: dict[str, float]
    weights: list[tuple[int, float, float]]


class Logistic:
    """One journey's model. The best by P x C x V x L is chosen; exploring is left to chance."""

    def __init__(self, content: bytes | None = None) -> None:
        kept = _Kept({}, []) if content is None else msgspec.json.decode(content, type=_Kept)
        self._offsets = kept.offsets
        self._weights = {bucket: (z, n) for bucket, z, n in kept.weights}

    def success(self, options: Sequence[Option], facts: Facts) -> tuple[float, ...]:
        """Each option's learnt propensity."""
        return tuple(round(_probability(self._odds(one, facts)), DECIMALS) for one in options)

    def choice(self, options: Sequence[Option], facts: Facts) -> tuple[float, ...]:
        """The best one for certain."""
        return greedy(options, self.success(options, facts))

    def learn(self, lesson: Lesson) -> None:
        """Move the weights of what was done towards what came of it."""
        option = lesson.options[lesson.chosen]
        self._offsets.setdefault(option.action, _log_odds(option.propensity))
        missed = _probability(self._odds(option, lesson.facts)) - lesson.reward
        for bucket, x in _inputs(option.action, lesson.facts):
            z, n = self._weights.get(bucket, (0.0, 0.0))
            gradient = missed * x
            step = (sqrt(n + gradient**2) - sqrt(n)) / ALPHA
            self._weights[bucket] = (z + gradient - step * _weight(z, n), n + gradient**2)

    def content(self) -> bytes:
        """Canonical bytes: equal models give equal ones."""
        rows = [(bucket, z, n) for bucket, (z, n) in sorted(self._weights.items())]
        return canonical({"offsets": self._offsets, "weights": rows})

    def _odds(self, option: Option, facts: Facts) -> float:
        odds = self._offsets.get(option.action)
        odds = _log_odds(option.propensity) if odds is None else odds
        for bucket, x in _inputs(option.action, facts):
            kept = self._weights.get(bucket)
            if kept is not None:
                odds += _weight(*kept) * x
        return odds


def _inputs(action: str, facts: Facts) -> Iterator[tuple[int, float]]:
    yield _bucket(action, ""), 1.0
    for name, value in facts:
        yield _bucket(action, name), value


@lru_cache(maxsize=65_536)
def _bucket(action: str, name: str) -> int:
    digest = sha256(canonical([action, name])).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def _weight(z: float, n: float) -> float:
    return -z / ((BETA + sqrt(n)) / ALPHA + L2)


def _probability(odds: float) -> float:
    return 1 / (1 + exp(-max(-ODDS_MAX, min(ODDS_MAX, odds))))


def _log_odds(probability: float) -> float:
    least = _probability(-ODDS_MAX)
    inside = min(1 - least, max(least, probability))
    return log(inside / (1 - inside))
