"""The stack as a table for people. May import freshet.local."""

from __future__ import annotations

import time

import psutil
from rich.table import Table
from rich.text import Text

from freshet.local.state import ComponentStatus, StackStatus

_COLOURS = {"healthy": "green", "unhealthy": "red", "restarting": "red", "starting": "yellow"}


def table(status: StackStatus) -> Table:
    """One row per component."""
    shown = Table(title=f"freshet in {status.data_dir}: {status.state}", title_justify="left", title_style="bold")
    if address := console_address(status):
        shown.caption, shown.caption_justify = Text(f"console: {address}"), "left"
    for heading in ("component", "state", "detail"):
        shown.add_column(heading, overflow="ellipsis", no_wrap=True)
    for heading in ("pid", "port", "memory", "restarts", "for"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for part in status.components:
        shown.add_row(
            part.name,
            f"[{_COLOURS.get(part.state, 'dim')}]{part.state}[/]",
            part.detail.splitlines()[0] if part.detail else "",
            str(part.pid or ""),
            str(part.port or ""),
            memory_text(part),
            str(part.restarts),
            _duration(time.time() - part.since) if part.since else "",
        )
    return shown


def lines(status: StackStatus) -> list[str]:
    """The same without a terminal: one line per component, in fixed columns."""
    found = []
    for part in status.components:
        place = f"127.0.0.1:{part.port}" if part.port else "-"
        found.append(
            f"{part.name:<10} {part.state:<10} pid {part.pid or '-':<8} {place:<16} {memory_text(part):>8} "
            f"restarts {part.restarts}  {part.detail.splitlines()[0] if part.detail else ''}".rstrip()
        )
    if address := console_address(status):
        found.append(f"console: {address}")
    return found


def console_address(status: StackStatus) -> str:
    """Where the web page is, with the token that lets it change things; empty when this stack runs none."""
    part = next((part for part in status.components if part.name == "console"), None)
    console = status.settings.get("console", {})
    if part is None or not console:
        return ""
    return f"http://{console.get('host', '127.0.0.1')}:{console['port']}/#token={console['token']}"


def memory_bytes(part: ComponentStatus) -> int:
    """Resident memory of a component's process and its children; 0 when there is none."""
    if not part.pid:
        return 0
    total = 0
    try:
        process = psutil.Process(part.pid)
        for member in (process, *process.children(recursive=True)):
            total += member.memory_info().rss
    except psutil.Error:
        return total
    return total


def memory_text(part: ComponentStatus) -> str:
    used = memory_bytes(part)
    return f"{used / 2**20:.0f} MB" if used else ""


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
