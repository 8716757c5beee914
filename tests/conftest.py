"""What every test starts from: a known key, and nothing of the machine's own settings."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores import _kept_schema, database, postgres_server, schema, store

__all__ = ["_kept_schema", "database", "postgres_server", "schema", "store"]

KEY = base64.b64encode(b"a key for tests and nothing else").decode()


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A fixed key makes ids and holdouts the same in every run; the current folder is empty."""
    monkeypatch.setenv("SAFECONDUCT_KEY", KEY)
    here = tmp_path / "here"
    here.mkdir()
    before = Path.cwd()
    os.chdir(here)
    yield
    os.chdir(before)
