"""What the demo asks of the running services, as a shop would. May import the client and settings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from freshet.client import AsyncFreshet
from freshet.settings import Settings
from freshet.v1 import recommendation_service_pb2 as pb

TIMEOUT_SECONDS = 10.0


class ShopClient(AsyncFreshet):
    """The services of these settings."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            f"{settings.recommend.host}:{settings.recommend.port}",
            f"{settings.ingest.host}:{settings.ingest.port}",
            timeout=TIMEOUT_SECONDS,
        )

    async def click_to_answer(self, user_id: str, product_id: str) -> tuple[float, pb.RecommendResponse]:
        """Milliseconds from the click to an answer that counts it, and that answer."""
        begun = time.perf_counter()
        await self.click(user_id, product_id)
        answer = await self.recommend(user_id, dry_run=True)
        return (time.perf_counter() - begun) * 1e3, answer

    async def recommend_all(
        self,
        asked: Sequence[tuple[str, Sequence[str]]],
        *,
        at_once: int,
        done: Callable[[], None] = lambda: None,
    ) -> list[pb.RecommendResponse]:
        """Ten products for each (user, products to leave out), ranked by score alone, in the order asked."""
        room = asyncio.Semaphore(at_once)

        async def one(user_id: str, excluded: Sequence[str]) -> pb.RecommendResponse:
            async with room:
                wanted = pb.Filter(excluded_product_ids=excluded)
                answer = await self.recommend(user_id, filter=wanted, diversity=0.0, dry_run=True)
            done()
            return answer

        return list(await asyncio.gather(*(one(user_id, excluded) for user_id, excluded in asked)))
