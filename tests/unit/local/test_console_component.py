"""What the stack adds for the console: ports for metrics, an address with its token, a file for this user alone."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

from freshet.local.display import console_address, lines
from freshet.local.ports import choose, choose_run
from freshet.local.state import ComponentStatus, StackStatus, write_status


def status(home: Path) -> StackStatus:
    return StackStatus(
        data_dir=str(home),
        state="ready",
        supervisor_pid=1,
        supervisor_started=1.0,
        settings={"console": {"port": 7072, "token": "a-token"}},
        components=(ComponentStatus(name="console", state="healthy", port=7072),),
    )


def test_the_address_of_the_page_is_among_the_lines(tmp_path: Path) -> None:
    assert console_address(status(tmp_path)) == "http://127.0.0.1:7072/#token=a-token"
    assert lines(status(tmp_path))[-1] == "console: http://127.0.0.1:7072/#token=a-token"


def test_a_stack_without_the_console_has_no_address(tmp_path: Path) -> None:
    assert console_address(StackStatus(str(tmp_path), "ready", 1, 1.0)) == ""


def test_the_file_with_the_token_is_for_this_user_alone(tmp_path: Path) -> None:
    write_status(tmp_path, status(tmp_path))
    assert stat.S_IMODE((tmp_path / "stack.json").stat().st_mode) == 0o600


def test_ports_in_a_row_are_all_free_and_none_of_those_taken() -> None:
    first = choose(0)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        busy = held.getsockname()[1]
        for run in (choose_run(busy, 2), choose_run(busy - 1, 3), choose_run(first, 2, {first + 1})):
            assert busy not in run
        assert len(choose_run(0, 4)) == 4
        assert first + 1 not in choose_run(first, 2, {first + 1})
