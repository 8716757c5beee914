"""What is found by meaning: exactly the nearest of the eligible, whatever became of the folder."""

from __future__ import annotations

import builtins
import json
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from math import isclose, sqrt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from domain.errors import ConfigurationError, StoreError
from tools.chroma import ChromaRetrieval
from tools.retrieval import DIMENSIONS, Hit, InMemory, Retrieval, embedding

ROOT = Path(__file__).resolve().parents[2]
SOAK = os.environ.get("SAFECONDUCT_SOAK") == "1"
PROPERTY = settings(
    max_examples=300 if SOAK else 25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SAID = "free shipping mug shirt voucher Gutschein 5 EUR 25 loyalty points gift card ünder ﬁne"
WORDS = tuple(SAID.split(" "))
texts = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join),
    st.text(max_size=12),
)
names = st.integers(0, 30).map(lambda n: f"o{n}")
catalogues = st.dictionaries(names, texts, max_size=16)
CATALOGUE = {
    "shipping": "Free shipping\nNothing to pay for the delivery of your next order.",
    "voucher": "5 EUR voucher\nA thank-you for loyal customers.",
    "mug": "A mug\nShips with the next order.",
}


def brute_force(
    texts: Mapping[str, str], asked: str, eligible: Collection[str], k: int
) -> list[str]:
    """The nearest by the definition of the cosine, compared without division or rounding."""
    own = embedding(asked)

    class Key:
        def __init__(self, name: str) -> None:
            self.name, vector = name, embedding(texts[name])
            self.dot = sum(a * b for a, b in zip(own, vector, strict=True))
            self.size = sum(a * a for a in vector)

        def __lt__(self, other: Key) -> bool:
            mine = self.dot**2 * (other.size or 1)
            theirs = other.dot**2 * (self.size or 1)
            return (-mine, self.name) < (-theirs, other.name)

    return [one.name for one in sorted(Key(name) for name in set(eligible) & texts.keys())][:k]


@pytest.fixture(params=["memory", "chroma"])
def make(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[[Mapping[str, str]], Retrieval]:
    """Every adapter of the port."""
    if request.param == "memory":
        return InMemory
    return lambda texts: ChromaRetrieval(tmp_path / "kept", texts)


@PROPERTY
@example(CATALOGUE, CATALOGUE, "free shipping", ["mug", "voucher", "nothing"], 2)
@example({"a": "", "b": " ", "c": "x"}, {}, "", ["a", "b", "c"], 3)
@given(catalogues, catalogues, texts, st.lists(names, max_size=20), st.integers(0, 20))
def test_the_nearest_of_the_eligible_are_found(
    make: Callable[[Mapping[str, str]], Retrieval],
    first: dict[str, str],
    then: dict[str, str],
    asked: str,
    eligible: list[str],
    k: int,
) -> None:
    """As brute force finds them, over a catalogue and over what it is changed to, and back."""
    for catalogue in (first, then, first):
        with closing(make(catalogue)) as index:
            hits = index.search(asked, eligible, k)
        assert [hit.name for hit in hits] == brute_force(catalogue, asked, eligible, k)
        for hit in hits:
            own, vector = embedding(asked), embedding(catalogue[hit.name])
            dot = sum(a * b for a, b in zip(own, vector, strict=True))
            size = sqrt(sum(a * a for a in own)) * sqrt(sum(a * a for a in vector))
            assert isclose(hit.similarity, dot / size if size else 0.0, abs_tol=1e-9)


@pytest.mark.soakable
def test_thousands_are_found_as_exactly_as_a_few(tmp_path: Path) -> None:
    """More than are fetched at once, whatever share of them is eligible."""
    chance = random.Random(20261005)
    count = 5000 if SOAK else 1100
    catalogue = {f"o{n}": f"{' '.join(chance.choices(WORDS, k=5))} {n}" for n in range(count)}
    with closing(ChromaRetrieval(tmp_path / "kept", catalogue)) as index:
        for share in (0, 1, 30, count // 2, count):
            eligible = chance.sample(sorted(catalogue), share)
            asked = " ".join(chance.choices(WORDS, k=3))
            found = [hit.name for hit in index.search(asked, eligible, 10)]
            assert found == brute_force(catalogue, asked, eligible, 10)


def test_meaning_is_words_and_their_parts() -> None:
    """Another form of a word is near, capitals and ligatures do not matter; synonyms are not."""
    index = InMemory(CATALOGUE)
    assert index.search("Shipped FREE of charge", CATALOGUE, 1)[0].name == "shipping"
    assert index.search("vouchers", CATALOGUE, 1)[0].name == "voucher"
    assert embedding("ﬁne") == embedding("FINE")
    assert index.search("zzz", CATALOGUE, 3)[0].similarity == 0


def test_an_embedding_is_the_same_in_every_process() -> None:
    """Nothing of it hangs on the process's own hashing."""
    code = "from tools.retrieval import embedding; print(list(embedding('free shipping, ünder')))"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout) == list(embedding("free shipping, ünder"))
    assert len(embedding("")) == DIMENSIONS


# What becomes of the folder


def folders(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def searched(folder: Path, catalogue: Mapping[str, str]) -> tuple[Hit, ...]:
    with closing(ChromaRetrieval(folder, catalogue)) as index:
        return index.search("free shipping", catalogue, 2)


RIGHT = InMemory(CATALOGUE).search("free shipping", CATALOGUE, 2)


def test_a_folder_is_kept_while_its_catalogue_is(tmp_path: Path) -> None:
    """It is read again as it is; another catalogue's takes its place, and nothing else is left."""
    folder = tmp_path / "kept"
    assert searched(folder, CATALOGUE) == RIGHT
    (first,) = folders(folder)
    assert searched(folder, CATALOGUE) == RIGHT
    assert folders(folder) == [first]
    searched(folder, {**CATALOGUE, "more": "Free mug"})
    (second,) = folders(folder)
    assert second != first


def _gone(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _junk(path: Path) -> None:
    path.write_bytes(b"junk" * 300)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    if data:
        chance = random.Random(len(data))
        for _ in range(64):
            data[chance.randrange(len(data))] ^= 0xFF
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [_gone, _cut, _junk, _empty, _flip])
@pytest.mark.parametrize("what", ["*.sqlite3", "*.bin", "*"])
def test_what_is_damaged_is_built_anew(
    tmp_path: Path, what: str, damage: Callable[[Path], None]
) -> None:
    """However a file was spoilt, the answer is right; an unreadable folder is replaced."""
    folder = tmp_path / "kept"
    searched(folder, CATALOGUE)
    (kept,) = folders(folder)
    for path in list(kept.rglob(what)):
        if path.is_file():
            damage(path)
    assert searched(folder, CATALOGUE) == RIGHT
    assert len(folders(folder)) == 1
    if what != "*.bin" and damage is not _flip:
        assert folders(folder) != [kept]


def test_vectors_that_somebody_changed_are_not_believed(tmp_path: Path) -> None:
    """A folder that opens and holds other vectors, or one name less, is replaced."""
    import chromadb

    folder = tmp_path / "kept"
    searched(folder, CATALOGUE)

    def changes(kept: Any) -> Iterator[Callable[[], None]]:
        yield lambda: kept.update(ids=["shipping"], embeddings=[[0.0] * DIMENSIONS])
        yield lambda: kept.delete(ids=["shipping"])

    for n in range(2):
        (path,) = folders(folder)
        quiet = chromadb.config.Settings(anonymized_telemetry=False)
        client: Any = chromadb.PersistentClient(path=str(path), settings=quiet)
        with closing(client):
            list(changes(client.get_collection("texts", embedding_function=None)))[n]()
        assert searched(folder, CATALOGUE) == RIGHT
        assert folders(folder) != [path]


def test_what_was_never_finished_is_not_read_and_goes_in_time(tmp_path: Path) -> None:
    """A builder that was killed leaves a folder that nobody takes for a whole one."""
    folder = tmp_path / "kept"
    searched(folder, CATALOGUE)
    (kept,) = folders(folder)
    fresh, old = folder / ".building-fresh", folder / ".building-old"
    for path in (fresh, old):
        shutil.copytree(kept, path)
    os.utime(old, (0, 0))
    shutil.rmtree(kept)
    assert searched(folder, CATALOGUE) == RIGHT
    assert fresh in folders(folder)
    assert old not in folders(folder)


BUILDER = """
import json, sys
from pathlib import Path
from tools.chroma import ChromaRetrieval
folder, catalogue = Path(sys.argv[1]), json.loads(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(3):
    index = ChromaRetrieval(folder, catalogue)
    print([hit.name for hit in index.search("free shipping", catalogue, 2)], flush=True)
    index.close()
"""


def test_processes_that_build_at_once_all_find_the_right_ones(tmp_path: Path) -> None:
    """Some over the same catalogue, one over another: each gets its own answers."""
    other = {"mug": "A mug", "pen": "Free shipping of a pen"}
    catalogues = [CATALOGUE, CATALOGUE, other]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", BUILDER, str(tmp_path / "kept"), json.dumps(one)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for one in catalogues
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for catalogue, worker in zip(catalogues, workers, strict=True):
        out, _ = worker.communicate("go\n", timeout=60)
        right = brute_force(catalogue, "free shipping", catalogue, 2)
        assert out.splitlines() == [str(right)] * 3
        assert worker.returncode == 0


def test_nothing_is_asked_of_any_network_and_nothing_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No model is fetched, nobody is told, and the home folder stays as it was."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    (home / ".env").write_text("anonymized_telemetry=true\npersist_directory=elsewhere\n")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert searched(tmp_path / "kept", CATALOGUE) == RIGHT
    assert [path.name for path in home.iterdir()] == [".env"]


def test_without_chroma_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra; who lacks it learns how to install it."""
    real = builtins.__import__

    def without(name: str, *more: Any, **named: Any) -> Any:
        if name == "chromadb":
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError, match=r"\[memory\]"):
        ChromaRetrieval(tmp_path / "kept", CATALOGUE)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """In place of a fault from deep inside."""
    (tmp_path / "kept").write_text("a file")
    with pytest.raises(StoreError, match="make the folder writable"):
        ChromaRetrieval(tmp_path / "kept", CATALOGUE)


def test_chroma_is_imported_only_where_it_is_used() -> None:
    """A second of importing is nobody's who does not search."""
    code = (
        "import sys, service.cli, service.assemble, tools.chroma; print('chromadb' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
