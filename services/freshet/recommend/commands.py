"""`freshet serve recommend` and `freshet recommend`. May import the room's outermost parts and settings."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from freshet.errors import ConfigurationError, DependencyDown, InvalidInput, NotFound
from freshet.settings import Settings

recommend_app = typer.Typer(add_completion=False, help="Ask a running service what a shopper may want.")
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def serve_recommend() -> None:
    """Serve in this process's place, or in `recommend.workers` processes that share one port by SO_REUSEPORT.

    NumPy reads its number of threads when it is loaded: so the service always runs in a fresh interpreter.
    """
    settings = Settings()
    command = [sys.executable, "-m", "freshet.recommend.process"]
    workers = settings.recommend.workers
    environment = os.environ | _ONE_THREAD
    if workers == 1:
        os.execve(sys.executable, [*command, "0", "1"], environment)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            reserved.bind((settings.recommend.host, settings.recommend.port))
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {settings.recommend.host}:{settings.recommend.port}: {error.strerror}; "
                "set FRESHET_RECOMMEND__PORT"
            ) from error
        environment["FRESHET_RECOMMEND__PORT"] = str(reserved.getsockname()[1])
        processes = [
            subprocess.Popen([*command, str(number), str(workers)], env=environment) for number in range(workers)
        ]
        raise SystemExit(_watch(processes))


def _watch(processes: list[subprocess.Popen[bytes]]) -> int:
    """Until told to stop, or until one of them ends: then all end. Whoever started us starts us again."""
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not stopping and all(process.poll() is None for process in processes):
        time.sleep(0.1)
    for process in processes:
        if process.poll() is None:
            process.terminate()
    codes = [process.wait() for process in processes]
    return 0 if stopping else max(map(abs, codes)) or 1


@recommend_app.command()
def recommend(
    user: Annotated[str, typer.Argument(help="The shopper's user_id.")],
    target: Annotated[str, typer.Option(help="host:port of the service; the settings' own by default.")] = "",
    size: Annotated[int, typer.Option("--size", "-n", help="How many products.")] = 10,
    weights: Annotated[str, typer.Option(help="Multipliers by modality, for example text=2,image=0.")] = "",
    category: Annotated[list[str] | None, typer.Option(help="Only these categories; may be given again.")] = None,
    brand: Annotated[list[str] | None, typer.Option(help="Only these brands; may be given again.")] = None,
    min_price: Annotated[float | None, typer.Option(help="Lowest price.")] = None,
    max_price: Annotated[float | None, typer.Option(help="Highest price.")] = None,
    include_seen: Annotated[bool, typer.Option("--include-seen", help="Products already seen, too.")] = False,
    diversity: Annotated[float | None, typer.Option(help="0 (by score alone) to 1.")] = None,
    at_least: Annotated[list[str] | None, typer.Option(help="A consistency token that publish returned.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole answer as JSON.")] = False,
) -> None:
    """Ask what a shopper may want, and why. Records no exposure."""
    import grpc
    from google.protobuf import json_format

    from freshet.v1 import recommendation_service_pb2 as pb
    from freshet.v1 import recommendation_service_pb2_grpc as rpc

    settings = Settings()
    request = pb.RecommendRequest(
        user_id=user,
        page_size=size,
        weights=pb.ModalityWeights(**named_weights(weights, pb.ModalityWeights)),
        filter=pb.Filter(
            categories=category or (),
            brands=brand or (),
            min_price=min_price,
            max_price=max_price,
            include_seen=include_seen,
        ),
        at_least=at_least or (),
        diversity=diversity,
        dry_run=True,
    )
    address = target or f"{settings.recommend.host}:{settings.recommend.port}"
    with grpc.insecure_channel(address) as channel:
        try:
            stub = rpc.RecommendationServiceStub(channel)  # type: ignore[no-untyped-call]
            response = stub.Recommend(request, timeout=10.0)
        except grpc.RpcError as error:
            raise readable(error, address) from error
    if as_json:
        print(json.dumps(json_format.MessageToDict(response, preserving_proto_field_name=True), indent=2))
    else:
        title = f"For {user}, from {pb.Basis.Name(response.basis)}"
        print_products(title, response.products, response.freshness)


def named_weights(text: str, message: Any) -> dict[str, float]:
    """From `name=number,…`, where `message` is the contract's message of weights. Raises ConfigurationError."""
    weights: dict[str, float] = {}
    for pair in filter(None, text.split(",")):
        name, _, value = pair.partition("=")
        try:
            weights[name.strip()] = float(value)
        except ValueError as error:
            raise ConfigurationError(f"--weights has {pair!r}; NAME=NUMBER is needed, for example text=2") from error
    known = [field.name for field in message.DESCRIPTOR.fields]
    for name in weights:
        if name not in known:
            raise ConfigurationError(f"--weights names {name!r}; one of {', '.join(known)} is needed")
    return weights


def readable(error: object, address: str) -> Exception:
    """What a failed call says, as one of Freshet's errors."""
    import grpc

    code, details = error.code(), error.details()  # type: ignore[attr-defined]
    if code == grpc.StatusCode.INVALID_ARGUMENT:
        return InvalidInput("", details)
    if code == grpc.StatusCode.NOT_FOUND:
        return NotFound(details)
    return DependencyDown(f"recommend service at {address}", f"{code.name}: {details}")


def print_products(title: str, products: Iterable[Any], fresh: Any) -> None:
    """A table of an answer's products, and what the answer is true of."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(title=title, title_justify="left")
    for heading in ("#", "product", "title", "price", "score", "made of", "why"):
        table.add_column(heading, justify="right" if heading in ("#", "price", "score") else "left")
    for place, product in enumerate(products, 1):
        price = f"{product.price:,.2f} {product.currency}".strip() if product.HasField("price") else ""
        made_of = ", ".join(f"{part.modality} {part.value:+.2f}" for part in product.contributions[:3])
        table.add_row(
            str(place), product.product_id, product.title, price, f"{product.score:.3f}", made_of, product.reason
        )
    console.print(table)
    changes = sum(position.offset for position in fresh.representations)
    told = [f"{changes:,} catalogue changes", f"model {fresh.model_version}"]
    if fresh.interactions:
        told.insert(0, f"{sum(position.offset for position in fresh.interactions):,} interactions")
    console.print(f"True of {', '.join(told)}")
    for reason in fresh.degraded_reasons:
        console.print(f"Degraded: {reason}", style="yellow", markup=False)
