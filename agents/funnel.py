"""The funnel over many decisions: who was filtered where and by which rule, who won, and what the
order of the candidates hangs on.

Only records are read: each says which rules were against each candidate, and its factors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from agents.record import Record
from agents.thinking import Considered
from domain.verdict import STAGES, Stage

Rules = Mapping[str, tuple[str, Stage]]
"""By the ids of a workspace's rules, what each may be called here, and where it stands."""


@dataclass(slots=True)
class Flow:
    """What happened to one action's candidates. `filtered` is by the first stage that stopped one;
    what came through was `chosen`, kept out for a `holdout`, or `outranked`."""

    candidates: int = 0
    filtered: Counter[Stage] = field(default_factory=Counter)
    outranked: int = 0
    holdout: int = 0
    chosen: int = 0
    lost_to: Counter[str] = field(default_factory=Counter)
    won_over: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Funnel:
    """Everything that was added up.

    `rules` counts by rule and stage whom it was the first to stop, `not_entered` the journeys that
    did not apply. `contested` are decisions in which several candidates came through, and `changed`
    in how many of those another would have won without one factor.
    """

    decisions: int = 0
    with_candidates: int = 0
    erased: int = 0
    actions: dict[str, Flow] = field(default_factory=dict)
    rules: Counter[tuple[str, Stage]] = field(default_factory=Counter)
    not_entered: Counter[str] = field(default_factory=Counter)
    contested: int = 0
    changed: Counter[str] = field(default_factory=Counter)

    def add(self, record: Record, rules: Rules, journey: str | None) -> None:
        """Count one decision.

        Args:
            rules: those that it was made under.
            journey: what was considered for this journey only, or all of it.
        """
        thought = record.thought
        self.not_entered.update(name for name, _ in thought.not_entered if journey in (None, name))
        considered = [one for one in thought.considered if journey in (None, one.journey)]
        if journey is not None and not considered:
            return
        self.decisions += 1
        self.with_candidates += bool(considered)
        through = [one for one in considered if _came_through(one)]
        for one in considered:
            self._count(one, rules)
        self._compare(through)

    def _count(self, one: Considered, rules: Rules) -> None:
        flow = self.actions.setdefault(one.action, Flow())
        flow.candidates += 1
        if one.note == "chosen":
            flow.chosen += 1
        elif one.note == "holdout":
            flow.holdout += 1
        elif not one.against:
            flow.outranked += 1
        else:
            against = [rules.get(rule, (rule, STAGES[-1])) for rule, _ in one.against]
            rule, stage = min(against, key=lambda found: STAGES.index(found[1]))
            flow.filtered[stage] += 1
            self.rules[(rule, stage)] += 1

    def _compare(self, through: list[Considered]) -> None:
        """Who won over whom, and which factor that hung on."""
        if len(through) < 2:
            return
        winner, *others = through
        self.contested += 1
        for other in others:
            self.actions[other.action].lost_to[winner.action] += 1
            self.actions[winner.action].won_over[other.action] += 1
        for dropped, _ in winner.factors:
            best = max(range(len(through)), key=lambda at: (_without(through[at], dropped), -at))
            self.changed[dropped] += best != 0


def _came_through(one: Considered) -> bool:
    """Whether it was there to be chosen: no rule was against it, or it was chosen to wait."""
    return not one.against or one.note in ("chosen", "holdout")


def _without(one: Considered, dropped: str) -> float:
    """Its priority with one factor disabled, which counts as 1."""
    return prod(value for name, value in one.factors if name != dropped)
