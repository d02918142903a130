"""`freshet local`: up, status, logs, down. May import freshet.local and freshet.settings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from freshet.errors import ConfigurationError, StackError
from freshet.local.applications import freshet_program
from freshet.local.display import lines, memory_bytes, table
from freshet.local.processes import is_same_process, rotate, tail
from freshet.local.stack import COMPONENTS, LocalStack
from freshet.local.state import StackStatus, read_status, remove_status, stop_leftovers, take_lock
from freshet.settings import Settings

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Start, watch and stop the whole system on this machine."
)

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="The stack's home (default: FRESHET_DATA_DIR or .freshet).")
]
_UP_SECONDS = 240.0
_DOWN_SECONDS = 90.0


@app.command()
def up(
    data_dir: DataDir = None,
    components: Annotated[
        str, typer.Option("--components", help=f"Which to run, separated by commas, of: {', '.join(COMPONENTS)}.")
    ] = ",".join(COMPONENTS),
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when all is healthy.")] = False,
) -> None:
    """Start everything: Kafka, Triton, Milvus, workers and services.

    Ctrl-C or `freshet local down` stops it. A model is needed: `freshet demo` or `freshet train` makes one, and
    FRESHET_MODEL_DIR says where it is.
    """
    home = _home(data_dir)
    if detach:
        _up_detached(home, components)
        return
    interactive = sys.stdout.isatty()
    console = Console()
    chosen = [name.strip() for name in components.split(",") if name.strip()]
    ended = threading.Event()
    with _on_signals(ended):
        stack = LocalStack(home, None, chosen, report=lambda line: console.print(line, markup=False, highlight=False))
        try:
            if interactive:
                _with_table(stack, console, ended)
            else:
                stack.start()
                for line in lines(stack.status()):
                    print(line, flush=True)
                ended.wait()
        finally:
            stack.stop()


@app.command()
def status(
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show every component: state, address, since when.

    Exit code 0: all healthy; 1: not all, or nothing runs.
    """
    home = _home(data_dir)
    found = read_status(home)
    if as_json:
        print(json.dumps(_for_programs(found), indent=1))
    elif found is None:
        print(f"nothing runs in {home}")
    else:
        if not found.supervised:
            print(f"the supervisor (process {found.supervisor_pid}) is gone: `freshet local down` clears what it left")
        console = Console()
        if console.is_terminal:
            console.print(table(found))
        else:
            print(*lines(found), sep="\n")
    raise typer.Exit(0 if found is not None and found.healthy else 1)


@app.command()
def logs(
    component: Annotated[str | None, typer.Argument(help="One component; without it, all of them.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written.")] = False,
    count: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines to begin with.")] = 50,
    data_dir: DataDir = None,
) -> None:
    """Show what the components wrote."""
    folder = _home(data_dir) / "logs"
    known = sorted(path.stem for path in folder.glob("*.log"))
    if component is not None and component not in known:
        raise ConfigurationError(
            f"there is no log of {component!r} in {folder}; there are: {', '.join(known) or 'none'}"
        )
    chosen = [component] if component else known
    positions: dict[str, int] = {}
    for name in chosen:
        path = folder / f"{name}.log"
        positions[name] = path.stat().st_size
        for line in tail(path, count):
            print(line if component else f"{name:<10} | {line}")
    while follow:
        time.sleep(0.3)
        for name in chosen:
            positions[name] = _print_new(folder / f"{name}.log", positions[name], "" if component else f"{name:<10} | ")


@app.command()
def down(data_dir: DataDir = None) -> None:
    """Stop everything, also what a killed supervisor left."""
    home = _home(data_dir)
    found = read_status(home)
    if found is None:
        print(f"nothing runs in {home}")
        return
    if found.supervised:
        os.kill(found.supervisor_pid, signal.SIGTERM)
        deadline = time.monotonic() + _DOWN_SECONDS
        while is_same_process(found.supervisor_pid, found.supervisor_started) and time.monotonic() < deadline:
            time.sleep(0.05)
        if is_same_process(found.supervisor_pid, found.supervisor_started):
            print(f"the supervisor (process {found.supervisor_pid}) did not stop in {_DOWN_SECONDS:.0f} s: killing it")
            os.kill(found.supervisor_pid, signal.SIGKILL)
    with take_lock(home):
        left = read_status(home)
        ended = stop_leftovers(left) if left is not None else []
        remove_status(home)
    print(f"stopped{f' (left over: {chr(44).join(ended)})' if ended else ''}")


def _up_detached(home: Path, components: str) -> None:
    log = home / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with take_lock(home):
        rotate(log)
        log.touch(mode=0o600)  # it will hold the console's token
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*freshet_program(), "local", "up", "--data-dir", str(home), "--components", components],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _UP_SECONDS
    while True:
        found = read_status(home)
        if found is not None and found.supervisor_pid == process.pid and found.healthy:
            print(*lines(found), sep="\n")
            return
        if process.poll() is not None:
            raise StackError("the stack did not start:\n" + "\n".join(tail(log, 20)))
        if time.monotonic() > deadline:
            process.terminate()
            raise StackError(f"not everything is healthy after {_UP_SECONDS:.0f} s, stopped again; see {log}")
        time.sleep(0.1)


def _with_table(stack: LocalStack, console: Console, ended: threading.Event) -> None:
    with Live(console=console, get_renderable=lambda: table(stack.status()), refresh_per_second=2):
        stack.start()
        ended.wait()


@contextmanager
def _on_signals(ended: threading.Event) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP ends the waiting (or interrupts the start); later ones change nothing."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        ended.set()
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_new(path: Path, position: int, prefix: str) -> int:
    try:
        if path.stat().st_size < position:
            position = 0
        with path.open("rb") as file:
            file.seek(position)
            written = file.read()
    except FileNotFoundError:
        return 0
    whole = written.rfind(b"\n") + 1
    for line in written[:whole].decode("utf-8", "replace").splitlines():
        print(prefix + line, flush=True)
    return position + whole


def _for_programs(found: StackStatus | None) -> dict[str, object]:
    if found is None:
        return {"state": "stopped", "healthy": False, "components": []}
    return asdict(found) | {
        "healthy": found.healthy,
        "components": [asdict(part) | {"memory_bytes": memory_bytes(part)} for part in found.components],
    }


def _home(data_dir: Path | None) -> Path:
    return (data_dir or Settings().data_dir).absolute()
