"""The calls that both clients make: requests from plain arguments, and what is kept of the answers. No connection."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from freshet.v1 import ingestion_service_pb2 as ingest
from freshet.v1 import interaction_pb2, product_pb2
from freshet.v1 import recommendation_service_pb2 as pb

EVENTS_AT_ONCE = 1_000
"""The service takes no more in one request."""
BYTES_AT_ONCE = 8 * 2**20
REMEMBERED_USERS = 10_000

Kind: TypeAlias = "interaction_pb2.Interaction.Kind | str"
Event: TypeAlias = "product_pb2.ProductEvent | product_pb2.Review | interaction_pb2.Interaction"
E = TypeVar("E", product_pb2.ProductEvent, product_pb2.Review, interaction_pb2.Interaction)
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Published:
    """What Kafka has confirmed. Hand `tokens` to an answer's `at_least` to have the events counted in it."""

    tokens: tuple[str, ...]
    count: int
    event_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Streamed:
    """What a stream published, and what it did not: (place in the stream, field, description), a hundred at most."""

    token: str
    count: int
    rejected_count: int
    rejections: tuple[tuple[int, str, str], ...]


@dataclass(frozen=True, slots=True)
class Call(Generic[A]):
    """One request to a method of a service, and the seconds it may take, over all attempts.

    `repeatable`: that it may have been answered already does no harm to asking again.
    """

    service: str
    method: str
    request: Any
    seconds: float
    repeatable: bool = True


def product_events(
    events: Iterable[product_pb2.ProductEvent | product_pb2.Product],
) -> Iterator[product_pb2.ProductEvent]:
    """A bare product is an upsert."""
    for event in events:
        yield product_pb2.ProductEvent(upsert=event) if isinstance(event, product_pb2.Product) else event


def identified(event: E) -> E:
    """The event with an id of its own, so that a publish that is repeated counts once. Reviews have their own id."""
    if isinstance(event, product_pb2.Review) or event.event_id:
        return event
    copied = type(event)()
    copied.CopyFrom(event)
    copied.event_id = str(uuid.uuid4())
    return copied


def batches(events: Iterable[E]) -> Iterator[list[E]]:
    """As many as one request may hold."""
    batch: list[E] = []
    size = 0
    for event in map(identified, events):
        bytes_of = event.ByteSize()
        if batch and (len(batch) == EVENTS_AT_ONCE or size + bytes_of > BYTES_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += bytes_of
    if batch:
        yield batch


def publish_products(batch: Sequence[product_pb2.ProductEvent], seconds: float) -> Call[ingest.PublishResponse]:
    return Call("ingest", "PublishProducts", ingest.PublishProductsRequest(events=batch), seconds)


def publish_reviews(batch: Sequence[product_pb2.Review], seconds: float) -> Call[ingest.PublishResponse]:
    return Call("ingest", "PublishReviews", ingest.PublishReviewsRequest(reviews=batch), seconds)


def publish_interactions(batch: Sequence[interaction_pb2.Interaction], seconds: float) -> Call[ingest.PublishResponse]:
    return Call("ingest", "PublishInteractions", ingest.PublishInteractionsRequest(interactions=batch), seconds)


def streamed(event: Event) -> ingest.PublishStreamRequest:
    if isinstance(event, product_pb2.ProductEvent):
        return ingest.PublishStreamRequest(product=identified(event))
    if isinstance(event, product_pb2.Review):
        return ingest.PublishStreamRequest(review=event)
    return ingest.PublishStreamRequest(interaction=identified(event))


def stream_result(answer: ingest.PublishStreamResponse) -> Streamed:
    rejections = tuple((one.index, one.field, one.description) for one in answer.rejections)
    return Streamed(answer.consistency_token, answer.published_count, answer.rejected_count, rejections)


def recommend(
    user_id: str,
    *,
    page_size: int,
    page_token: str,
    filter: pb.Filter | None,
    weights: pb.ModalityWeights | None,
    diversity: float | None,
    at_least: Sequence[str],
    session_id: str,
    dry_run: bool,
    wait_seconds: float,
    seconds: float,
) -> Call[pb.RecommendResponse]:
    request = pb.RecommendRequest(
        user_id=user_id,
        page_size=page_size,
        page_token=page_token,
        filter=filter,
        weights=weights,
        diversity=diversity,
        # A later page is of the ranking that the first one was: what it had to reflect is settled.
        at_least=() if page_token else at_least,
        session_id=session_id,
        dry_run=dry_run,
    )
    if not page_token and at_least:
        request.at_least_wait.FromNanoseconds(int(wait_seconds * 1e9))
    # Every answer that is no dry run records an exposure, whether it reached us or not.
    return Call("recommend", "Recommend", request, seconds + (wait_seconds if at_least else 0.0), repeatable=dry_run)


def list_similar(
    product_id: str,
    *,
    page_size: int,
    filter: pb.Filter | None,
    weights: pb.ModalityWeights | None,
    at_least: Sequence[str],
    wait_seconds: float,
    seconds: float,
) -> Call[pb.ListSimilarProductsResponse]:
    request = pb.ListSimilarProductsRequest(
        product_id=product_id, page_size=page_size, filter=filter, weights=weights, at_least=at_least
    )
    if at_least:
        request.at_least_wait.FromNanoseconds(int(wait_seconds * 1e9))
    return Call("recommend", "ListSimilarProducts", request, seconds + (wait_seconds if at_least else 0.0))


def search(
    text: str,
    *,
    image: bytes | str,
    page_size: int,
    page_token: str,
    filter: pb.Filter | None,
    weights: pb.SearchWeights | None,
    at_least: Sequence[str],
    wait_seconds: float,
    seconds: float,
) -> Call[pb.SearchProductsResponse]:
    request = pb.SearchProductsRequest(
        text=text,
        filter=filter,
        weights=weights,
        page_size=page_size,
        page_token=page_token,
        at_least=() if page_token else at_least,
    )
    if isinstance(image, bytes) and image:
        request.image.content = image
    elif isinstance(image, str) and image:
        request.image.uri = image
    if request.at_least:
        request.at_least_wait.FromNanoseconds(int(wait_seconds * 1e9))
    return Call("recommend", "SearchProducts", request, seconds + (wait_seconds if request.at_least else 0.0))


@dataclass
class Tokens:
    """By shopper, the token of what this client last published of them; the longest unused go first.

    A shopper's records all lie in one partition: the last token covers the earlier ones.
    """

    most: int = REMEMBERED_USERS
    _tokens: OrderedDict[str, str] = field(default_factory=OrderedDict)

    def remember(self, users: Iterable[str], token: str) -> None:
        for user in users:
            self._tokens[user] = token
            self._tokens.move_to_end(user)
        while len(self._tokens) > self.most:
            self._tokens.popitem(last=False)

    def of(self, user: str) -> tuple[str, ...]:
        return (self._tokens[user],) if user in self._tokens else ()


def collected(answers: Iterable[ingest.PublishResponse]) -> Published:
    """One result of several requests."""
    kept = list(answers)
    return Published(
        tuple(answer.consistency_token for answer in kept if answer.consistency_token),
        sum(answer.published_count for answer in kept),
        tuple(event_id for answer in kept for event_id in answer.event_ids),
    )
