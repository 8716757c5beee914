from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import StaticPool

from domain.errors import StoreError
from store import tables as t
from store.database import SCHEMA_VERSION, open_database
from store.migrations.run import head, upgrade


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "s.db"


def schema(path: Path) -> dict[str, str]:
    """What the file itself says of its tables and indexes, by name."""
    with sqlite3.connect(path) as raw:
        found = dict(raw.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    raw.close()
    return found


def test_the_migrated_schema_is_the_one_the_code_knows(path: Path) -> None:
    """Alembic finds no difference between what migrations make and what the tables say."""
    open_database(f"sqlite:///{path}").close()
    raw = sqlite3.connect(path)
    engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, t.metadata) == []
    engine.dispose()
    raw.close()


def test_the_migrated_indexes_are_the_ones_the_code_knows(path: Path, tmp_path: Path) -> None:
    """Names, columns, uniqueness, conditions and the tables without row ids are equal too."""
    open_database(f"sqlite:///{path}").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    t.metadata.create_all(engine)
    seen = inspect(engine).get_table_names()
    engine.dispose()
    made, migrated = schema(tmp_path / "made.db"), schema(path)
    del migrated["alembic_version"]
    assert len(seen) == len(t.metadata.tables)
    assert migrated.keys() == made.keys()
    for name in made:
        assert _words(migrated[name]) == _words(made[name]), name


def _words(sql: str) -> list[str]:
    # Columns may stand in another order within a constraint's line; spacing means nothing.
    return sorted(sql.replace(",", " ").replace("(", " ").replace(")", " ").split())


def test_the_newest_migration_is_the_version_that_the_program_writes() -> None:
    """A migration cannot be added without the program knowing of it."""
    assert head() == SCHEMA_VERSION


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    """A file of no bytes, as `mktemp` makes it, is taken for a new store."""
    path.touch()
    database = open_database(f"sqlite:///{path}")
    assert database.meta("key_check") == database.vault.check
    database.close()
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [
            (SCHEMA_VERSION,)
        ]
    raw.close()


def test_opening_again_changes_nothing(path: Path) -> None:
    """A store that is up to date is left as it is."""
    open_database(f"sqlite:///{path}").close()
    before = schema(path)
    open_database(f"sqlite:///{path}").close()
    assert schema(path) == before


def test_an_interrupted_making_can_be_begun_again(path: Path) -> None:
    """Whichever statement it stops at, the file is as before, and the next opening makes it."""
    for last in (1, 10, 40):
        raw = sqlite3.connect(path, isolation_level=None)
        made = 0

        def stop(action: int, *_: object, until: int = last) -> int:
            nonlocal made
            made += action == sqlite3.SQLITE_INSERT
            return sqlite3.SQLITE_DENY if made > until else sqlite3.SQLITE_OK

        raw.set_authorizer(stop)
        with pytest.raises(StoreError, match="cannot be migrated"):
            upgrade(raw, place=str(path))
        raw.close()
        assert schema(path) == {}
    open_database(f"sqlite:///{path}").close()


@pytest.mark.parametrize(
    ("writable", "cause", "remedy"),
    [(True, "cannot be migrated", "newer version"), (False, "is of schema `9999`", "migrate")],
)
def test_a_store_of_a_newer_version_is_refused(
    path: Path, writable: bool, cause: str, remedy: str
) -> None:
    """A schema that this program does not know is refused with a remedy, and left alone."""
    open_database(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(StoreError, match=cause) as told:
        open_database(f"sqlite:///{path}", writable=writable)
    assert told.value.place == str(path)
    assert remedy in str(told.value.remedy)
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    raw.close()


@pytest.mark.parametrize("writable", [True, False])
def test_another_programs_database_is_left_alone(path: Path, writable: bool) -> None:
    """Tables of somebody else's file are neither migrated nor added to."""
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE bookmarks (url TEXT)")
    raw.close()
    with pytest.raises(StoreError):
        open_database(f"sqlite:///{path}", writable=writable)
    assert schema(path).keys() == {"bookmarks"}
