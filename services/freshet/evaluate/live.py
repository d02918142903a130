"""Quality of what a running system answers, over gRPC, beside baselines fitted in the same run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from freshet.client import AsyncFreshet
from freshet.errors import ConfigurationError, DependencyDown
from freshet.evaluate.held_out import HeldOut
from freshet.evaluate.metrics import Quality, ease, from_lists, from_scores, popularity, tf_idf
from freshet.v1 import recommendation_service_pb2 as pb

AT_ONCE = 8
TIMEOUT_SECONDS = 30.0


def baselines(data: HeldOut, users: int) -> dict[str, Quality]:
    """Popularity, TF-IDF and EASE (λ = 100), fitted on train, for the first so many users."""
    scorers = {"popularity": popularity(data.train), "tf_idf": tf_idf(data.train, data.texts), "ease": ease(data.train)}
    return {name: from_scores(scores, data.targets[:users], data.seen) for name, scores in scorers.items()}


async def ask_all(
    target: str, data: HeldOut, users: Sequence[int], answered: Callable[[], None]
) -> tuple[list[list[tuple[str, float]]], int]:
    """The ten products recommended to each user, and how many answers were degraded.

    What the user has in train and valid is left out; ranked by score alone (diversity 0). Raises DependencyDown.
    """
    room = asyncio.Semaphore(AT_ONCE)
    degraded = 0
    async with AsyncFreshet(recommend=target, timeout=TIMEOUT_SECONDS) as client:

        async def one(user: int) -> list[tuple[str, float]]:
            nonlocal degraded
            wanted = pb.Filter(excluded_product_ids=data.seen_ids(user))
            async with room:
                answer = await client.recommend(
                    data.users[user], page_size=10, filter=wanted, diversity=0.0, dry_run=True
                )
            if answer.basis != pb.PROFILE and answer.freshness.degraded:
                raise DependencyDown("recommend", "; ".join(answer.freshness.degraded_reasons))
            if answer.basis != pb.PROFILE:
                raise ConfigurationError(
                    f"{target} knows nothing of user {data.users[user][:16]}…; import the train split there first: "
                    "`freshet import hm DIR --dates recent --wait`"
                )
            degraded += answer.freshness.degraded
            answered()
            return [(product.product_id, product.score) for product in answer.products]

        return list(await asyncio.gather(*(one(user) for user in users))), degraded


def live_quality(lists: Sequence[Sequence[tuple[str, float]]], data: HeldOut, users: Sequence[int]) -> Quality:
    return from_lists(lists, [data.items[data.targets[user]] for user in users])
