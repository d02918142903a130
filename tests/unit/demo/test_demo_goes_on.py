"""A demo whose service is away for a while says so and goes on: whoever looks at it may stop a part of it."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from freshet.client.failures import Unavailable
from freshet.demo import run
from freshet.demo.shop import open_shop
from freshet.v1 import recommendation_service_pb2 as pb


class Away:
    """Refuses the first two clicks, answers the third, and ends the demo at the fourth as Ctrl-C does."""

    def __init__(self) -> None:
        self.clicks = 0

    async def click_to_answer(self, user_id: str, product_id: str) -> tuple[float, pb.RecommendResponse]:
        self.clicks += 1
        if self.clicks <= 2:
            raise Unavailable("recommend", "DEADLINE_EXCEEDED")
        if self.clicks > 3:
            raise asyncio.CancelledError
        return 5.0, pb.RecommendResponse(products=[pb.RecommendedProduct(product_id="p", title="Felt boot")])


async def test_shoppers_come_back_after_a_service_was_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "AWAY_SECONDS", 0.0)
    shop = open_shop(tmp_path, 100, 1, 1_800_000_000_000_000, lambda _count: None)
    told, client = io.StringIO(), Away()
    asked: Any = client
    with pytest.raises(asyncio.CancelledError):
        await run.keep_clicking(asked, shop, Console(file=told, width=200), seconds_between=0.0)
    assert told.getvalue().count("got no answer: recommend is not available") == 2
    assert "Felt boot" in told.getvalue()
