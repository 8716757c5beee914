"""Where tests keep their stores: one of each dialect, and the PostgreSQL server behind them.

The server is the one that `SAFECONDUCT_TEST_POSTGRES` names, else one that answers on localhost,
else one of our own if its binaries are there; else the tests that need it are skipped.
"""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from store import tables as t
from store.database import Database, open_database

SERVER_VARIABLE = "SAFECONDUCT_TEST_POSTGRES"
START_SECONDS = 30
_LOCAL = [
    f"postgresql://{user}@127.0.0.1:5432/{name}"
    for user in (getpass.getuser(), "postgres")
    for name in ("test", "postgres")
]
_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


class Schema:
    """A schema of random name, as the URL of a store and as seen past the program."""

    def __init__(self, server: str) -> None:
        self.name = f"safeconduct_{uuid4().hex[:12]}"
        mark = "&" if "?" in server else "?"
        self.url = f"{server}{mark}options=-csearch_path%3D{self.name}"
        self.raw = psycopg.connect(server, autocommit=True)
        self.raw.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self.name)))
        self.raw.execute("SELECT set_config('search_path', %s, false)", [self.name])
        self.raw.execute("SET lock_timeout = '10s'")

    def empty(self) -> None:
        """Make it a store that nothing was ever written to, not even the check of its key."""
        _empty(self.raw)

    def drop(self) -> None:
        """Leave nothing behind."""
        drop = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE")
        self.raw.execute(drop.format(sql.Identifier(self.name)))
        self.raw.close()


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=1).close()
    except psycopg.Error:
        return False
    return True


def binary(name: str) -> str | None:
    """The path of one of PostgreSQL's programs, or None where it is not installed."""
    places = [shutil.which(str(folder / name)) for folder in _BINARIES]
    return next((place for place in (*places, shutil.which(name)) if place), None)


def _unprivileged() -> dict[str, Any]:
    """How to run what refuses root: as `postgres` if there is one, else as nobody."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL does not run as root, and there is nobody else")


@contextmanager
def own_server() -> Iterator[str]:
    """The URL of a server of our own on a free port, for as long as it is wanted."""
    initdb, postgres = binary("initdb"), binary("postgres")
    if initdb is None or postgres is None:
        pytest.skip(f"no PostgreSQL answers, and its programs are not here: set {SERVER_VARIABLE}")
    who = _unprivileged()
    with tempfile.TemporaryDirectory(prefix="safeconduct-", ignore_cleanup_errors=True) as home:
        os.chown(home, who.get("user", -1), who.get("group", -1))
        settings: dict[str, Any] = {"cwd": home, "stderr": subprocess.STDOUT, **who}
        made = subprocess.run(
            [initdb, "-D", f"{home}/data", "-U", "tester", "-A", "trust", "-E", "UTF8", "-N"],
            stdout=subprocess.PIPE,
            check=False,
            **settings,
        )
        assert made.returncode == 0, made.stdout.decode()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = Path(home) / "log"
        with log.open("wb") as out:
            server = subprocess.Popen(
                [postgres, "-D", f"{home}/data", "-p", str(port), "-k", home, "-F"],
                stdout=out,
                **settings,
            )
        try:
            yield _awaited(f"postgresql://tester@127.0.0.1:{port}/postgres", server, log)
        finally:
            server.terminate()
            server.wait(START_SECONDS)


def _awaited(url: str, server: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + START_SECONDS
    while not _answers(url):
        assert server.poll() is None and time.monotonic() < until, log.read_text()
        time.sleep(0.05)
    return url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server to make schemas in."""
    given = os.environ.get(SERVER_VARIABLE)
    found = given or next((url for url in _LOCAL if _answers(url)), None)
    if found:
        yield found
        return
    with own_server() as url:
        yield url


@pytest.fixture(scope="session")
def _kept_schema(postgres_server: str) -> Iterator[Schema]:
    schema = Schema(postgres_server)
    yield schema
    schema.drop()


@pytest.fixture
def schema(_kept_schema: Schema) -> Schema:
    """An empty schema; to make one takes longer than to empty it."""
    _kept_schema.empty()
    return _kept_schema


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store, once of each dialect."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 's.db'}"
    schema: Schema = request.getfixturevalue("schema")
    return schema.url


@pytest.fixture
def database(store: str) -> Iterator[Database]:
    """An empty store of each dialect, open for writing."""
    opened = open_database(store)
    yield opened
    opened.close()


@contextmanager
def anew(store: str) -> Iterator[Database]:
    """An empty store of the same dialect, however often: for the examples of one test."""
    if store.startswith("sqlite"):
        opened = open_database("sqlite://")
    else:
        with psycopg.connect(store, autocommit=True) as raw:
            _empty(raw)
        opened = open_database(store)
    try:
        yield opened
    finally:
        opened.close()


def _empty(raw: psycopg.Connection[Any]) -> None:
    if raw.execute("SELECT to_regclass('meta')").fetchone() == (None,):
        return
    # A few rows are deleted sooner than thirty tables are truncated.
    deletes = [sql.SQL("DELETE FROM {}").format(sql.Identifier(name)) for name in t.metadata.tables]
    raw.execute(sql.SQL("; ").join(deletes))
