"""`freshet db`: look at the database and upgrade it. Imports this package, settings and errors."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy import func, select

from freshet.adapters.sql import migrate
from freshet.adapters.sql.engine import open_database
from freshet.adapters.sql.revisions import current, newest
from freshet.adapters.sql.tables import APPLIED_OFFSETS, METADATA
from freshet.errors import ConfigurationError
from freshet.settings import Settings

app = typer.Typer(
    add_completion=False, no_args_is_help=True, rich_markup_mode=None, help="Look at and upgrade the database."
)

Url = Annotated[str, typer.Option("--url", help="Default: FRESHET_DATABASE_URL.", show_default=False)]


@app.command()
def upgrade(url: Url = "") -> None:
    """Create the database, or bring it to the newest revision."""
    url = _named(url)
    migrate(url)
    typer.echo(f"{open_database(url).name} is at revision {newest()}")


@app.command()
def status(url: Url = "") -> None:
    """Say which revision the database is at, how much it holds and how far each worker has come.

    Exit code 1 when the database is not at the newest revision.
    """
    database = open_database(_named(url), check_revision=False)
    try:
        with database.reading() as connection:
            revision = current(connection)
            typer.echo(f"{database.name}: revision {revision or 'none'}, newest is {newest()}")
            if revision != newest():
                typer.echo("Run `freshet db upgrade`.")
                raise typer.Exit(1)
            for table in METADATA.sorted_tables:
                rows = connection.scalar(select(func.count()).select_from(table))
                typer.echo(f"  {table.name:<16} {rows:>12,} rows")
            for row in connection.execute(select(APPLIED_OFFSETS).order_by(*APPLIED_OFFSETS.primary_key)):
                typer.echo(f"  {row.worker} has applied {row.topic}/{row.partition} up to offset {row.next_offset}")
    finally:
        database.close()


def _named(url: str) -> str:
    named = url or Settings().database_url
    if named.startswith("memory:"):
        raise ConfigurationError("memory:// keeps nothing outside its process: there is no database to look at")
    return named
