"""Who the shoppers are: whose events came last, and what is known of one. May import this room, domain and ports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from freshet import bootstrap
from freshet.console.broker import Broker
from freshet.domain import profiles
from freshet.domain.interactions import Kind
from freshet.domain.products import Product, product
from freshet.errors import ConfigurationError, DependencyDown
from freshet.ports import CatalogStore, ServingStore
from freshet.settings import Settings

LATEST = 24
"""So many shoppers are offered at most."""
SHOWN = 8
DAY_US = 86_400_000_000


class Shoppers:
    """Building it connects nothing. Methods raise DependencyDown."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._broker = Broker(settings.kafka_url)
        self._turn = asyncio.Lock()
        self._stores: tuple[ServingStore, CatalogStore] | None = None

    async def close(self) -> None:
        await self._broker.close()
        for store in self._stores or ():
            store.close()

    async def latest(self) -> list[str]:
        """Whose interactions came to Kafka last, the latest first."""
        # The broker's connection reads for one caller at a time.
        async with self._turn:
            keys = await self._broker.latest_keys(self._settings.topics.interactions)
        return list(dict.fromkeys(key.decode("utf-8", "replace") for key in keys))[:LATEST]

    async def known(self, user_id: str) -> dict[str, Any]:
        """What the profile holds as JSON: shares of liking by category, and the products that weigh most.

        A weight is what the ranking takes: interactions by kind, halved every `half_life_days`; negative for what was
        disliked or hidden.
        """
        try:
            return await asyncio.to_thread(self._known, user_id)
        except ConfigurationError as error:
            raise DependencyDown("sql", str(error)) from error

    def _known(self, user_id: str) -> dict[str, Any]:
        if self._stores is None:
            self._stores = bootstrap.serving_store(self._settings), bootstrap.catalog_store(self._settings, "")
        serving, catalog = self._stores
        data = serving.profile(user_id)
        profile = profiles.Profile() if data is None else profiles.decode(data)
        half_life_us = int(self._settings.profiles.half_life_days * DAY_US)
        numbers, weights, kinds = profiles.decayed(profile, time.time_ns() // 1_000, half_life_us)
        names = serving.numbered(numbers.tolist())
        rows = catalog.load(list(names.values()))
        known = {id_: product(row.state) for id_, row in rows.items()}
        liked = [
            (known.get(names.get(number, "")), weight)
            for number, weight in zip(numbers.tolist(), weights.tolist(), strict=True)
        ]
        order = np.argsort(-np.abs(weights), kind="stable")[:SHOWN].tolist()
        return {
            "user": user_id,
            "seen": len(profile.seen),
            "interests": _interests(liked),
            "products": [
                {
                    "id": id_,
                    "title": known[id_].title if id_ in known else "",
                    "weight": float(weights[place]),
                    "kind": Kind(int(kinds[place])).name,
                }
                for place in order
                if (id_ := names.get(int(numbers[place])))
            ],
        }


def _interests(weighed: Sequence[tuple[Product | None, float]]) -> list[dict[str, Any]]:
    """Weights by the products' last category, as shares of all weight there is; the most liked first."""
    sums: dict[str, float] = {}
    for found, weight in weighed:
        name = found.categories[-1] if found is not None and found.categories else "no category"
        sums[name] = sums.get(name, 0.0) + weight
    whole = sum(map(abs, sums.values())) or 1.0
    ordered = sorted(sums.items(), key=lambda one: -one[1])
    shown = ordered if len(ordered) <= SHOWN else [*ordered[: SHOWN - 1], ordered[-1]]
    return [{"name": name, "share": value / whole} for name, value in shown]
