"""The `freshet` command: mounts every room's commands, and turns errors into one readable line.

Rooms are loaded when their command is asked for, so that `freshet --help` and shell completion stay quick.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from typing import Annotated, Any, cast

import typer
import typer.core
import typer.main
from rich.console import Console

from freshet.errors import ConfigurationError, DependencyDown, FreshetError

COMMANDS: dict[str, tuple[str, str, str]] = {
    "local": ("freshet.local.commands", "app", "Start, watch and stop the whole system on this machine."),
    "demo": ("freshet.demo.commands", "app", "A shop of its own: train, click, see the answer change."),
    "doctor": ("freshet.doctor.commands", "app", "Check every connection and version, and say what to do."),
    "publish": ("freshet.ingest.commands", "publish_app", "Publish products, reviews or interactions from files."),
    "import": ("freshet.ingest.commands", "import_app", "Publish a known data set."),
    "recommend": ("freshet.recommend.commands", "recommend_app", "Ask a running service what a shopper may want."),
    "search": ("freshet.recommend.search_commands", "search_app", "Search by words, by a picture, or by both."),
    "console": ("freshet.console.commands", "app", "The web page: lag, freshness, dead letters and a playground."),
    "inspect": ("freshet.inspect.commands", "app", "What is known of a product; near-identical products."),
    "lag": ("freshet.stream.commands", "lag_app", "How far each worker is behind."),
    "dead-letters": ("freshet.stream.commands", "dead_letters_app", "List, show and replay what could not be read."),
    "train": ("freshet.representation.commands", "app", "Train the model and write its Triton repository."),
    "export": (
        "freshet.representation.export_commands",
        "app",
        "Write a trained model anew: in 8 bits, for another backend.",
    ),
    "evaluate": ("freshet.evaluate.commands", "app", "Measure the quality of recommendations."),
    "worker": ("freshet.stream.commands", "worker_app", "Run a stream worker."),
    "serve": ("freshet.serve", "app", "Run a gRPC service: recommend or ingest."),
    "db": ("freshet.adapters.sql.commands", "app", "Look at and upgrade the database."),
}
"""Name → (module, Typer application, help), in the order in which `--help` shows them."""
CLIENTS = frozenset(
    {"doctor", "publish", "import", "recommend", "search", "inspect", "console", "lag", "dead-letters", "db"}
)
"""Commands that speak to a system: to the local stack when one runs, unless the environment names another."""


class _Rooms(typer.core.TyperGroup):
    """A group whose members are imported when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        if ctx.resilient_parsing or "--help" in sys.argv[1:2]:
            return typer.main.get_group(_placeholder(COMMANDS[cmd_name][2]))
        return _load(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Shell completion lists the rooms by their help alone, and opens the one whose words are to be completed."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            meant = f"did you mean `freshet {near[0]}`? " if near else ""
            raise ConfigurationError(f"there is no command {args[0]!r}; {meant}`freshet --help` lists them")
        name, command, rest = super().resolve_command(ctx, args)
        if ctx.resilient_parsing and name in COMMANDS:
            command = _load(name)
        return name, command, rest

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().make_context(*arguments, **options)
        except _UsageError as error:
            raise _told(error) from error

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            raise _told(error) from error


_UsageError: type[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")


def _told(error: Any) -> Exception:
    """What was typed wrong, as one line; a group that was given no command still answers with its help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return cast(Exception, error)
    said = error.format_message().replace("Value error, ", "").rstrip(".")
    path = error.ctx.command_path if error.ctx is not None else "freshet"
    return ConfigurationError(f"{said[:1].lower()}{said[1:]}; see `{path} --help`")


def _load(name: str) -> Any:
    module, attribute, _help = COMMANDS[name]
    application: typer.Typer = getattr(importlib.import_module(module), attribute)
    command = typer.main.get_command(application)
    command.name = name
    _plain(command)
    return command


def _plain(command: Any) -> None:
    """Help as plain text in every room: it fits narrow terminals, and keeps words in [brackets]."""
    command.rich_markup_mode = None
    for member in getattr(command, "commands", {}).values():
        _plain(member)


def _placeholder(help_text: str) -> typer.Typer:
    application = typer.Typer(help=help_text)

    @application.callback()
    def described() -> None: ...

    return application


app = typer.Typer(
    cls=_Rooms,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Freshet: a streaming recommender. Publish an event, and the next recommendation already shows it.",
)


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"freshet {version('freshet')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole trace of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Say which Freshet this is.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    if debug:
        os.environ["FRESHET_DEBUG"] = "1"
    if ctx.invoked_subcommand in CLIENTS and "--help" not in sys.argv:
        _find_local_stack()


def _find_local_stack() -> None:
    from freshet.local.state import environment_of, running_stack_settings

    if (settings := running_stack_settings()) is not None:
        os.environ.update(environment_of(settings))


def main(arguments: list[str] | None = None) -> Any:
    """The console script. Exit codes: 0 done, 1 done in part, 2 cannot be done as asked, 130 interrupted."""
    try:
        return app(args=arguments, prog_name="freshet")
    except FreshetError as error:
        if os.environ.get("FRESHET_DEBUG"):
            raise
        Console(stderr=True, highlight=False).print(f"freshet: {error}{_next(error)}", markup=False, soft_wrap=True)
        raise SystemExit(2) from error
    except KeyboardInterrupt as error:
        raise SystemExit(130) from error


def _next(error: FreshetError) -> str:
    """What to do about a system that does not answer: where it was looked for, and what says more."""
    if not isinstance(error, DependencyDown):
        return ""
    from freshet.settings import Settings

    settings = Settings()
    asked = {"kafka": settings.kafka_url, "milvus": settings.index_url, "triton": settings.encoder_url}
    where = f" (asked at {asked[error.dependency]})" if error.dependency in asked else ""
    return f"{where}. `freshet doctor` tells what runs; `freshet local up` starts a system on this machine"
