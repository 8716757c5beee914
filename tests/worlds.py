"""The world's shop in a folder, and people who live with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from agents.steps import Deps
from evals.world.people import some_nature
from evals.world.shop import Setup, files
from evals.world.simulation import Tally, World
from service.assemble import assemble


def write(folder: Path, texts: Mapping[str, str]) -> Path:
    """Write a workspace's files."""
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@contextmanager
def open_world(
    setup: Setup,
    *,
    store: str = "sqlite://",
    changes: Mapping[str, tuple[str, str]] | None = None,
    more: Mapping[str, str] | None = None,
) -> Iterator[Deps]:
    """The shop of a setup, running.

    Args:
        changes: in which file to put what for what.
        more: files beside.
    """
    texts = {**files(setup), **(more or {})}
    for name, (old, new) in (changes or {}).items():
        assert old in texts[name], (name, old)
        texts[name] = texts[name].replace(old, new)
    with TemporaryDirectory() as folder:
        assembly = assemble(write(Path(folder), texts), store)
        try:
            yield assembly.deps
        finally:
            assembly.close()


def live(
    deps: Deps,
    seed: int,
    *,
    people: int = 80,
    days: int = 24,
    carts_per_day: float = 0.2,
    learn_every: int = 2,
) -> Tally:
    """Let people of a seed live with a shop."""
    world = World(deps, some_nature(seed), seed, people=people)
    learns = learn_every if deps.workspace.learns else 0
    return asyncio.run(world.live(days, carts_per_day=carts_per_day, learn_every=learns))
