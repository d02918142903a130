"""Connections, transactions and bulk statements over SQLite and PostgreSQL. Imports SQLAlchemy, tables and errors.

SQLite: one kept connection, taken in turns by any thread, in the driver's autocommit mode, so that every read sees the
newest commit; a write takes the database's write lock at its start (BEGIN IMMEDIATE), because a read that turns into a
write fails at once, without waiting, when another process committed in between.
PostgreSQL: a pool; reads in autocommit, writes in a transaction.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, LargeBinary, Table, create_engine, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool

from freshet import tracing
from freshet.adapters.sql.checkpoints import Checkpoints
from freshet.adapters.sql.revisions import require_newest
from freshet.errors import ConfigurationError, DependencyDown

BUSY_TIMEOUT_SECONDS = 5.0
_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]


class Database(ABC):
    """One database. Building it touches nothing; the first use connects and checks the revision.

    `embedded` is true when a call is a library's and not a network's.
    """

    embedded: bool
    name: str

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection]:
        """Every statement sees the newest commit."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Connection]:
        """One transaction: committed at the end, rolled back by an exception."""

    @abstractmethod
    def upsert(self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert or replace rows, each in the order of the table's columns; keys are distinct within a call."""

    @abstractmethod
    def select(
        self, connection: Connection, columns: Sequence[Column[Any]], key: Column[Any], keys: Sequence[Any]
    ) -> Sequence[Any]:
        """Tuples of `columns` (of the key's table) where `key` is one of `keys`. All keys travel as one parameter."""

    @abstractmethod
    def lock(self, connection: Connection, table: Table) -> None:
        """Inside `writing`: nobody else writes this table until the end of the transaction."""

    @abstractmethod
    def change_counter(self) -> int:
        """Another number after any commit by another connection."""

    @abstractmethod
    def close(self) -> None: ...


def open_database(url: str, *, check_revision: bool = True) -> Database:
    """The database that a ``sqlite:///…`` or ``postgresql://…`` URL names. Raises ConfigurationError for any other."""
    parsed = parse(url)
    return SqliteDatabase(parsed, check_revision) if is_sqlite(parsed) else PostgresqlDatabase(parsed, check_revision)


def parse(url: str) -> URL:
    """The URL with the driver that Freshet uses. Raises ConfigurationError."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError(f"database_url {url!r} cannot be read: {error}") from error
    match parsed.get_backend_name():
        case "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise ConfigurationError("database_url names no file; write sqlite:///PATH, or memory://NAME for tests")
            return parsed.set(drivername="sqlite+pysqlite")
        case "postgresql":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise ConfigurationError(f"database_url begins with {other}://; it must be sqlite:///… or postgresql://…")


def _without_secrets(url: URL) -> str:
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)


def is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


class SqliteDatabase(Database):
    embedded = True

    def __init__(self, url: URL, check_revision: bool = True) -> None:
        self.name = _without_secrets(url)
        self._path = Path(url.database or "")
        self._check_revision = check_revision
        self._engine = _sqlite_engine(url)
        self._checkpoints = Checkpoints(self._path)
        self._turn = threading.RLock()
        self._connection: Connection | None = None
        self._connects = 0

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._turn, _outages():
            connection = self._connection or self._connect()
            try:
                yield connection
            except DBAPIError:
                self._drop()
                raise

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with tracing.span("sql transaction"), self.reading() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.exec_driver_sql("COMMIT")
            except BaseException:
                self._drop()  # closing rolls back, whatever the connection's state
                raise
            self._checkpoints.written()

    def upsert(self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            connection.exec_driver_sql(_sqlite_upsert(table), list(rows))

    def select(
        self, connection: Connection, columns: Sequence[Column[Any]], key: Column[Any], keys: Sequence[Any]
    ) -> Sequence[Any]:
        return connection.exec_driver_sql(_sqlite_select(tuple(columns), key), (json.dumps(list(keys)),)).fetchall()

    def lock(self, connection: Connection, table: Table) -> None:
        """Nothing to do: BEGIN IMMEDIATE has locked them all."""

    def change_counter(self) -> int:
        with self.reading() as connection:
            seen = connection.exec_driver_sql("PRAGMA data_version").scalar_one()
            return self._connects << 32 | int(seen)  # data_version starts anew with each connection

    def close(self) -> None:
        with self._turn:
            self._checkpoints.close()
            self._drop()
            self._engine.dispose()

    def _connect(self) -> Connection:
        if not self._path.exists():
            raise ConfigurationError(f"There is no database at {self._path}; run `freshet db upgrade`")
        connection = self._engine.connect()
        try:
            if self._check_revision:
                require_newest(connection, self.name)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._connects += 1
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class PostgresqlDatabase(Database):
    embedded = False

    def __init__(self, url: URL, check_revision: bool = True) -> None:
        self.name = _without_secrets(url)
        self._engine = create_engine(
            url, pool_size=4, max_overflow=12, pool_timeout=BUSY_TIMEOUT_SECONDS, hide_parameters=True
        )
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._unchecked = check_revision
        self._checking = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with _outages():
            self._check()
            with self._autocommit.connect() as connection:
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with tracing.span("sql transaction"), _outages():
            self._check()
            with self._engine.begin() as connection:
                yield connection

    def upsert(self, connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            columns = tuple([row[i] for row in rows] for i in range(len(table.columns)))
            connection.exec_driver_sql(_postgresql_upsert(table), columns)

    def select(
        self, connection: Connection, columns: Sequence[Column[Any]], key: Column[Any], keys: Sequence[Any]
    ) -> Sequence[Any]:
        return connection.exec_driver_sql(_postgresql_select(tuple(columns), key), (list(keys),)).fetchall()

    def lock(self, connection: Connection, table: Table) -> None:
        connection.exec_driver_sql(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE")

    def change_counter(self) -> int:
        # The snapshot is the set of transactions that are visible: it differs after every commit, and costs no table.
        with self.reading() as connection:
            return hash(connection.exec_driver_sql("SELECT pg_current_snapshot()::text").scalar_one())

    def close(self) -> None:
        self._engine.dispose()

    def _check(self) -> None:
        if self._unchecked:
            with self._checking, self._autocommit.connect() as connection:
                require_newest(connection, self.name)
                self._unchecked = False


@contextmanager
def _outages() -> Iterator[None]:
    """What the database could not do now becomes DependencyDown; what it must not do stays the driver's error."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise DependencyDown("sql", str(error.orig).strip()) from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise DependencyDown("sql", str(error.orig).strip()) from error
    except PoolTimeout as error:
        raise DependencyDown("sql", str(error)) from error


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_SECONDS},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def tune(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "temp_store=MEMORY",
            "cache_size=-65536",
            "wal_autocheckpoint=0",  # Checkpoints does it
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    return engine


@lru_cache
def _sqlite_upsert(table: Table) -> str:
    values = ", ".join("?" for _ in table.columns)
    return f"INSERT INTO {table.name} ({_names(table.columns)}) VALUES ({values}) {_on_conflict(table)}"


@lru_cache
def _postgresql_upsert(table: Table) -> str:
    # %b sends blobs as they are; as text they would be twice the size.
    arrays = ", ".join(
        f"{'%b' if isinstance(column.type, LargeBinary) else '%s'}::{column.type.compile(_POSTGRESQL)}[]"
        for column in table.columns
    )
    return f"INSERT INTO {table.name} ({_names(table.columns)}) SELECT * FROM unnest({arrays}) {_on_conflict(table)}"


@lru_cache
def _sqlite_select(columns: tuple[Column[Any], ...], key: Column[Any]) -> str:
    return f"SELECT {_names(columns)} FROM {key.table.name} WHERE {key.name} IN (SELECT value FROM json_each(?))"


@lru_cache
def _postgresql_select(columns: tuple[Column[Any], ...], key: Column[Any]) -> str:
    array = f"%s::{key.type.compile(_POSTGRESQL)}[]"
    return f"SELECT {_names(columns)} FROM {key.table.name} WHERE {key.name} = ANY({array})"


def _on_conflict(table: Table) -> str:
    changes = ", ".join(f"{c.name} = excluded.{c.name}" for c in table.columns if not c.primary_key)
    return f"ON CONFLICT ({_names(table.primary_key.columns)}) DO UPDATE SET {changes}"


def _names(columns: Any) -> str:
    return ", ".join(column.name for column in columns)
