"""Breaks the guard's code in small ways, one at a time, and sees whether a test notices.

A sample of the mutants that Cosmic Ray knows for `policies/` is tried on copies of the project.
Those that no test notices are printed; each must stand in `survivors.toml` with the reason why it
does no harm, or a test is missing and the exit code is 1.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

PROJECT = Path(__file__).parent.parent
PYTHON = PROJECT / ".venv" / "bin" / "python"
SURVIVORS = Path(__file__).parent / "survivors.toml"
NEAR = ("tests/policies", "tests/domain")
FAR = ("tests/agents", "tests/service/test_policy_commands.py")
SECONDS_NEAR, SECONDS_FAR = 240, 600
# Campaigns of many trials find what is rare, not what a line says.
OPTIONS = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", "not soakable")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One module with one small fault: what the line said, and what it says instead."""

    file: str
    number: int
    line: str
    becomes: str
    code: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}\n  - {self.line}\n  + {self.becomes}"


def places(file: Path) -> Iterator[tuple[Path, str, int]]:
    """Every place of a module that an operator could change: which operator, and which place."""
    tree = get_ast(file.read_text(encoding="utf-8"))
    for name in operator_names():
        operator_class = get_operator(name)
        if not operator_class.arguments():
            operator: Any = operator_class()
            found = (at for node in ast_nodes(tree) for at in operator.mutation_positions(node))
            yield from ((file, name, occurrence) for occurrence, _ in enumerate(found))


def mutant(file: Path, operator: str, occurrence: int) -> Mutant | None:
    """The module with that place changed; None where that changes nothing that it does."""
    source = file.read_text(encoding="utf-8")
    code = mutate_code(source, get_operator(operator)(), occurrence)
    if code is None or _meaning(code) in (None, _meaning(source)):
        return None
    return Mutant(str(file.relative_to(PROJECT)), *_changed(source, code), code)


def _meaning(source: str) -> str | None:
    """The syntax tree without annotations, which nothing here evaluates; None where it is none."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
    return ast.dump(tree)


def _changed(source: str, code: str) -> tuple[int, str, str]:
    old, new = source.splitlines(), code.splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    _, start, end, begins, ends = next(op for op in matcher.get_opcodes() if op[0] != "equal")
    line, becomes = (
        " ".join(part.strip() for part in lines) for lines in (old[start:end], new[begins:ends])
    )
    return start + 1, line, becomes


class Copies:
    """As many copies of the project as tests run at a time."""

    def __init__(self, folder: Path, count: int) -> None:
        self._free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607
            cwd=PROJECT,
            capture_output=True,
            check=True,
            text=True,
        )
        for n in range(count):
            copy = folder / f"copy-{n}"
            for name in filter(None, listed.stdout.split("\0")):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, copy / name)
            self._free.put(copy)

    def survives(self, mutant: Mutant | None, tests: Sequence[str], seconds: float) -> bool:
        """Whether these tests pass with the mutant in place."""
        copy = self._free.get()
        try:
            if mutant is None:
                return self._passes(copy, tests, seconds)
            file = copy / mutant.file
            whole = file.read_text(encoding="utf-8")
            file.write_text(mutant.code, encoding="utf-8")
            try:
                return self._passes(copy, [*_nearest(copy, mutant.file), *tests], seconds)
            finally:
                file.write_text(whole, encoding="utf-8")
        finally:
            self._free.put(copy)

    def _passes(self, copy: Path, tests: Sequence[str], seconds: float) -> bool:
        # The copy comes before the installed project, for child processes too.
        run = subprocess.Popen(  # noqa: S603 - our own tests
            [PYTHON, "-m", "pytest", *OPTIONS, *tests],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return run.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            return False  # what never ends is noticed
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()


def _nearest(copy: Path, file: str) -> list[str]:
    """The tests named after a module, which are the likeliest to notice."""
    found = sorted((copy / "tests" / "policies").glob(f"test_{Path(file).stem}*.py"))
    return [str(test.relative_to(copy)) for test in found]


def main() -> int:
    """Try a sample; 1 where a survivor is not accounted for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=120, help="how many mutants to try")
    parser.add_argument("--seed", type=int, default=1, help="which sample")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--file", help="mutants of this module only")
    given = parser.parse_args()
    files = sorted((PROJECT / "policies").rglob("*.py"))
    named = [file for file in files if given.file in (None, str(file.relative_to(PROJECT)))]
    every = [place for file in named for place in places(file)]
    random.Random(given.seed).shuffle(every)
    drawn = (mutant(*place) for place in every)
    chosen = list(islice((one for one in drawn if one is not None), given.sample))
    known = tomllib.loads(SURVIVORS.read_text(encoding="utf-8")).get("survivor", [])
    reasons = {(one["file"], one["line"], one["becomes"]): one["reason"] for one in known}
    with tempfile.TemporaryDirectory() as folder:
        copies = Copies(Path(folder), given.workers)
        if not copies.survives(None, NEAR, SECONDS_NEAR):
            print("the tests fail without any mutant: run `make test`", file=sys.stderr)
            return 2
        began, survivors = time.monotonic(), []
        with ThreadPoolExecutor(given.workers) as pool:
            near = pool.map(lambda one: copies.survives(one, NEAR, SECONDS_NEAR), chosen)
            left = [one for one, survived in zip(chosen, near, strict=True) if survived]
            print(f"{len(left)} of {len(chosen)} pass the nearest tests", flush=True)
            print(*left, sep="\n", flush=True)
            far = pool.map(lambda one: copies.survives(one, FAR, SECONDS_FAR), left)
            survivors = [one for one, survived in zip(left, far, strict=True) if survived]
    missing = 0
    for one in sorted(survivors, key=lambda one: (one.file, one.number)):
        reason = reasons.get((one.file, one.line, one.becomes))
        missing += reason is None
        print(f"{one}\n  = {reason or 'no test notices, and no reason is given'}")
    print(
        f"{len(chosen)} mutants of {len(every)} places, seed {given.seed}: "
        f"{len(chosen) - len(survivors)} noticed ({len(left) - len(survivors)} only by tests "
        f"farther off), {len(survivors)} survive, {missing} of them without a reason; "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
