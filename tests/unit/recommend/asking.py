"""Questions to a recommend service under test, and what its refusals say."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from freshet.settings import Topics
from freshet.v1 import recommendation_service_pb2 as pb

TOPICS = Topics()


def ids(response: Any) -> list[str]:
    return [product.product_id for product in response.products]


async def recommend(shop: Any, user: str = "ann", timeout: float | None = 5.0, **arguments: Any) -> Any:
    return await shop.ask.Recommend(pb.RecommendRequest(user_id=user, **arguments), timeout=timeout)


async def refused(call: Any) -> tuple[grpc.StatusCode, str, str]:
    """(code, field, description) of a call that must fail with a BadRequest."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    bad = error_details_pb2.BadRequest()
    assert rpc_status.from_call(raised.value).details[0].Unpack(bad)
    violation = bad.field_violations[0]
    return raised.value.code(), violation.field, violation.description


async def somebody_waits(shop: Any) -> None:
    while not shop.at_least.waiting:  # noqa: ASYNC110  (nothing tells of it but the count itself)
        await asyncio.sleep(0)
