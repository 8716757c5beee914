"""Which of the candidates is worth most: P x C x V x L, in a total order (pure).

The formula is Pega's: propensity (the probability of success), context weight, value of success,
and levers, percentages set by people that add up (20 % and 35 % make 1.55). The journey's own
priority is one of the levers' factors. Ties go by the order of journeys and of their actions.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from domain.proposal import Candidate, Ranked


def arbitrate(candidates: Iterable[Candidate]) -> tuple[Ranked, ...]:
    """The candidates, best first."""
    # A stable sort: of equal worth, whoever was named first.
    return tuple(sorted(map(_ranked, candidates), key=_worth, reverse=True))


def _worth(ranked: Ranked) -> float:
    return ranked.priority


def _ranked(candidate: Candidate) -> Ranked:
    factors = candidate.factors
    return Ranked(candidate, prod([value for _, value in factors]), factors)
