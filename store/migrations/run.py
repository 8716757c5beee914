"""Brings a store's schema up to date on the connection that holds its lock."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from domain.errors import StoreError


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


def upgrade(connection: sqlite3.Connection, *, place: str) -> None:
    """Run the migrations that this store lacks, in one transaction."""
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    config = configuration()
    try:
        with engine.connect() as shared:
            # Without this each table is a commit of its own, and a store whose making was
            # interrupted could neither be used nor made again.
            shared.exec_driver_sql("BEGIN IMMEDIATE")
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
