"""How every benchmark prints: a table for people, and one JSON object for machines."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

DIRECTORY = Path("build/benchmarks")


def report(name: str, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], as_json: bool) -> None:
    """Print `rows` as a table and `summary` beneath it, and write both to build/benchmarks/NAME.json.

    With `as_json` the last line on standard output is the summary as one JSON object, and the table goes to
    standard error.
    """
    console = Console(stderr=as_json, highlight=False)
    table = Table(title=name, title_justify="left")
    # What has parts is in the file and in the summary.
    columns = list(dict.fromkeys(name for row in rows for name, value in row.items() if not isinstance(value, Mapping)))
    for column in columns:
        numeric = all(isinstance(row.get(column, 0), int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_text(row.get(column, "")) for column in columns))
    console.print(table)
    for key, value in summary.items():
        console.print(f"{key}: {_text(value)}", markup=False)
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "platform": platform.platform()}
    document = {"name": name, "at": datetime.now(UTC).isoformat(), "machine": machine, "rows": list(rows)}
    path = DIRECTORY / f"{name}.json"
    path.write_text(json.dumps(document | {"summary": dict(summary)}, indent=2, default=str) + "\n")
    if as_json:
        print(json.dumps(dict(summary), default=str), flush=True)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
