"""One request from question to answer, stage by stage. May import every module of this room, `ports`, `domain`.

validate ► wait for at_least ► read progress, then the profile ► interests ► candidates ► filter ► rank ► rerank ►
respond ► exposure. Whatever is down or too slow is answered around, and named in `freshness.degraded_reasons`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from freshet.domain.affinity import AffinityRules
from freshet.domain.progress import Progress
from freshet.domain.scoring import RankingWeights, Touched, shares
from freshet.errors import DependencyDown, InvalidInput, NotFound
from freshet.ports import VectorIndex
from freshet.recommend import candidates as generation
from freshet.recommend.behaviour import BehaviourReader
from freshet.recommend.candidates import Candidates
from freshet.recommend.clock import Clock
from freshet.recommend.exposures import Exposures, new_attribution_token
from freshet.recommend.filters import allowed_rows
from freshet.recommend.history import NO_HISTORY, History, Shopper, queries, read_history, stream_time_us, understand
from freshet.recommend.measures import stage
from freshet.recommend.mirror import Mirror
from freshet.recommend.pages import Pages
from freshet.recommend.pulse import Pulse
from freshet.recommend.rank import Affinities, Ranking, rank
from freshet.recommend.reads import Reads
from freshet.recommend.requests import RecommendAsked, SimilarAsked
from freshet.recommend.respond import Truth, freshness, products
from freshet.recommend.retrieval import Retriever
from freshet.recommend.under_way import UnderWay
from freshet.recommend.wait import AtLeast
from freshet.settings import ProfileSettings, RecommendSettings
from freshet.v1 import recommendation_service_pb2 as pb

STORE_SECONDS = 0.25
TRENDING_MOST = 100
NO_ONE = Touched(np.empty((0, 0), np.float32), np.empty(0, np.float32))


@dataclass(frozen=True, slots=True)
class Kept:
    """A ranking with all that its later pages need to be told the same way."""

    ranking: Ranking
    truth: Truth
    basis: pb.Basis
    kinds: Mapping[int, int]


class Recommender:
    """Answers checked questions. Everything it needs is handed in; `settings` are the room's own."""

    def __init__(
        self,
        *,
        settings: RecommendSettings,
        profile_settings: ProfileSettings,
        weights: RankingWeights,
        affinity: AffinityRules,
        mirror: Mirror,
        reads: Reads,
        index: VectorIndex,
        pulse: Pulse,
        at_least: AtLeast,
        exposures: Exposures,
        under_way: UnderWay,
        interactions_topic: str,
    ) -> None:
        self._settings, self._weights, self._mirror, self._reads = settings, weights, mirror, reads
        self._index, self._pulse, self._at_least, self._exposures = index, pulse, at_least, exposures
        self._interactions_topic = interactions_topic
        self._half_life_us = int(profile_settings.half_life_days * 86_400e6)
        covisit_half_life_us = int(profile_settings.covisit_half_life_days * 86_400e6)
        self.retriever = Retriever(mirror, index, settings, under_way)
        """Searches share it: what is sought ahead waits for them, too."""
        self._behaviour = BehaviourReader(reads, mirror, covisit_half_life_us, settings, affinity, under_way)
        self._pages: Pages[Kept] = Pages()

    async def run(self) -> None:
        """Work ahead of requests, until cancelled."""
        async with asyncio.TaskGroup() as ahead:
            ahead.create_task(self.retriever.run(self._weights))
            ahead.create_task(self._behaviour.run())

    # --- the two calls

    async def recommend(self, asked: RecommendAsked, seconds: float) -> pb.RecommendResponse:
        """Raises InvalidInput for a page token that is not good."""
        if asked.page_token:
            name, kept, offset = self._pages.open(asked.page_token, asked.fingerprint, time.monotonic())
            return self._page(asked, kept, name, offset)
        clock = Clock.of(seconds)
        reached, waited = await self._at_least.wait(asked.at_least, clock.left(asked.wait_seconds))
        with stage("profile"):
            progress, history = await self._read(asked.user_id, clock)
        weights = self._weights.times(asked.weights)
        shopper = understand(self._mirror, history, weights.recency)
        found, basis, affinities = await self._candidates(shopper, asked, weights, clock)
        ranking = self._rank(found, shopper, weights, affinities, asked.diversity)
        truth = Truth(progress, history.event_time_us, reached, waited, tuple(clock.missing))
        kinds = dict(zip(shopper.liked_rows.tolist(), shopper.liked_kinds.tolist(), strict=True))
        return self._page(asked, Kept(ranking, truth, basis, kinds), None, 0)

    async def list_similar(self, asked: SimilarAsked, seconds: float) -> pb.ListSimilarProductsResponse:
        """Raises NotFound for a product that this process has never read of, or that was removed."""
        clock = Clock.of(seconds)
        reached, waited = await self._at_least.wait(asked.at_least, clock.left(asked.wait_seconds))
        mirror = self._mirror
        row = mirror.row_of(asked.product_id)
        if row is None or not mirror.known(row):
            raise NotFound(f"product {asked.product_id!r} is unknown; publish it first, or check the identifier")
        progress = await self._progress(clock)
        rows = np.array([row])
        shopper = Shopper(
            liked_rows=rows,
            liked_kinds=np.zeros(1, np.uint8),
            liked=Touched(mirror.vectors[rows], np.ones(1, np.float32)),
            disliked=Touched(mirror.vectors[:0], np.empty(0, np.float32)),
            never=BitMap([int(mirror.numbers[row])]),
            seen=BitMap(),
            now_us=stream_time_us(progress.values()),
        )
        # How alike two products are does not depend on who has chosen them.
        weights = replace(self._weights.times(asked.weights), untried=1.0, untried_affinity=1.0)
        found, _, affinities = await self._candidates(shopper, asked, weights, clock)
        ranking = self._rank(found, shopper, weights, affinities, 0.0)
        truth = Truth(progress, 0, reached, waited, tuple(clock.missing))
        places = ranking.places(mirror, 0, asked.page_size)
        return pb.ListSimilarProductsResponse(
            products=products(mirror, ranking, places, {}, pb.PRODUCT),
            freshness=freshness(mirror, truth, self._interactions_topic),
        )

    # --- stages

    async def _progress(self, clock: Clock) -> Mapping[tuple[str, int], Progress]:
        try:
            return await self._at_least.progress(clock.left(STORE_SECONDS))
        except DependencyDown as error:
            clock.missing.append(f"{error.dependency}: {error.detail}; progress unknown")
            return {}

    async def _read(self, user_id: str, clock: Clock) -> tuple[Mapping[tuple[str, int], Progress], History]:
        """Progress first, then the profile: the profile is at least as new as what the answer says of it."""
        store = self._reads.store
        try:
            progress = await self._at_least.progress(clock.left(STORE_SECONDS))
            data = await self._reads.call(clock.left(STORE_SECONDS), store.profile, user_id)
            return progress, read_history(data, stream_time_us(progress.values()), self._half_life_us)
        except DependencyDown as error:
            clock.missing.append(f"{error.dependency}: {error.detail}; answered without the shopper's profile")
        except InvalidInput as error:
            clock.missing.append(f"{error}; answered without the shopper's profile")
        return {}, NO_HISTORY

    async def _candidates(
        self, shopper: Shopper, asked: RecommendAsked | SimilarAsked, weights: RankingWeights, clock: Clock
    ) -> tuple[Candidates, pb.Basis, Affinities]:
        """Candidates with the basis they stand on."""
        mirror = self._mirror
        hidden = shopper.never if asked.filter.include_seen else shopper.never | shopper.seen
        with stage("filter"):
            allowed = allowed_rows(mirror, asked.filter, hidden)
        trending, _ = self._pulse.demand.by_row(mirror)
        if not len(shopper.liked):
            return self._without_profile(trending, allowed, asked.page_size)
        rows, vectors, interests = queries(mirror, shopper, weights, self._settings.interests)
        search = self.retriever.begin(
            rows,
            vectors,
            allowed,
            generation.per_query(len(rows), self._settings.candidates_per_source, asked.page_size),
            asked.page_size,
            usual=not asked.weights,
            narrow=asked.filter.narrows,
            seconds=clock.left(),
            missing=clock.missing,
        )
        affinities = await self._affinities(shopper, weights, clock)
        with stage("retrieve"):
            near, fresh = await self.retriever.finish(search, clock.missing)
        found = [*generation.near(near, interests), (int(pb.FRESH), fresh)]
        together, alike = affinities.strongest(mirror.count, shares(shopper.liked), weights, generation.TOTAL // 2)
        found += [(pb.CO_VISIT, together), (pb.SIMILAR, alike)]
        found += [(pb.TRENDING_NOW, _first(trending, allowed, TRENDING_MOST))]
        return generation.union(mirror.count, found, allowed), pb.PROFILE, affinities

    def _without_profile(
        self, trending: NDArray[np.intp], allowed: NDArray[np.bool_], page_size: int
    ) -> tuple[Candidates, pb.Basis, Affinities]:
        wanted = max(4 * page_size, TRENDING_MOST)
        popular = _first(trending, allowed, wanted)
        basis = pb.TRENDING if len(popular) else pb.CATALOGUE
        found = [(pb.TRENDING_NOW, popular)]
        newest = np.empty(0, np.intp)
        if len(popular) < wanted:
            newest = self._mirror.newest(allowed, wanted)
        candidates = generation.union(self._mirror.count, found, allowed)
        if len(newest):
            extra = np.setdiff1d(newest, candidates.rows)
            rows = np.concatenate([candidates.rows, extra])
            sources = np.concatenate([candidates.sources, np.zeros(len(extra), np.uint8)])
            order = np.argsort(rows)
            candidates = Candidates(rows[order], sources[order])
        return candidates, basis, Affinities()

    async def _affinities(self, shopper: Shopper, weights: RankingWeights, clock: Clock) -> Affinities:
        if weights.behaviour == 0.0 and weights.alike == 0.0:
            return Affinities()
        with stage("behaviour"):
            return await self._behaviour.read(
                shopper.liked_rows, shopper.now_us, clock.left(STORE_SECONDS), clock.missing
            )

    def _rank(
        self, found: Candidates, shopper: Shopper, weights: RankingWeights, affinities: Affinities, diversity: float
    ) -> Ranking:
        _, demand = self._pulse.demand.by_row(self._mirror)
        with stage("rank"):
            tried = self._pulse.tried(self._mirror.numbers[found.rows])
            return rank(self._mirror, weights, found, shopper, affinities, demand, tried, diversity)

    def _page(self, asked: RecommendAsked, kept: Kept, name: bytes | None, offset: int) -> pb.RecommendResponse:
        mirror, ranking = self._mirror, kept.ranking
        with stage("respond"):
            places = ranking.places(mirror, offset, asked.page_size)
            end, next_token = offset + len(places), ""
            if end < len(ranking):
                name = name or self._pages.keep(kept, asked.fingerprint, time.monotonic())
                next_token = self._pages.token(name, end)
            token = new_attribution_token()
            shown = products(mirror, ranking, places, kept.kinds, kept.basis)
            response = pb.RecommendResponse(
                products=shown,
                next_page_token=next_token,
                attribution_token=token,
                freshness=freshness(mirror, kept.truth, self._interactions_topic),
                basis=kept.basis,
            )
        if shown and not asked.dry_run:
            self._exposures.record(
                attribution_token=token,
                user_id=asked.user_id,
                session_id=asked.session_id,
                shown=[(product.product_id, product.score) for product in shown],
                first_rank=offset,
                model_version=mirror.layout.model_version,
                time_us=time.time_ns() // 1_000,
                degraded=bool(kept.truth.degraded),
            )
        return response


def _first(rows: NDArray[np.intp], allowed: NDArray[np.bool_], limit: int) -> NDArray[np.intp]:
    rows = rows[rows < len(allowed)]
    return rows[allowed[rows]][:limit]
