"""`freshet db`: look at the database and upgrade it. Imports this package, settings and errors."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from sqlalchemy import Connection, func, select

from freshet.adapters.sql import migrate
from freshet.adapters.sql.engine import open_database
from freshet.adapters.sql.revisions import current, newest
from freshet.adapters.sql.tables import APPLIED_OFFSETS, METADATA
from freshet.errors import ConfigurationError
from freshet.settings import Settings

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Look at and upgrade the database.")

Url = Annotated[str, typer.Option("--url", help="Default: FRESHET_DATABASE_URL.", show_default=False)]


@app.command()
def upgrade(url: Url = "") -> None:
    """Create the database, or bring it to the newest revision."""
    url = _named(url)
    migrate(url)
    typer.echo(f"{open_database(url).name} is at revision {newest()}")


@app.command()
def status(
    url: Url = "", as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """Say its revision, what it holds, how far workers came.

    Exit code 1 when the database is not at the newest revision.
    """
    database = open_database(_named(url), check_revision=False)
    try:
        with database.reading() as connection:
            found = _look(connection, database.name)
    finally:
        database.close()
    typer.echo(json.dumps(found) if as_json else _told(found))
    if found["revision"] != found["newest"]:
        raise typer.Exit(1)


def _look(connection: Connection, name: str) -> dict[str, Any]:
    """Tables and offsets are those of the newest revision: of an older one nothing is read."""
    found: dict[str, Any] = {"database": name, "revision": current(connection), "newest": newest()}
    if found["revision"] != found["newest"]:
        return found
    tables = METADATA.sorted_tables
    applied = connection.execute(select(APPLIED_OFFSETS).order_by(*APPLIED_OFFSETS.primary_key))
    return found | {
        "rows": {table.name: connection.scalar(select(func.count()).select_from(table)) for table in tables},
        "applied": [dict(row) for row in applied.mappings()],
    }


def _told(found: dict[str, Any]) -> str:
    lines = [f"{found['database']}: revision {found['revision'] or 'none'}, newest is {found['newest']}"]
    if found["revision"] != found["newest"]:
        lines.append("Run `freshet db upgrade`.")
    lines += [f"  {table:<18} {rows:>12,} rows" for table, rows in found.get("rows", {}).items()]
    lines += [
        f"  {row['worker']} has applied {row['topic']}/{row['partition']} up to offset {row['next_offset']}"
        for row in found.get("applied", ())
        if not row["topic"].startswith("(")  # A worker's own counters are no topics.
    ]
    return "\n".join(lines)


def _named(url: str) -> str:
    named = url or Settings().database_url
    if named.startswith("memory:"):
        raise ConfigurationError("memory:// keeps nothing outside its process: there is no database to look at")
    return named
