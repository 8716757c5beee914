"""A contextual bandit: VowpalWabbit's `cb_explore_adf`, which learns what to choose by choosing.

It explores by inverse gap weighting, `--squarecb`: of n options the one of greatest predicted
reward r* is chosen with what the others leave, any other with 1 / (n + g (r* - r)), where g grows
with the root of the lessons taken. Foster and Rakhlin, "Beyond UCB: optimal and efficient
contextual bandits with regression oracles", ICML 2020. The predictions are a regression weighted
by the inverse of the logged probability (`--cb_type mtr`: Bietti, Agarwal and Langford, "A
contextual bandit bake-off", JMLR 22, 2021) on the facts, each crossed with the action.

What success is worth (context weight, value, levers) weighs these probabilities: p' is p x worth,
scaled to a sum of 1; so a lever moves choices at once, and an option that is worth nothing is
chosen by exploration only.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from math import fsum
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any
from urllib.parse import quote
from weakref import finalize

from agents.learning.propensity import Facts, Lesson, Option, greedy
from domain.errors import ConfigurationError

REMEDY = "pip install safeconduct[learn]"
_NEW = "--cb_explore_adf --squarecb --cb_type mtr --quadratic sa --bit_precision 18 --random_seed 1"
_FILE = "model"


def is_installed() -> bool:
    """Whether the library is there; importing it is left to whoever needs it."""
    return importlib.util.find_spec("vowpalwabbit") is not None


class Bandit:
    """One journey's model. It is not for two threads at once, so it lets in one."""

    def __init__(self, content: bytes | None = None) -> None:
        if not is_installed():
            raise ConfigurationError(
                "a journey learns by `bandit`, and VowpalWabbit is not installed", remedy=REMEDY
            )
        from vowpalwabbit import Workspace

        self._one_at_a_time = Lock()
        with TemporaryDirectory() as folder:
            given = _NEW.split()
            if content is not None:
                (Path(folder) / _FILE).write_bytes(content)
                given = ["--initial_regressor", str(Path(folder) / _FILE)]
            self._model: Any = Workspace(arg_list=["--quiet", *given])
        # At the end of the process it is too late for the library to do it by itself.
        finalize(self, self._model.finish)

    def success(self, options: Sequence[Option], facts: Facts) -> tuple[float, ...]:
        """Each option's own propensity: a bandit says what to choose, not how sure success is."""
        return tuple(option.propensity for option in options)

    def choice(self, options: Sequence[Option], facts: Facts) -> tuple[float, ...]:
        """What it predicts to be good, the more probably the better; by what success is worth."""
        with self._one_at_a_time:
            predicted = self._model.predict(_examples(options, facts))
        weighed = [p * option.worth for p, option in zip(predicted, options, strict=True)]
        whole = fsum(weighed)
        if not whole > 0:  # nor where the library has made no number of it
            return greedy(options, self.success(options, facts))
        return tuple(one / whole for one in weighed)

    def learn(self, lesson: Lesson) -> None:
        """Take a lesson at the probability that was logged; the cost is what was not gained."""
        examples = _examples(lesson.options, lesson.facts)
        label = f"0:{-lesson.reward:g}:{lesson.probabilities[lesson.chosen]:.6f} "
        examples[1 + lesson.chosen] = label + examples[1 + lesson.chosen]
        with self._one_at_a_time:
            self._model.learn(examples)

    def content(self) -> bytes:
        """The library's own form of the model."""
        with self._one_at_a_time, TemporaryDirectory() as folder:
            self._model.save(str(Path(folder) / _FILE))
            return (Path(folder) / _FILE).read_bytes()


def _examples(options: Sequence[Option], facts: Facts) -> list[str]:
    """One shared line of facts, and a line for each option, in the library's text format."""
    shared = " ".join(f"{quote(name, safe='')}:{value:g}" for name, value in facts)
    return [f"shared |s {shared}", *(f"|a {quote(one.action, safe='')}" for one in options)]
