"""Recommend while a part is away: it answers, says what is missing, and is whole again by itself. Invariant 7."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import grpc
import pytest
from line import Line
from replay import wait_applied
from shop_events import Shop

from freshet.codec.tokens import write_token
from freshet.local.stack import LocalStack
from freshet.v1 import recommendation_service_pb2 as pb
from freshet.v1 import recommendation_service_pb2_grpc as rpc
from freshet.v1.interaction_pb2 import Interaction
from freshet.v1.product_pb2 import ProductEvent

pytestmark = pytest.mark.stack

Ask = Callable[..., pb.RecommendResponse]
OWN_WEIGHTS = {"joint": 2.0, "text": 0.0, "behaviour": 0.0, "trending": 0.0}
"""What is near by other weights than the model's is not remembered: every answer asks the index. Without text and
behaviour there are no affinities, which are renewed in the background, as demand is: two answers are of the same
vectors alone."""


@pytest.fixture(scope="module")
def ask(stack: LocalStack, recommend_channel: grpc.Channel) -> Ask:
    """A shopper with a history asks for ten products."""
    with Shop(stack.settings, 99, 600, 2_000.0):
        pass
    wait_applied(stack.settings)
    stub = rpc.RecommendationServiceStub(recommend_channel)  # type: ignore[no-untyped-call]

    def recommend(**arguments: object) -> pb.RecommendResponse:
        request = pb.RecommendRequest(user_id="u1", **arguments)  # type: ignore[arg-type]
        answer: pb.RecommendResponse = stub.Recommend(request, timeout=10.0)
        assert len(answer.products) == 10
        return answer

    return recommend


def ids(answer: pb.RecommendResponse) -> list[str]:
    return [product.product_id for product in answer.products]


def is_whole(answer: pb.RecommendResponse) -> bool:
    """Whether the index answered, and nothing is shown for the reason alone that it is newer than the index."""
    return not answer.freshness.degraded and not any(pb.FRESH in product.sources for product in answer.products)


def settled(ask: Ask, seconds: float = 90.0) -> pb.RecommendResponse:
    """An answer by OWN_WEIGHTS that is whole: until something is published, all answers by them show the same."""
    deadline = time.monotonic() + seconds
    while not is_whole(answer := ask(weights=OWN_WEIGHTS)):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: the index answers and has all that is shown"
        time.sleep(0.1)
    return answer


@contextmanager
def without(stack: LocalStack, part: str) -> Iterator[None]:
    """While this part is stopped; it works again at the end."""
    stack.stop_component(part)
    try:
        yield
    finally:
        stack.start_component(part)
        stack.wait_healthy(timeout_seconds=180.0)


@contextmanager
def without_table(stack: LocalStack, name: str) -> Iterator[None]:
    """While reads of this table fail, as they do when the database has lost it."""
    path = stack.settings.database_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, timeout=30.0, isolation_level=None)) as database:
        database.execute(f"ALTER TABLE {name} RENAME TO {name}_away")
        try:
            yield
        finally:
            database.execute(f"ALTER TABLE {name}_away RENAME TO {name}")


def test_without_milvus_the_answer_is_scanned_for_and_says_so(stack: LocalStack, ask: Ask) -> None:
    whole = settled(ask)
    with without(stack, "milvus"):
        begun = time.monotonic()
        answer = ask(weights=OWN_WEIGHTS)
        assert time.monotonic() - begun < 5.0, "it does not wait for what is away"
        assert answer.freshness.degraded
        assert ["exact scan used" in reason for reason in answer.freshness.degraded_reasons] == [True]
        assert answer.basis == pb.PROFILE
        assert ids(answer) == ids(whole)
    assert ids(settled(ask)) == ids(whole)


def test_without_profiles_the_answer_is_what_is_trending_and_says_so(stack: LocalStack, ask: Ask) -> None:
    assert ask().basis == pb.PROFILE
    with without_table(stack, "profiles"):
        answer = ask()
        assert answer.freshness.degraded
        assert ["without the shopper's profile" in reason for reason in answer.freshness.degraded_reasons] == [True]
        assert answer.freshness.degraded_reasons[0].startswith("sql: ")
        assert answer.basis == pb.TRENDING
    again = ask()
    assert not again.freshness.degraded
    assert again.basis == pb.PROFILE


def test_without_covisits_what_was_solved_still_counts_and_what_must_be_solved_anew_is_said_to_be_old(
    stack: LocalStack, ask: Ask, line: Line
) -> None:
    def changed(title: str) -> pb.RecommendResponse:
        places = line.products(line.good(title=title))
        answer = ask(at_least=[write_token(places)], at_least_wait={"seconds": 30})
        assert answer.freshness.at_least_reached
        return answer

    changed("Before")
    line.interactions(Interaction(user_id="u1", product_id=line.name, kind=Interaction.CLICK), key="u1")
    wait_applied(stack.settings)
    assert any(pb.CO_VISIT in product.sources for product in ask().products)
    with without_table(stack, "behaviour"):
        answer = ask()
        assert not answer.freshness.degraded
        assert any(pb.CO_VISIT in product.sources for product in answer.products)
        # One of the shopper's products has other words now, and other neighbours.
        answer = changed("After")
        assert answer.freshness.degraded
        assert ["missing or old" in reason for reason in answer.freshness.degraded_reasons] == [True]
        assert answer.basis == pb.PROFILE
    assert not ask().freshness.degraded


def test_without_triton_answers_are_whole_and_what_is_published_meanwhile_comes_after_it(
    stack: LocalStack, ask: Ask, line: Line
) -> None:
    """Nothing of an answer is encoded; a record whose encoder is away waits, and is no dead letter (invariant 4)."""
    whole = settled(ask)
    with without(stack, "triton"):
        assert not ask().freshness.degraded
        answer = ask(weights=OWN_WEIGHTS)
        assert not answer.freshness.degraded
        assert ids(answer) == ids(whole)
        places = line.products(line.good(), ProductEvent(upsert=line.good(product_id=f"{line.name}-2").upsert))
        late = ask(at_least=[write_token(places)], at_least_wait={"nanos": 100_000_000})
        assert not late.freshness.at_least_reached
    assert ask(at_least=[write_token(places)], at_least_wait={"seconds": 30}).freshness.at_least_reached
    assert line.letters(places) == []
    assert line.product() is not None


def test_without_kafka_answers_are_whole(stack: LocalStack, ask: Ask, line: Line) -> None:
    whole = settled(ask)
    with without(stack, "kafka"):
        answer = ask(weights=OWN_WEIGHTS)
        assert ids(answer) == ids(whole)
        assert ask().basis == answer.basis == pb.PROFILE
    token = write_token(line.products(line.good()))
    assert ask(at_least=[token], at_least_wait={"seconds": 30}).freshness.at_least_reached


def test_without_the_profile_worker_an_answer_says_that_it_is_not_as_fresh_as_asked(
    stack: LocalStack, ask: Ask
) -> None:
    with without(stack, "profiles"):
        with Shop(stack.settings, 100, 200, 2_000.0) as shop:
            pass
        clicked = next(place for place in shop.confirmed() if place.topic == stack.settings.topics.interactions)
        token = write_token([clicked])
        late = ask(at_least=[token], at_least_wait={"nanos": 200_000_000})
        assert not late.freshness.at_least_reached
    assert ask(at_least=[token], at_least_wait={"seconds": 30}).freshness.at_least_reached
