"""Times what decides which of many actions is best: the catalogue's size must not matter.

A workspace whose catalogue holds 20 actions, and one of 10,000 of which the same 20 can apply, are
asked about the same event in turns: candidates are made, screened by the guard, and put in order.
Putting 1,000 candidates in order is timed by itself.
"""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from verdicts import context, policy_text

from agents.arbitration import arbitrate
from agents.candidates import propose
from agents.lineup import line_up
from agents.workspace import Workspace
from domain.proposal import Candidate
from service.assemble import steady
from service.settings import find_workspace, load, make_workspace

ROUNDS = 30
APPLICABLE = 20
CATALOGUES = (APPLICABLE, 10_000)
MANY = 1_000
TRIGGER = "cart_abandoned"


def workspace(folder: Path, size: int) -> Workspace:
    """The starter's shop with that many actions, 20 of them in the journey that an event asks."""
    for _ in make_workspace(folder):
        pass
    for part in ("journeys", "policies"):
        for file in (folder / part).glob("*.yaml"):
            file.unlink()
    (folder / "policies" / "bench.yaml").write_text(policy_text(10))
    chance = random.Random(1)
    actions = {f"a{n}": _action(chance) for n in range(size)}
    names = list(actions)
    (folder / "actions.yaml").write_text(json.dumps({"actions": actions}))
    for start in range(0, size, APPLICABLE):
        part = names[start : start + APPLICABLE]
        trigger = TRIGGER if start == 0 else f"other_{start}"
        said = {"title": "J", "trigger": trigger, "goal": "order_completed", "actions": part}
        _write(folder / "journeys" / f"j{start}.yaml", said | {"owner": "ana", "team": "growth"})
    return load(find_workspace(folder))


def _action(chance: random.Random) -> dict[str, Any]:
    return {
        "title": "Offer",
        "tool": "message",
        "purpose": "marketing",
        "channel": "email",
        "subject": "Hello",
        "body": "Hello.",
        "propensity": round(chance.random(), 3),
        "value": round(chance.random() * 100, 2),
    }


def _write(file: Path, said: dict[str, Any]) -> None:
    file.write_text(json.dumps(said, indent=1))  # JSON is YAML


def many(one: Candidate, count: int) -> list[Candidate]:
    """That many candidates of different worth."""
    chance = random.Random(2)
    return [
        replace(
            one,
            action=replace(one.action, name=f"b{n}", propensity=chance.random(), levers={"x": 20}),
        )
        for n in range(count)
    ]


def timed(run: Any, times: int) -> float:
    """Seconds a call."""
    began = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - began) / times


def main() -> None:
    """Measure, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        shops = {size: workspace(Path(folder) / f"{size}", size) for size in CATALOGUES}
    asked = context(1)
    asked = replace(asked, event=replace(asked.event, name=TRIGGER), entering={"j0": "k"})
    (small, large) = (shops[size] for size in CATALOGUES)
    assert len(propose(large, asked).candidates) == APPLICABLE
    crowd = many(propose(small, asked).candidates[0], MANY)
    steady()
    took: dict[str, list[float]] = {"small": [], "large": [], "many": []}
    for _ in range(ROUNDS):
        took["small"].append(timed(lambda: line_up(small, asked), 20))
        took["large"].append(timed(lambda: line_up(large, asked), 20))
        took["many"].append(timed(lambda: arbitrate(crowd), 5))
    ratio = statistics.median(b / a for a, b in zip(took["small"], took["large"], strict=True))
    print(f"\narbitration of {MANY:,} candidates: {statistics.median(took['many']) * 1e3:.2f} ms")
    print(
        f"{APPLICABLE} candidates made, screened and ordered: "
        f"{statistics.median(took['small']) * 1e3:.2f} ms; out of a catalogue of "
        f"{CATALOGUES[1]:,} actions {ratio:.2f} x"
    )


if __name__ == "__main__":
    main()
