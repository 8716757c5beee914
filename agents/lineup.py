"""The candidates in the order in which they are considered, each with what stands in for it (pure).

A rule that refuses may name what is to be tried instead: another action that the refused one
names, or a person. Such a stand-in takes the refused one's place, before the next best, and goes
through the whole guard like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from agents.arbitration import arbitrate
from agents.candidates import Proposed, named_instead, plan_of, propose, stand_in, upcoming
from agents.learning.choosing import no_models, predicted
from agents.learning.propensity import ModelOf
from agents.workspace import Workspace
from domain.context import Context
from domain.proposal import Candidate, Ranked, Upcoming
from domain.verdict import Finding
from policies.guard import Screening


@dataclass(frozen=True, slots=True)
class Instead:
    """Whom a stand-in stands for, and the finding that asked for one."""

    of: Candidate
    why: Finding


@dataclass(frozen=True, slots=True)
class Lineup:
    """All candidates, best first. `screened` and `instead` go by the candidates' identity."""

    proposed: Proposed
    ranked: tuple[Ranked, ...]
    screened: Mapping[int, Screening]
    instead: Mapping[int, Instead]
    upcoming: tuple[Upcoming, ...] = ()


def line_up(workspace: Workspace, context: Context, model_of: ModelOf = no_models) -> Lineup:
    """What could be done, what every rule says of it, and in which order it is considered.

    Args:
        model_of: finds the learnt models that the context names.
    """
    proposed, ahead = propose(workspace, context), upcoming(workspace, context)
    learnt = predicted(workspace, proposed.candidates, context, model_of)
    proposed = replace(proposed, candidates=learnt)
    screened = {
        id(screening.candidate): screening
        for screening in workspace.guard.screen(proposed.candidates, context, ahead)
    }
    best = arbitrate(proposed.candidates)
    regular = {(one.candidate.journey, one.candidate.action.name): one for one in best}
    ordered: dict[int, Ranked] = {}
    instead: dict[int, Instead] = {}
    for one in best:
        ordered.setdefault(id(one.candidate), one)
        for name, why in _wanted_instead(workspace, context, screened[id(one.candidate)]):
            key = (one.candidate.journey, name)
            if key not in regular:
                made = stand_in(workspace, one.candidate, name, context)
                (made,) = predicted(workspace, [made], context, model_of)
                (regular[key],) = arbitrate([made])
                (screened[id(made)],) = workspace.guard.screen([made], context, ahead)
            found = regular[key]
            if id(found.candidate) not in ordered:
                ordered[id(found.candidate)] = found
                instead[id(found.candidate)] = Instead(one.candidate, why)
    return Lineup(proposed, tuple(ordered.values()), screened, instead, ahead)


def _wanted_instead(
    workspace: Workspace, context: Context, screening: Screening
) -> Iterator[tuple[str, Finding]]:
    """The actions to try in place of one that is refused only by rules that ask for it."""
    refusals = [finding for finding in screening.findings if finding.outcome == "forbid"]
    if not all(finding.instead for finding in refusals):
        return
    candidate = screening.candidate
    journey = plan_of(workspace, context, candidate.journey, candidate.instance)
    for finding in refusals:
        for what in finding.instead:
            for name in named_instead(workspace, candidate.action, journey, what):
                yield name, finding
