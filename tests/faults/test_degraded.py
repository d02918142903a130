"""Recommend while a part is away: it answers, says what is missing, and is whole again by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import grpc
import pytest
from replay import wait_applied
from shop_events import Shop

from freshet.codec.tokens import write_token
from freshet.local.stack import LocalStack
from freshet.v1 import recommendation_service_pb2 as pb
from freshet.v1 import recommendation_service_pb2_grpc as rpc

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def ask(stack: LocalStack) -> Iterator[Callable[..., pb.RecommendResponse]]:
    settings = stack.settings
    with Shop(settings, 99, 600, 2_000.0):
        pass
    wait_applied(settings)
    with grpc.insecure_channel(f"{settings.recommend.host}:{settings.recommend.port}") as channel:
        stub = rpc.RecommendationServiceStub(channel)

        def recommend(**arguments: object) -> pb.RecommendResponse:
            return stub.Recommend(pb.RecommendRequest(user_id="u1", **arguments), timeout=10.0)  # type: ignore[arg-type]

        yield recommend


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


@pytest.mark.parametrize("part", ["triton", "milvus", "kafka"])
def test_an_answer_comes_while_a_part_is_away(
    part: str, stack: LocalStack, ask: Callable[..., pb.RecommendResponse]
) -> None:
    whole = ask()
    assert len(whole.products) == 10
    assert whole.basis == pb.PROFILE
    stack.stop_component(part)
    try:
        answer = ask()
        assert len(answer.products) == 10
        assert answer.basis == pb.PROFILE
        assert [product.product_id for product in answer.products] == [p.product_id for p in whole.products]
    finally:
        stack.start_component(part)
        stack.wait_healthy(timeout_seconds=180.0)
    wait_until(lambda: not ask().freshness.degraded, f"answers are whole again with {part}")


def test_without_the_profile_worker_an_answer_says_that_it_is_not_as_fresh_as_asked(
    stack: LocalStack, ask: Callable[..., pb.RecommendResponse]
) -> None:
    stack.stop_component("profiles")
    try:
        with Shop(stack.settings, 100, 200, 2_000.0) as shop:
            pass
        clicked = next(place for place in shop.confirmed() if place.topic == stack.settings.topics.interactions)

        token = write_token([clicked])
        late = ask(at_least=[token], at_least_wait={"nanos": 200_000_000})
        assert not late.freshness.at_least_reached
        assert len(late.products) == 10
    finally:
        stack.start_component("profiles")
        stack.wait_healthy(timeout_seconds=180.0)
    assert ask(at_least=[token], at_least_wait={"seconds": 30}).freshness.at_least_reached
