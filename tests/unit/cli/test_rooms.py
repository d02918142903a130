"""What every room of the `freshet` command has in common."""

from __future__ import annotations

import importlib

import pytest
import typer.main

from freshet.cli import COMMANDS, app


def options(application: typer.Typer) -> set[str]:
    return {name for parameter in typer.main.get_command(application).params for name in parameter.opts}


@pytest.mark.parametrize("room", COMMANDS)
def test_completion_is_set_up_by_freshet_itself_and_not_by_its_rooms(room: str) -> None:
    module, attribute, _help = COMMANDS[room]
    setters = {"--install-completion", "--show-completion"}
    assert setters <= options(app)
    assert not setters & options(getattr(importlib.import_module(module), attribute))
