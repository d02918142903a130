"""The same mistakes over gRPC: each call says at once which field of which event is wrong, and publishes nothing."""

from __future__ import annotations

import grpc
import pytest
from bad_records import NAN, TEN_MEGABYTES, in_an_hour
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from line import Line
from replay import wait_applied

from freshet.adapters.kafka import topic_bounds
from freshet.v1 import ingestion_service_pb2 as pb
from freshet.v1 import ingestion_service_pb2_grpc as rpc
from freshet.v1.interaction_pb2 import Interaction
from freshet.v1.product_pb2 import Product, ProductEvent, Review

pytestmark = pytest.mark.stack

Event = ProductEvent | Review | Interaction


def upsert(**facts: object) -> ProductEvent:
    return ProductEvent(upsert=Product(**{"product_id": "p"} | facts))


def patch(path: str) -> ProductEvent:
    event = ProductEvent()
    event.patch.product.product_id = "p"
    event.patch.update_mask.paths.append(path)
    return event


BAD_EVENTS: dict[str, tuple[Event, str, str]] = {
    "no change at all": (ProductEvent(), "change", "is required"),
    "no product_id": (upsert(product_id=""), "upsert.product_id", "is required"),
    "a price that is no number": (upsert(price=NAN), "upsert.price", "is nan"),
    "a price below nothing": (upsert(price=-1.0), "upsert.price", "is -1"),
    "a patch of nothing known": (patch("prize"), "patch.update_mask", "names 'prize'"),
    "a mask that cannot be quoted": (patch("\x01" * 1_000_000), "patch.update_mask", "characters)"),
    "a product from the future": (
        ProductEvent(upsert=Product(product_id="p"), event_time=in_an_hour()),
        "event_time",
        "in the future",
    ),
    "ten megabytes of text": (upsert(description="x" * TEN_MEGABYTES), "upsert.description", "has 10,000,000"),
    "ten megabytes of picture": (upsert(image={"content": b"x" * TEN_MEGABYTES}), "", "workers accept"),
    "seven stars": (Review(review_id="r", product_id="p", rating=7.0), "rating", "is 7"),
    "a review without stars and words": (Review(review_id="r", product_id="p"), "text", "is empty"),
    "a review without an id": (Review(product_id="p", rating=4.0), "review_id", "is required"),
    "nobody's interaction": (Interaction(product_id="p", kind=Interaction.CLICK), "user_id", "is required"),
    "an interaction without a kind": (Interaction(user_id="u", product_id="p"), "kind", "is 0"),
    "a value that is no number": (
        Interaction(user_id="u", product_id="p", kind=Interaction.RATING, value=NAN),
        "value",
        "is nan",
    ),
}


@pytest.fixture
def service(ingest_channel: grpc.Channel) -> rpc.IngestionServiceStub:
    return rpc.IngestionServiceStub(ingest_channel)  # type: ignore[no-untyped-call]


def publish(service: rpc.IngestionServiceStub, *events: Event) -> pb.PublishResponse:
    match events[0]:
        case ProductEvent():
            return service.PublishProducts(pb.PublishProductsRequest(events=events), timeout=20.0)
        case Review():
            return service.PublishReviews(pb.PublishReviewsRequest(reviews=events), timeout=20.0)
        case _:
            return service.PublishInteractions(pb.PublishInteractionsRequest(interactions=events), timeout=20.0)


def good_event_like(event: Event) -> Event:
    match event:
        case ProductEvent():
            return upsert()
        case Review():
            return Review(review_id="r", product_id="p", rating=4.0)
        case _:
            return Interaction(user_id="u", product_id="p", kind=Interaction.CLICK)


def violations_of(error: grpc.RpcError) -> list[error_details_pb2.BadRequest.FieldViolation]:
    status = rpc_status.from_call(error)
    return list(error_details_pb2.BadRequest.FromString(status.details[0].value).field_violations)


def ends(line: Line) -> dict[tuple[str, int], tuple[int, int]]:
    topics = line.settings.topics
    return topic_bounds(line.settings.kafka_url, [topics.products, topics.reviews, topics.interactions])


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_a_bad_event_is_refused_by_its_field_and_nothing_of_its_request_is_published(
    name: str, service: rpc.IngestionServiceStub, line: Line
) -> None:
    event, field, description = BAD_EVENTS[name]
    before = ends(line)
    with pytest.raises(grpc.RpcError) as refused:
        publish(service, good_event_like(event), event)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT, refused.value
    (violation,) = violations_of(refused.value)
    of = {ProductEvent: "events", Review: "reviews", Interaction: "interactions"}[type(event)]
    assert violation.field == f"{of}[1]" + (f".{field}" if field else "")
    assert description in violation.description
    assert ends(line) == before


def test_many_bad_events_are_refused_as_such_with_the_first_of_them_named(service: rpc.IngestionServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        publish(service, *[patch("Ж" * 1_000)] * 300)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT, refused.value
    assert "and 299 more" in refused.value.details()
    assert violations_of(refused.value)[0].field == "events[0].patch.update_mask"


@pytest.mark.parametrize(
    "events", [[upsert()] * 1_001, [upsert(image={"content": b"x" * 17 * 2**20})]], ids=["many events", "17 MiB"]
)
def test_too_much_at_once_is_refused_as_that(events: list[ProductEvent], service: rpc.IngestionServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        publish(service, *events)
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def streamed(event: Event) -> pb.PublishStreamRequest:
    match event:
        case ProductEvent():
            return pb.PublishStreamRequest(product=event)
        case Review():
            return pb.PublishStreamRequest(review=event)
        case _:
            return pb.PublishStreamRequest(interaction=event)


def test_in_a_stream_bad_events_are_counted_and_told_and_the_good_ones_between_them_count(
    service: rpc.IngestionServiceStub, line: Line
) -> None:
    requests = [pb.PublishStreamRequest()]
    for number, (event, _, _) in enumerate(BAD_EVENTS.values()):
        requests += [streamed(event), streamed(line.good(product_id=f"{line.name}-{number}"))]

    answer = service.PublishStream(iter(requests), timeout=60.0)

    told = [("event", "is required"), *((field, text) for _, field, text in BAD_EVENTS.values())]
    assert (answer.published_count, answer.rejected_count) == (len(BAD_EVENTS), len(told))
    for rejection, (field, description) in zip(answer.rejections, told, strict=True):
        assert rejection.field == field
        assert description in rejection.description
    assert [rejection.index for rejection in answer.rejections] == [0, *range(1, 2 * len(BAD_EVENTS), 2)]
    wait_applied(line.settings)
    assert all(line.product(f"{line.name}-{number}") for number in range(len(BAD_EVENTS)))
