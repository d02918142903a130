"""One search from question to answer, stage by stage. May import every module of this room, `ports`, `domain`.

wait for at_least ► read words and picture ► filter ► retrieve: by vectors, and by words ► rank ► respond. Whatever is
down or too slow is answered around, and named in `freshness.degraded_reasons`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from freshet.domain.searching import SearchWeights, contributions, whole
from freshet.recommend import candidates as generation
from freshet.recommend.clock import Clock
from freshet.recommend.filters import allowed_rows
from freshet.recommend.measures import stage
from freshet.recommend.mirror import Mirror
from freshet.recommend.pages import Pages
from freshet.recommend.pulse import Pulse
from freshet.recommend.query import Query, QueryReader
from freshet.recommend.requests import SearchAsked
from freshet.recommend.respond import Truth, found_products, freshness
from freshet.recommend.retrieval import Retriever
from freshet.recommend.wait import AtLeast
from freshet.settings import RecommendSettings
from freshet.v1 import recommendation_service_pb2 as pb
from freshet.v1 import stream_pb2

DEEPEST = 1_000
"""So many products at most are ranked, whatever the pages."""


@dataclass(frozen=True, slots=True)
class Found:
    """A search's products, best first: `rows`, `sources` (masks) and `parts` (products, parts of a score)."""

    query: Query
    rows: NDArray[np.intp]
    sources: NDArray[np.uint8]
    parts: NDArray[np.float64]
    truth: Truth
    indexed: dict[int, int]


class Searcher:
    """Answers checked searches. Everything it needs is handed in."""

    def __init__(
        self,
        *,
        settings: RecommendSettings,
        mirror: Mirror,
        retriever: Retriever,
        reader: QueryReader,
        pulse: Pulse,
        at_least: AtLeast,
        weights: SearchWeights,
        interactions_topic: str,
    ) -> None:
        self._mirror, self._reader, self._pulse, self._at_least = mirror, reader, pulse, at_least
        self._settings, self._weights, self._interactions_topic = settings, weights, interactions_topic
        self._retriever = retriever
        self._pages: Pages[Found] = Pages()

    async def search(self, asked: SearchAsked, seconds: float) -> pb.SearchProductsResponse:
        """Raises ImageRejected, InvalidInput for a page token that is not good, DependencyDown with nothing left."""
        if asked.page_token:
            name, kept, offset = self._pages.open(asked.page_token, asked.fingerprint, time.monotonic())
            return self._page(asked, kept, name, offset)
        clock = Clock.of(seconds)
        reached, waited = await self._at_least.wait(asked.at_least, clock.left(asked.wait_seconds))
        query = await self._reader.read(asked.text, asked.image, clock, asked.model_seconds)
        weights = self._weights.times(asked.weights)
        with stage("filter"):
            allowed = allowed_rows(self._mirror, asked.filter, BitMap())
        found, words, indexed = await self._candidates(query, weights, allowed, asked, clock)
        with stage("rank"):
            rows, sources, parts = self._rank(query, weights, found, words)
        truth = Truth({}, 0, reached, waited, tuple(clock.missing))
        return self._page(asked, Found(query, rows, sources, parts, truth, indexed), None, 0)

    async def _candidates(
        self, query: Query, weights: SearchWeights, allowed: NDArray[np.bool_], asked: SearchAsked, clock: Clock
    ) -> tuple[generation.Candidates, NDArray[np.float64], dict[int, int]]:
        """Candidates; of the query's words the shares that every row has; and what the index showed, if asked."""
        mirror = self._mirror
        limit = max(self._settings.candidates_per_source, generation.TOTAL, asked.page_size)
        indexed: dict[int, int] = {}
        found: list[tuple[int, NDArray[np.intp]]] = []
        vector = whole(mirror.layout, query.vectors, weights)
        with stage("retrieve"):
            if vector.any():
                search = self._retriever.begin(
                    np.array([-1]),
                    vector[None],
                    allowed,
                    limit,
                    asked.page_size,
                    usual=False,
                    narrow=asked.filter.narrows,
                    seconds=clock.left(),
                    missing=clock.missing,
                )
                shown, missing = dict(self._pulse.indexed), len(clock.missing)
                near, fresh = await self._retriever.finish(search, clock.missing)
                if search.asking is not None and len(clock.missing) == missing:
                    indexed = shown
                found += [(int(pb.NEAR_QUERY), near[0]), (int(pb.FRESH), fresh)]
            words = mirror.lexicon.shares(query.words if weights.terms else {}, mirror.count)
            found.append((int(pb.WORDS), _highest(words[: len(allowed)].sum(axis=1) * allowed, limit)))
        return generation.union(mirror.count, found, allowed), words, indexed

    def _rank(
        self, query: Query, weights: SearchWeights, found: generation.Candidates, words: NDArray[np.float64]
    ) -> tuple[NDArray[np.intp], NDArray[np.uint8], NDArray[np.float64]]:
        """Rows, sources and parts by score; equal scores fall by what is newest."""
        mirror, rows = self._mirror, found.rows
        _, demand = self._pulse.demand.by_row(mirror)
        wanted = np.zeros(len(rows)) if demand is None else demand[rows].astype(np.float64)
        parts = contributions(mirror.layout, query.vectors, weights, mirror.vectors[rows], words[rows], wanted)
        order = np.lexsort((-mirror.times[rows], -parts.sum(axis=1)))[:DEEPEST]
        return rows[order], found.sources[order], parts[order]

    def _page(self, asked: SearchAsked, kept: Found, name: bytes | None, offset: int) -> pb.SearchProductsResponse:
        mirror = self._mirror
        with stage("respond"):
            places = slice(offset, min(offset + asked.page_size, len(kept.rows)))
            next_token = ""
            if places.stop < len(kept.rows):
                name = name or self._pages.keep(kept, asked.fingerprint, time.monotonic())
                next_token = self._pages.token(name, places.stop)
            return pb.SearchProductsResponse(
                products=found_products(
                    mirror, kept.query.words, kept.rows[places], kept.sources[places], kept.parts[places]
                ),
                next_page_token=next_token,
                freshness=freshness(mirror, kept.truth, self._interactions_topic),
                indexed=[
                    stream_pb2.Position(topic=mirror.topic, partition=partition, offset=offset_)
                    for partition, offset_ in kept.indexed.items()
                ],
            )


def _highest(values: NDArray[np.float64], limit: int) -> NDArray[np.intp]:
    """Indices of the `limit` largest values above zero."""
    rows = np.flatnonzero(values > 0.0)
    if len(rows) <= limit:
        return rows
    return rows[np.argpartition(-values[rows], limit - 1)[:limit]]
