"""Shell completion: the scripts that shells are given, and the words that are offered."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from freshet.cli import COMMANDS, app


def asked(words: str, **variables: str) -> str:
    environment = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), **variables}
    done = CliRunner().invoke(app, [], prog_name="freshet", env=environment)
    assert done.exit_code in (0, 1), done.output
    return done.stdout


def offered(words: str) -> list[str]:
    return asked(words, _FRESHET_COMPLETE="complete_bash").split()


@pytest.mark.parametrize(
    ("shell", "says"),
    [
        ("bash", "complete -o default -F _freshet_completion freshet"),
        ("zsh", "#compdef freshet"),
        ("fish", "complete --command freshet"),
    ],
)
def test_every_shell_gets_its_script(shell: str, says: str) -> None:
    assert says in asked("freshet", _FRESHET_COMPLETE=f"source_{shell}")


def test_commands_are_offered() -> None:
    assert offered("freshet ") == list(COMMANDS)
    assert offered("freshet dea") == ["dead-letters"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("freshet local ", ["up", "status", "logs", "down"]),
        ("freshet worker ca", ["catalog"]),
        ("freshet dead-letters re", ["replay"]),
        ("freshet local status --j", ["--json"]),
    ],
)
def test_the_words_of_a_command_are_offered(words: str, expected: list[str]) -> None:
    assert offered(words) == expected
