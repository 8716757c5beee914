"""Puts what was learnt into a decision: propensities before arbitration, chance after (pure).

Chance chooses among a journey's own candidates, those that no rule forbids, and the one it picks
takes the place of the best of them; so it is for arbitration alone which journey comes first.
What is significant (of legal or similar effect), mandatory or urgent is not left to chance: it
keeps its constant propensity and its place, and so does everything for somebody who is not to be
profiled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from agents.learning.features import facts, is_unprofiled
from agents.learning.propensity import Constant, ModelOf, Option, Propensity, draw, explored
from agents.workspace import Workspace
from domain.action import Action
from domain.context import Context
from domain.errors import StoreError
from domain.proposal import Candidate, Ranked

_CONSTANT = Constant()


def no_models(version: str) -> Propensity:
    """Where no model is at hand, none may have decided."""
    raise StoreError(f"model `{version}` is not at hand")


@dataclass(frozen=True, slots=True)
class Drawn:
    """The survivors in the order after chance; `probabilities` go by the candidates' identity.

    They add up to 1 over what one journey may choose from.
    """

    order: list[Ranked]
    probabilities: Mapping[int, float]


def option(candidate: Candidate) -> Option:
    """The candidate as models see it."""
    worth = prod(factor for name, factor in candidate.factors if name != "propensity")
    return Option(candidate.action.name, candidate.action.propensity, worth)


def predicted(
    workspace: Workspace, candidates: Iterable[Candidate], context: Context, model_of: ModelOf
) -> tuple[Candidate, ...]:
    """The candidates, each with the propensity that its journey's model gives it."""
    order = list(candidates)
    if not context.models:
        return tuple(order)
    places: dict[str, list[int]] = {}
    for place, one in enumerate(order):
        if (
            one.journey in context.models
            and one.journey in workspace.journeys
            and _is_free(one.action)
        ):
            places.setdefault(one.journey, []).append(place)
    for journey, mine in places.items():
        model, _ = _model(workspace, journey, context, model_of)
        if model is _CONSTANT:
            continue
        options = [option(order[place]) for place in mine]
        successes = model.success(options, facts(workspace.journeys[journey], context))
        for place, success in zip(mine, successes, strict=True):
            one = order[place]
            order[place] = replace(one, action=replace(one.action, propensity=success))
    return tuple(order)


def drawn(
    workspace: Workspace,
    survivors: Sequence[Ranked],
    context: Context,
    model_of: ModelOf,
    kept_out: Iterable[Ranked] = (),
) -> Drawn:
    """Let chance choose for each journey, among those of its survivors that may be left to it.

    Args:
        survivors: what no rule forbids, best first.
        kept_out: those that a holdout withholds: nothing is chosen among them.
    """
    order = list(survivors)
    out = {id(one.candidate) for one in kept_out}
    places: dict[str, list[int]] = {}
    for place, one in enumerate(order):
        if _is_free(one.candidate.action) and id(one.candidate) not in out:
            places.setdefault(one.candidate.journey, []).append(place)
    probabilities: dict[int, float] = {}
    for journey, mine in places.items():
        options = [order[place] for place in mine]
        chances = _chances(workspace, journey, options, context, model_of)
        first = draw(chances, context.seed, journey)
        probabilities |= {id(o.candidate): p for o, p in zip(options, chances, strict=True)}
        again = [options[first], *options[:first], *options[first + 1 :]]
        for place, one in zip(mine, again, strict=True):
            order[place] = one
    return Drawn(order, probabilities)


def _is_free(action: Action) -> bool:
    """Whether a model may have a say in it, and chance."""
    return action.significance == "none" and not action.mandatory and action.urgency == "normal"


def _chances(
    workspace: Workspace,
    journey: str,
    options: Sequence[Ranked],
    context: Context,
    model_of: ModelOf,
) -> tuple[float, ...]:
    model, exploration = _model(workspace, journey, context, model_of)
    if model is _CONSTANT:  # in arbitration's order already
        best = tuple(float(place == 0) for place in range(len(options)))
    else:
        seen = facts(workspace.journeys[journey], context)
        best = model.choice([option(one.candidate) for one in options], seen)
    return explored(best, exploration)


def _model(
    workspace: Workspace, name: str, context: Context, model_of: ModelOf
) -> tuple[Propensity, float]:
    """The model whose turn it is, and the share of choices that are left to chance.

    How a journey learns is today's, whatever plan somebody entered by; one that is gone does not.
    """
    journey = workspace.journeys.get(name)
    if journey is None or journey.learning == "constant" or is_unprofiled(context):
        return _CONSTANT, 0.0
    version = context.models.get(name)
    return (model_of(version) if version else _CONSTANT), journey.exploration
