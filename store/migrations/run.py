"""Brings a store's schema up to date on the connection that holds its lock."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from domain.errors import StoreError
from store.statements import DialectName

# Without a transaction around it each table is a commit of its own on SQLite, and a store whose
# making was interrupted could neither be used nor made again.
_ENGINES: Mapping[DialectName, tuple[str, str, Mapping[str, Any]]] = {
    "sqlite": ("sqlite://", "BEGIN IMMEDIATE", {}),
    "postgresql": ("postgresql+psycopg://", "BEGIN", {"use_native_hstore": False}),
}


def configuration() -> Config:
    """Alembic's settings, without a file of their own."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def head() -> str:
    """The newest schema version that there is a migration for."""
    newest = ScriptDirectory.from_config(configuration()).get_current_head()
    assert newest is not None
    return newest


def upgrade(connection: Any, *, place: str, dialect: DialectName = "sqlite") -> None:
    """Run the migrations that this store lacks, in one transaction on the driver's connection."""
    url, begin, options = _ENGINES[dialect]
    engine = create_engine(url, creator=lambda: connection, poolclass=StaticPool, **options)
    config = configuration()
    try:
        with engine.connect() as shared:
            shared.exec_driver_sql(begin)
            config.attributes["connection"] = shared
            command.upgrade(config, "head")
            shared.commit()
    except DBAPIError as error:
        raise StoreError(
            f"the store cannot be migrated: {error.orig}",
            place=place,
            remedy="it is as it was before: free the disk, or restore a backup",
        ) from error
    except CommandError as error:
        raise StoreError(
            f"the store cannot be migrated: {error}",
            place=place,
            remedy="it was written by a newer version of this program; use that one",
        ) from error
