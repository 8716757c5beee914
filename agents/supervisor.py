"""The supervisor: one LangGraph `StateGraph`, a micro-batch at a time.

    START -> perceive -> decide -> act -> END
                ^                   |
                +---- overtaken ----+

Three supersteps, compiled once, no checkpointer on the way: LangGraph costs about 0.5 ms an
invocation and 0.25 ms a superstep, so the graph's state is a batch of 1 to 8 events of different
people, and the pure steps are packed into its nodes. What was overtaken by somebody else's commit
goes round again, by a command: a conditional edge would cost every invocation a third of a
millisecond.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from agents.steps import BATCH_MAX, GROUP_MAX, ROUNDS_MAX, STEPS, Batch, Deps, Line, Step
from domain.errors import UsageError
from profiles.arrivals import Arrival

Decide = Callable[[Sequence[Arrival]], Awaitable[tuple[Line, ...]]]


def build_graph(deps: Deps) -> Any:
    """The compiled graph. Its input is `{"arrivals": (...)}`, its output has `lines`."""
    from langgraph.graph import END, START, StateGraph  # 1.3 s to import

    perceive, decide, act = STEPS
    graph: Any = StateGraph(Batch)
    graph.add_node("perceive", partial(perceive, deps=deps))
    graph.add_node("decide", partial(decide, deps=deps))
    graph.add_node("act", partial(_again, act, deps=deps), destinations=("perceive", END))
    graph.add_edge(START, "perceive")
    graph.add_edge("perceive", "decide")
    graph.add_edge("decide", "act")
    return graph.compile(name="supervisor")


def through_graph(deps: Deps) -> Decide:
    """Decide batches through the graph: the definition of how it is done."""
    graph = build_graph(deps)
    config = {"recursion_limit": len(STEPS) * (ROUNDS_MAX + 1) * (GROUP_MAX + 1) + 1}

    async def run(arrivals: Sequence[Arrival]) -> tuple[Line, ...]:
        state = await graph.ainvoke(
            _begin(arrivals, BATCH_MAX), config=config, output_keys=["lines"]
        )
        return in_order(arrivals, state["lines"])

    return run


def through_steps(deps: Deps) -> Decide:
    """Decide groups of up to 32 through the same steps without the graph: for bulk work."""

    async def run(arrivals: Sequence[Arrival]) -> tuple[Line, ...]:
        state = _begin(arrivals, GROUP_MAX)
        while state["arrivals"]:
            for step in STEPS:
                state |= await step(state, deps)
        return in_order(arrivals, state["lines"])

    return run


def in_order(arrivals: Sequence[Arrival], lines: Sequence[Line]) -> tuple[Line, ...]:
    """The lines in the order their arrivals came in."""
    places = {id(arrival): place for place, arrival in enumerate(arrivals)}
    return tuple(sorted(lines, key=lambda line: places[id(line.arrival)]))


def _begin(arrivals: Sequence[Arrival], most: int) -> Batch:
    if not 1 <= len(arrivals) <= most:
        raise UsageError(f"a batch holds 1 to {most} arrivals, not {len(arrivals)}")
    return {"arrivals": tuple(arrivals), "lines": (), "round": 0}


async def _again(step: Step, batch: Batch, deps: Deps) -> Any:
    """Take the last step; LangGraph ends after it unless it is told to go on."""
    done = await step(batch, deps)
    if not done["arrivals"]:
        return done
    from langgraph.types import Command

    return Command(update=done, goto="perceive")
