"""What a stranger sees: help that says what a command is for, and one readable line, exit code 2, for a mistake."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from freshet.cli import COMMANDS, _load, app, main


def commands() -> Iterator[tuple[str, Any]]:
    def below(path: str, command: Any) -> Iterator[tuple[str, Any]]:
        yield path, command
        for name, member in getattr(command, "commands", {}).items():
            yield from below(f"{path} {name}", member)

    for name in COMMANDS:
        yield from below(name, _load(name))


EVERY = dict(commands())


def mistaken(capsys: pytest.CaptureFixture[str], words: str) -> str:
    """The one line that `freshet WORDS` answers with."""
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert line.startswith("freshet: ")
    return line


@pytest.mark.parametrize("path", EVERY)
def test_help_says_what_a_command_and_each_of_its_options_is_for(path: str) -> None:
    command = EVERY[path]
    assert (command.help or "").strip(), path
    for parameter in command.params:
        assert (getattr(parameter, "help", "") or "").strip(), f"{path}: {parameter.name}"


@pytest.mark.parametrize("path", [path for path, command in EVERY.items() if getattr(command, "commands", {})])
def test_a_listing_of_commands_is_not_cut_off(path: str) -> None:
    shown = CliRunner().invoke(app, [*path.split(), "--help"], prog_name="freshet", env={"COLUMNS": "80"})
    assert shown.exit_code == 0, shown.output
    assert "..." not in shown.stdout.partition("Commands:")[2]


def test_the_first_help_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["freshet", "--help"])
    shown = CliRunner().invoke(app, ["--help"], prog_name="freshet", env={"COLUMNS": "80"}).stdout
    listed = shown.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.splitlines() if line] == list(COMMANDS)
    assert "..." not in listed


@pytest.mark.parametrize("path", ["publish products", "publish interactions"])
def test_words_in_brackets_are_not_taken_for_markup(path: str) -> None:
    shown = CliRunner().invoke(app, [*path.split(), "--help"], prog_name="freshet", env={"COLUMNS": "200"}).stdout
    assert "tables [columns] and [constants]" in " ".join(shown.split())


def test_the_version_is_told() -> None:
    told = CliRunner().invoke(app, ["--version"], prog_name="freshet")
    assert (told.exit_code, told.stdout) == (0, f"freshet {version('freshet')}\n")


def test_a_command_without_members_asks_for_none() -> None:
    for name in ("worker", "console", "lag"):
        assert "COMMAND" not in EVERY[name].get_usage(typer.main.get_command(app).context_class(EVERY[name]))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("publsh", "there is no command 'publsh'; did you mean `freshet publish`?"),
        ("xyzzy", "there is no command 'xyzzy'; `freshet --help` lists them"),
        ("--bogus", "no such option: --bogus"),
        ("worker nope", "'nope' is not one of 'catalog', 'index', 'profiles', 'all'; see `freshet worker --help`"),
        ("publish products", "missing argument 'FILE…'; see `freshet publish products --help`"),
        ("publish products /no/such.csv", "/no/such.csv: there is no such file"),
        ("evaluate /no/such", "/no/such: there is no such folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(capsys: pytest.CaptureFixture[str], words: str, told: str) -> None:
    assert told in mistaken(capsys, words)


def test_a_system_that_does_not_answer_is_told_with_its_address_and_the_next_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("freshet.cli._find_local_stack", lambda: None)
    monkeypatch.setenv("FRESHET_KAFKA_URL", "kafka://127.0.0.1:1")
    line = mistaken(capsys, "lag")
    assert "kafka is not available" in line
    assert "kafka://127.0.0.1:1" in line
    assert "freshet doctor" in line
