"""Requests checked and turned into values. May import the contract, `codec`, `filters` and `errors`.

Every function raises InvalidInput that names the field in the contract's words.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from freshet.codec.events import check_id
from freshet.codec.tokens import read_token
from freshet.domain.products import Image
from freshet.domain.progress import Position
from freshet.errors import InvalidInput
from freshet.recommend.filters import ProductFilter
from freshet.recommend.lexicon import distinct
from freshet.v1 import recommendation_service_pb2 as pb

PAGE_DEFAULT, PAGE_LARGEST = 10, 500
EXCLUSIONS_MOST = 10_000
FILTER_VALUES_MOST = 1_000
TOKENS_MOST = 100
WEIGHT_LARGEST = 100.0
DIVERSITY_DEFAULT = 0.3
WAIT_DEFAULT_SECONDS = 1.0
QUERY_CHARACTERS = 10_000
MODEL_LONGEST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What all calls have in common. `weights` multiply the model's own, by name."""

    page_size: int
    filter: ProductFilter
    weights: dict[str, float]
    at_least: tuple[Position, ...]
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class RecommendAsked(Asked):
    """A checked RecommendRequest. `fingerprint` tells whether a page token comes with the arguments it was made for."""

    user_id: str
    session_id: str
    page_token: str
    diversity: float
    dry_run: bool
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class SimilarAsked(Asked):
    """A checked ListSimilarProductsRequest."""

    product_id: str


@dataclass(frozen=True, slots=True)
class SearchAsked(Asked):
    """A checked SearchProductsRequest: `text` is empty or has words; one of `text` and `image` is given at least."""

    text: str
    image: Image | None
    page_token: str
    model_seconds: float
    fingerprint: bytes


def read_recommend(request: pb.RecommendRequest, topics: frozenset[str], wait_longest: float) -> RecommendAsked:
    """`topics` are those that a consistency token may name; waits are at most `wait_longest` seconds."""
    diversity = DIVERSITY_DEFAULT
    if request.HasField("diversity"):
        diversity = _number(request.diversity, "diversity", 0.0, 1.0)
    return RecommendAsked(
        user_id=check_id(request.user_id, "user_id"),
        session_id=request.session_id[:256],
        page_token=request.page_token,
        diversity=diversity,
        dry_run=request.dry_run,
        fingerprint=_fingerprint(request),
        **_common(request, topics, wait_longest),  # type: ignore[arg-type]
    )


def read_similar(request: pb.ListSimilarProductsRequest, topics: frozenset[str], wait_longest: float) -> SimilarAsked:
    return SimilarAsked(
        product_id=check_id(request.product_id, "product_id"),
        **_common(request, topics, wait_longest),  # type: ignore[arg-type]
    )


def read_search(
    request: pb.SearchProductsRequest, topics: frozenset[str], wait_longest: float, model_default: float
) -> SearchAsked:
    """`model_default` seconds are what the model may take where the request does not say."""
    if len(request.text) > QUERY_CHARACTERS:
        raise InvalidInput("text", f"has {len(request.text):,} characters; at most {QUERY_CHARACTERS:,} are allowed")
    text = request.text.strip()
    image = _image(request) if request.HasField("image") else None
    if image is None and not text:
        raise InvalidInput("text", "is empty and there is no image; a search needs words, a picture, or both")
    if image is None and not distinct(text):
        raise InvalidInput("text", f"{text!r} has no letter and no digit to search by")
    seconds = model_default
    if request.HasField("model_wait"):
        seconds = _seconds(request.model_wait, "model_wait", MODEL_LONGEST_SECONDS)
    return SearchAsked(
        text=text if distinct(text) else "",
        image=image,
        page_token=request.page_token,
        model_seconds=seconds,
        fingerprint=_search_fingerprint(request),
        **_common(request, topics, wait_longest),  # type: ignore[arg-type]
    )


def _image(request: pb.SearchProductsRequest) -> Image:
    match request.image.WhichOneof("source"):
        case "content" if request.image.content:
            return Image(content=request.image.content)
        case "uri" if request.image.uri:
            return Image(uri=request.image.uri)
        case _:
            raise InvalidInput("image", "is empty; give its content or its uri, or leave it out")


def _common(
    request: pb.RecommendRequest | pb.ListSimilarProductsRequest | pb.SearchProductsRequest,
    topics: frozenset[str],
    wait_longest: float,
) -> dict[str, object]:
    if request.page_size > PAGE_LARGEST:
        raise InvalidInput("page_size", f"is {request.page_size}; at most {PAGE_LARGEST} are allowed")
    wait = request.at_least_wait if request.HasField("at_least_wait") else None
    return {
        "page_size": request.page_size or PAGE_DEFAULT,
        "filter": _filter(request.filter) if request.HasField("filter") else ProductFilter(),
        "weights": _weights(request.weights) if request.HasField("weights") else {},
        "at_least": _at_least(request.at_least, topics) if request.at_least else (),
        "wait_seconds": WAIT_DEFAULT_SECONDS if wait is None else _seconds(wait, "at_least_wait", wait_longest),
    }


def _filter(message: pb.Filter) -> ProductFilter:
    low = _number(message.min_price, "filter.min_price", 0.0, math.inf) if message.HasField("min_price") else None
    high = _number(message.max_price, "filter.max_price", 0.0, math.inf) if message.HasField("max_price") else None
    if low is not None and high is not None and low > high:
        raise InvalidInput("filter.min_price", f"is {low:g}, above max_price, which is {high:g}")
    return ProductFilter(
        categories=tuple(_at_most(message.categories, "filter.categories", FILTER_VALUES_MOST)),
        brands=tuple(_at_most(message.brands, "filter.brands", FILTER_VALUES_MOST)),
        min_price=low,
        max_price=high,
        include_seen=message.include_seen,
        excluded_product_ids=frozenset(
            _at_most(message.excluded_product_ids, "filter.excluded_product_ids", EXCLUSIONS_MOST)
        ),
    )


def _weights(message: pb.ModalityWeights | pb.SearchWeights) -> dict[str, float]:
    return {
        field.name: _number(value, f"weights.{field.name}", 0.0, WEIGHT_LARGEST)
        for field, value in message.ListFields()
    }


def _at_least(tokens: Sequence[str], topics: frozenset[str]) -> tuple[Position, ...]:
    positions: list[Position] = []
    for i, token in enumerate(_at_most(tokens, "at_least", TOKENS_MOST)):
        field = f"at_least[{i}]"
        for position in read_token(token, field):
            if position.topic not in topics:
                raise InvalidInput(field, f"names the topic {position.topic!r}, which this service does not follow")
            positions.append(position)
    return tuple(positions)


def _seconds(wait: Duration, field: str, longest: float) -> float:
    seconds: float = wait.seconds + wait.nanos / 1e9
    return _number(seconds, field, 0.0, longest)


def _at_most(values: Sequence[str], field: str, limit: int) -> Sequence[str]:
    if len(values) > limit:
        raise InvalidInput(field, f"has {len(values):,} entries; at most {limit:,} are allowed")
    return values


def _number(value: float, field: str, low: float, high: float) -> float:
    if not math.isfinite(value):
        raise InvalidInput(field, f"is {value}; a finite number is needed")
    if not low <= value <= high:
        bounds = f"at least {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
        raise InvalidInput(field, f"is {value:g}; it must be {bounds}")
    return value


def _fingerprint(request: pb.RecommendRequest) -> bytes:
    """Of everything that shapes the ranking. A page may have another size (AIP-158)."""
    shape = pb.RecommendRequest(user_id=request.user_id)
    if request.HasField("filter"):
        shape.filter.CopyFrom(request.filter)
    if request.HasField("weights"):
        shape.weights.CopyFrom(request.weights)
    if request.HasField("diversity"):
        shape.diversity = request.diversity
    return hashlib.blake2b(shape.SerializeToString(deterministic=True), digest_size=16).digest()


def _search_fingerprint(request: pb.SearchProductsRequest) -> bytes:
    shape = pb.SearchProductsRequest(text=request.text)
    for name in ("image", "filter", "weights"):
        if request.HasField(name):
            getattr(shape, name).CopyFrom(getattr(request, name))
    return hashlib.blake2b(shape.SerializeToString(deterministic=True), digest_size=16).digest()
