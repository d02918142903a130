"""`freshet doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from freshet.doctor.checks import examine
from freshet.settings import Settings

MARKS = {"good": "[green]✓[/green]", "wrong": "[red]✗[/red]", "not looked at": "[dim]·[/dim]"}

app = typer.Typer(add_completion=False, help="Check every connection and version, and say what to do.")


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object on standard output.")] = False,
) -> None:
    """Look at this machine, at what Freshet depends on, and at Freshet itself; say what is wrong and what to do.

    It asks what the settings name: the local stack where one runs, else the environment (FRESHET_…). Changes nothing.
    Exit code 1 when anything is wrong.
    """
    console = Console(stderr=as_json, highlight=False)
    findings, group = [], ""
    for finding in examine(Settings()):
        if finding.group != group:
            group = finding.group
            console.print(f"[bold]{group.capitalize()}[/bold]")
        console.print(f"  {MARKS[finding.state]} {finding.name}: {escape(finding.found)}", soft_wrap=True)
        if finding.advice:
            console.print(f"    → {escape(finding.advice)}", soft_wrap=True)
        findings.append(finding)
    wrong = sum(finding.state == "wrong" for finding in findings)
    console.print(f"{wrong} to be put right." if wrong else "All is well.")
    if as_json:
        print(json.dumps({"good": not wrong, "checks": [asdict(finding) for finding in findings]}))
    raise typer.Exit(1 if wrong else 0)
