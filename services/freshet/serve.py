"""`freshet serve`: the two gRPC services under one command. Imports the services' rooms when they are asked for."""

from __future__ import annotations

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Run a gRPC service: recommend or ingest.")


@app.command("recommend", help="Answer recommendations and searches.\n\nSettings: FRESHET_RECOMMEND__HOST and others.")
def recommend() -> None:
    from freshet.recommend.commands import serve_recommend

    serve_recommend()


@app.command("ingest", help="Accept events and publish them to Kafka.\n\nSettings: FRESHET_INGEST__HOST and others.")
def ingest() -> None:
    from freshet.ingest.commands import serve_ingest

    serve_ingest()
