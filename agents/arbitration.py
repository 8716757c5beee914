"""Which of the candidates is worth most: P x C x V x L, in a total order (pure).

The formula is Pega's: propensity (the probability of success), context weight, value of success,
and levers, percentages set by people that add up (20 % and 35 % make 1.55). The journey's own
priority is one of the levers' factors. Ties go by the journey's order of actions, then by name.
"""

from __future__ import annotations

from collections.abc import Iterable

from domain.proposal import Candidate, Ranked


def arbitrate(candidates: Iterable[Candidate]) -> tuple[Ranked, ...]:
    """The candidates, best first."""
    ranked = [(_ranked(candidate), order) for order, candidate in enumerate(candidates)]
    ranked.sort(key=lambda item: (-item[0].priority, item[1], item[0].candidate.action.name))
    return tuple(item for item, _ in ranked)


def _ranked(candidate: Candidate) -> Ranked:
    return Ranked(candidate, candidate.priority, candidate.factors)
