"""The database's revision: Alembic, run from inside the package. Imports SQLAlchemy, Alembic and errors."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from freshet.errors import ConfigurationError

_ADVISORY_LOCK = 0x46524553  # any number that no one else uses in this database


def require_newest(connection: Connection, name: str) -> None:
    """Raises ConfigurationError when the database is not at the newest revision that this Freshet knows."""
    at = current(connection)
    if at == newest():
        return
    if at is not None and at not in {script.revision for script in _scripts().walk_revisions()}:
        raise ConfigurationError(f"{name} was upgraded by a newer Freshet (revision {at}): run that one here too")
    raise ConfigurationError(f"{name} is at revision {at or 'none'}, {newest()} is needed: run `freshet db upgrade`")


def current(connection: Connection) -> str | None:
    """The database's revision; None where nothing was ever created."""
    return MigrationContext.configure(connection).get_current_revision()


@cache
def newest() -> str:
    head = _scripts().get_current_head()
    assert head is not None
    return head


def upgrade(connection: Connection) -> None:
    """All revisions that are missing, in the transaction that `connection` is in."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """One process at a time for the SQLite file at `path`, which is created: switching to WAL would not wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".upgrade-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path.touch()
        yield


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
