"""Stores over SQLite and PostgreSQL: state and the offsets it reflects, in one transaction. Imports domain and ports.

Why it is so: docs/decisions/0001-stores.md.
"""

from __future__ import annotations

from pathlib import Path

from freshet.adapters.sql.catalog import SqlCatalogStore
from freshet.adapters.sql.engine import is_sqlite, open_database, parse
from freshet.adapters.sql.profiles import SqlProfileStore
from freshet.adapters.sql.revisions import alone, upgrade
from freshet.adapters.sql.serving import SqlServingStore

__all__ = ["migrate", "open_catalog_store", "open_profile_store", "open_serving_store"]


def open_catalog_store(url: str, model_version: str) -> SqlCatalogStore:
    """Connects at the first call, which raises ConfigurationError when the database is not at the newest revision."""
    return SqlCatalogStore(open_database(url), model_version)


def open_profile_store(url: str) -> SqlProfileStore:
    """Connects at the first call, which raises ConfigurationError when the database is not at the newest revision."""
    return SqlProfileStore(open_database(url))


def open_serving_store(url: str) -> SqlServingStore:
    """Connects at the first call, which raises ConfigurationError when the database is not at the newest revision."""
    return SqlServingStore(open_database(url))


def migrate(url: str) -> None:
    """Create the database, or bring it to the newest revision. Several processes may call it at once."""
    parsed = parse(url)
    if is_sqlite(parsed):
        with alone(Path(parsed.database or "")):
            _upgrade(url)
    else:
        _upgrade(url)


def _upgrade(url: str) -> None:
    database = open_database(url, check_revision=False)
    try:
        with database.writing() as connection:
            upgrade(connection)
    finally:
        database.close()
