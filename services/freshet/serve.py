"""`freshet serve`: the two gRPC services under one command. Imports the services' rooms when they are asked for."""

from __future__ import annotations

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Run a gRPC service: recommend or ingest.")


@app.command("recommend", help="Answer Recommend, ListSimilarProducts, SearchProducts (FRESHET_RECOMMEND__…).")
def recommend() -> None:
    from freshet.recommend.commands import serve_recommend

    serve_recommend()


@app.command("ingest", help="Accept events over gRPC and publish them to Kafka (settings: FRESHET_INGEST__…).")
def ingest() -> None:
    from freshet.ingest.commands import serve_ingest

    serve_ingest()
