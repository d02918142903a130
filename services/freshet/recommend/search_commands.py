"""`freshet search`. May import the contract, settings and this room's other commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from freshet.errors import ConfigurationError
from freshet.recommend.commands import named_weights, print_products, readable
from freshet.settings import Settings

search_app = typer.Typer(add_completion=False, help="Search a running service by words, by a picture, or by both.")
SECONDS = 10.0


@search_app.command()
def search(
    text: Annotated[str, typer.Argument(help="What to look for; may be left out with --image.")] = "",
    image: Annotated[str, typer.Option(help="A picture: a file here, or an http(s) address for the service.")] = "",
    target: Annotated[str, typer.Option(help="host:port of the service; the settings' own by default.")] = "",
    size: Annotated[int, typer.Option("--size", "-n", help="How many products.")] = 10,
    weights: Annotated[str, typer.Option(help="Multipliers by part, for example terms=2,image=0.")] = "",
    category: Annotated[list[str] | None, typer.Option(help="Only these categories; may be given again.")] = None,
    brand: Annotated[list[str] | None, typer.Option(help="Only these brands; may be given again.")] = None,
    min_price: Annotated[float | None, typer.Option(help="Lowest price.")] = None,
    max_price: Annotated[float | None, typer.Option(help="Highest price.")] = None,
    at_least: Annotated[list[str] | None, typer.Option(help="A consistency token that publish returned.")] = None,
    page_token: Annotated[str, typer.Option(help="Of an earlier answer: its next page.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The whole answer as JSON.")] = False,
) -> None:
    """Products that the words describe, that look like the picture, or both, and why each was found."""
    import grpc
    from google.protobuf import json_format

    from freshet.v1 import product_pb2
    from freshet.v1 import recommendation_service_pb2 as pb
    from freshet.v1 import recommendation_service_pb2_grpc as rpc

    settings = Settings()
    request = pb.SearchProductsRequest(
        text=text,
        page_size=size,
        page_token=page_token,
        weights=pb.SearchWeights(**named_weights(weights, pb.SearchWeights)),
        filter=pb.Filter(categories=category or (), brands=brand or (), min_price=min_price, max_price=max_price),
        at_least=at_least or (),
    )
    if image.startswith(("http://", "https://")):
        request.image.CopyFrom(product_pb2.Image(uri=image))
    elif image:
        request.image.CopyFrom(product_pb2.Image(content=_read(Path(image))))
    address = target or f"{settings.recommend.host}:{settings.recommend.port}"
    with grpc.insecure_channel(address) as channel:
        try:
            stub = rpc.RecommendationServiceStub(channel)  # type: ignore[no-untyped-call]
            response = stub.SearchProducts(request, timeout=SECONDS)
        except grpc.RpcError as error:
            raise readable(error, address) from error
    if as_json:
        print(json.dumps(json_format.MessageToDict(response, preserving_proto_field_name=True), indent=2))
        return
    sought = " and ".join(part for part in (f"“{text}”" if text else "", image) if part)
    print_products(f"For {sought}", response.products, response.freshness)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"--image {path} cannot be read: {error.strerror}") from error
