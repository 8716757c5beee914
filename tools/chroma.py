"""Keeps embeddings in Chroma, in a folder of its own that is built anew whenever it is not right.

What is kept is the catalogue's and nobody's, and can be made from the workspace at any time. A
folder holds one catalogue, is named by its fingerprint and never written to again: a catalogue
that changed is another folder, and no process sees half of one. A folder that is missing, of
another catalogue, or not as it was written is replaced.

Every eligible vector is fetched by its name and ranked exactly: Chroma's own `query` walks a graph
of neighbours (HNSW), which is quicker among a million and promises no exactness, filtered least.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from domain.canonical import canonical
from domain.errors import ConfigurationError, StoreError
from tools.retrieval import DIMENSIONS, WORD_WEIGHT, Hit, Vector, embedding, nearest

LOG = logging.getLogger("safeconduct.tools")

FETCH = 1000
"""How many vectors are written or fetched at once."""
ABANDONED_AFTER_SECONDS = 3600
_COLLECTION = "texts"
_BUILDING = ".building-"


class ChromaRetrieval:
    """Texts kept by name in a folder.

    Raises:
        ConfigurationError: Chroma is not installed.
        StoreError: the folder cannot be written.
    """

    def __init__(self, folder: Path, texts: Mapping[str, str]) -> None:
        self._chroma = _imported()
        self._folder = folder
        self._texts = dict(texts)
        form = [DIMENSIONS, WORD_WEIGHT, self._texts]
        self._print = sha256(canonical(form)).hexdigest()[:32]
        try:
            self._client, self._kept = self._opened()
        except OSError as error:
            raise StoreError(
                f"what offers are found by cannot be kept: {error.strerror}",
                place=str(folder),
                remedy="make the folder writable",
            ) from error

    def search(self, text: str, eligible: Collection[str], k: int) -> tuple[Hit, ...]:
        """Exactly the `k` nearest of the eligible."""
        wanted = sorted(self._texts.keys() & set(eligible))
        return nearest(embedding(text), _vectors(self._kept, wanted), k)

    def close(self) -> None:
        """Let go of the folder."""
        self._client.close()

    def _opened(self) -> tuple[Any, Any]:
        """The first folder of this catalogue that is whole, else a new one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self._folder.glob(f"{self._print}-*")):
            found = self._whole(path)
            if found is not None:
                return found
            LOG.warning("what offers are found by was damaged, and is built anew")
            shutil.rmtree(path, ignore_errors=True)
        built = self._built()
        found = self._whole(built)
        if found is None:
            raise StoreError(
                "what offers are found by does not read back as it was written",
                place=str(built),
                remedy="look at the disk; nothing else depends on this folder",
            )
        self._sweep(built)
        return found

    def _whole(self, path: Path) -> tuple[Any, Any] | None:
        """The client and collection in a folder, if everything is in it as it was written."""
        client = None
        try:
            client = self._connected(path)
            kept = client.get_collection(_COLLECTION, embedding_function=None)
            said = kept.metadata or {}
            names = sorted(self._texts)
            if kept.count() == len(names) and said.get("print") == _fingerprint(kept, names):
                return client, kept
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - what is damaged makes its engine panic
            LOG.info("unreadable", extra={"fields": {"error": type(error).__name__}})
        if client is not None:
            with suppress(Exception):
                client.close()
        return None

    def _built(self) -> Path:
        """A new folder of this catalogue, whole before it has its name."""
        names = sorted(self._texts)
        vectors = [embedding(self._texts[name]) for name in names]
        made = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=self._folder))
        client = self._connected(made)
        try:
            kept = client.create_collection(
                _COLLECTION,
                embedding_function=None,
                metadata={"print": _printed(names, vectors)},
                # All of it stays in SQLite: the graph's own files crash whoever reads damaged ones.
                configuration={"hnsw": {"sync_threshold": len(names) + FETCH}},
            )
            for start in range(0, len(names), FETCH):
                some = slice(start, start + FETCH)
                kept.add(ids=names[some], embeddings=[list(map(float, v)) for v in vectors[some]])
        finally:
            client.close()
        return made.rename(self._folder / f"{self._print}-{uuid4().hex[:8]}")

    def _connected(self, path: Path) -> Any:
        """A client on this folder: no telemetry, and nothing from the surroundings."""
        settings = self._chroma.config.Settings(
            anonymized_telemetry=False,
            chroma_otel_collection_endpoint="",
            is_persistent=True,
            persist_directory=str(path),
            _env_file=None,
        )
        return self._chroma.PersistentClient(path=str(path), settings=settings)

    def _sweep(self, kept: Path) -> None:
        """Let go of other catalogues' folders, and of what was never finished."""
        for path in self._folder.iterdir():
            with suppress(OSError):
                recent = time.time() - path.stat().st_mtime < ABANDONED_AFTER_SECONDS
                if path != kept and not (path.name.startswith(_BUILDING) and recent):
                    shutil.rmtree(path, ignore_errors=True)


def _imported() -> Any:
    try:
        import chromadb
    except ImportError as error:
        raise ConfigurationError(
            "finding offers by meaning needs Chroma, which is not installed",
            remedy="install it: `pip install --editable '.[memory]'`",
        ) from error
    return chromadb


def _vectors(kept: Any, names: Sequence[str]) -> Iterator[tuple[str, Vector]]:
    """The vectors of these names, in no order; of those that are there."""
    for start in range(0, len(names), FETCH):
        found = kept.get(ids=list(names[start : start + FETCH]), include=["embeddings"])
        for name, vector in zip(found["ids"], found["embeddings"], strict=True):
            yield name, tuple(map(int, vector))


def _fingerprint(kept: Any, names: Sequence[str]) -> str:
    found = dict(_vectors(kept, names))
    return _printed(names, [found[name] for name in names])


def _printed(names: Sequence[str], vectors: Sequence[Vector]) -> str:
    return sha256(canonical([list(names), [list(vector) for vector in vectors]])).hexdigest()
