"""`freshet console`. May import settings, the local stack's state and this room."""

from __future__ import annotations

import secrets
import socket
import sys
from typing import Annotated

import typer
import uvicorn

from freshet.console.guard import is_loopback
from freshet.errors import ConfigurationError
from freshet.settings import Settings
from freshet.telemetry import configure_logging

app = typer.Typer(add_completion=False, help="The web page: lag, freshness, dead letters and a playground.")
STOP_SECONDS = 2


@app.command()
def console(
    host: Annotated[
        str | None, typer.Option(help="Where to listen (default: FRESHET_CONSOLE__HOST or loopback).")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="0: any free one (default: FRESHET_CONSOLE__PORT or 7072).")
    ] = None,
) -> None:
    """Serve the page for the running local stack, or for the system that the settings name, until Ctrl-C or SIGTERM.

    The address is printed with a token: without it nothing can be changed, and beyond loopback nothing is shown.
    FRESHET_CONSOLE__TOKEN sets it, and then it is printed on a terminal alone.
    """
    settings = Settings()
    configure_logging(settings, "console")
    changes = {"host": host, "port": port, "token": settings.console.token or secrets.token_urlsafe(24)}
    chosen = settings.console.model_copy(update={name: value for name, value in changes.items() if value is not None})
    listener = _listen(chosen.host, chosen.port)
    chosen = chosen.model_copy(update={"port": listener.getsockname()[1]})
    from freshet.console.app import build

    address = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
    # A token that was given is known to whoever gave it, and this may go to a log that others read.
    shown = not settings.console.token or sys.stdout.isatty()
    fragment = f"#token={chosen.token}" if shown else ""
    print(f"freshet console: http://{address}:{chosen.port}/{fragment}", flush=True)
    if not is_loopback(chosen.host):
        print(f"{chosen.host} is reached from other machines, without encryption: put TLS in front of it", flush=True)
    server = uvicorn.Server(
        uvicorn.Config(
            build(settings.model_copy(update={"console": chosen})),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )
    server.run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """Raises ConfigurationError when the address is taken, or is none of this machine."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}:{port} ({error.strerror}). A running stack has a console already: "
            "`freshet local status` names its address. Or choose another with --port"
        ) from error
    return listener
