"""A small shop: real stores in memory, a real mirror, a real gRPC server and channel in this process."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest

from freshet.adapters import memory
from freshet.adapters.images import ImageLoader
from freshet.codec.events import timestamp
from freshet.domain import covisits, profiles
from freshet.domain.affinity import AffinityRules
from freshet.domain.interactions import Kind
from freshet.domain.progress import Advance, Position, Published
from freshet.domain.representations import Layout, Modality, Segment, pack
from freshet.domain.scoring import RankingWeights
from freshet.domain.searching import SearchWeights
from freshet.errors import DependencyDown, ModelMismatch
from freshet.ports import BehaviourRow, ProfileRow
from freshet.recommend.exposures import Exposures
from freshet.recommend.mirror import Mirror
from freshet.recommend.pulse import Pulse
from freshet.recommend.query import QueryReader
from freshet.recommend.reads import Reads
from freshet.recommend.search import Searcher
from freshet.recommend.server import RecommendationServicer, Server
from freshet.recommend.service import Recommender
from freshet.recommend.under_way import UnderWay
from freshet.recommend.wait import AtLeast
from freshet.representation import preprocessing as pre
from freshet.settings import ImageSettings, ProfileSettings, RecommendSettings, Topics
from freshet.v1 import recommendation_service_pb2_grpc as rpc
from freshet.v1 import stream_pb2

LAYOUT = Layout("m1", (Segment(Modality.TEXT, 8), Segment(Modality.IMAGE, 4), Segment(Modality.JOINT, 4)))
TOPICS = Topics()
HALF_LIFE_US = int(14 * 86_400e6)
RULES = profiles.ProfileRules(
    weights=(0.0, 1.0, 1.0, 2.5, 4.0, 0.0, 3.0, -3.0, -4.0),
    rating_weight_per_star=1.5,
    half_life_us=HALF_LIFE_US,
    recent_products=64,
    covisit_window=20,
)
COVISITS = covisits.CovisitRules(int(30 * 86_400e6), int(86_400e6), 64)


@dataclass(frozen=True)
class Rec:
    """A record as the mirror wants one."""

    position: Position
    key: bytes | None
    value: bytes | None


@dataclass
class Written:
    """A publisher that keeps what it is given; confirms at once unless told otherwise."""

    records: list[tuple[str, Any, bytes]] = field(default_factory=list)
    confirm: bool = True

    def publish(
        self, topic: str, key: Any, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
    ) -> Future[Position]:
        assert value is not None
        self.records.append((topic, key, value))
        future: Future[Position] = Future()
        if self.confirm:
            future.set_result(Position(topic, 0, len(self.records) - 1))
        return future

    def exposures(self) -> list[stream_pb2.Exposure]:
        return [stream_pb2.Exposure.FromString(value) for _, _, value in self.records]


class Index:
    """Port VectorIndex, exact; may be told to be down or slow."""

    def __init__(self) -> None:
        self.numbers = np.empty(0, np.int64)
        self.vectors = np.empty((0, LAYOUT.dimension), np.float32)
        self.down = False
        self.seconds = 0.0
        self.searches = 0

    async def ensure(self) -> None: ...

    async def activate(self) -> None: ...

    async def upsert(self, numbers: Any, vectors: Any) -> None:
        await self.delete(numbers)
        self.numbers = np.concatenate([self.numbers, numbers])
        self.vectors = np.concatenate([self.vectors, vectors])

    async def delete(self, numbers: Any) -> None:
        kept = ~np.isin(self.numbers, numbers)
        self.numbers, self.vectors = self.numbers[kept], self.vectors[kept]

    async def search(self, queries: Any, limit: int, timeout_seconds: float) -> Any:
        self.searches += 1
        if self.down:
            raise DependencyDown("milvus", "connection refused")
        await asyncio.sleep(self.seconds)
        scores = queries @ self.vectors.T
        best = np.argsort(-scores, axis=1)[:, :limit]
        numbers = np.full((len(queries), limit), -1, np.int64)
        numbers[:, : best.shape[1]] = self.numbers[best]
        found = np.full((len(queries), limit), -np.inf, np.float32)
        found[:, : best.shape[1]] = np.take_along_axis(scores, best, axis=1)
        return numbers, found

    async def count(self) -> int:
        return len(self.numbers)

    async def close(self) -> None: ...


class Model:
    """ports.QueryEncoders of four words and two colours: a word's vector is its axis, and names a colour's picture."""

    layout = LAYOUT
    words = ("shirt", "boot", "lamp", "book")

    def __init__(self) -> None:
        self.down = self.wrong = False
        self.seconds = 0.0
        self.calls: list[str] = []
        tokens = pre.text_tokens(self.words)["tokens"][:, 0]
        self._axes = {int(token): axis for axis, token in enumerate(tokens)}

    async def encode(self, modality: Modality, inputs: Mapping[str, Any]) -> Any:
        await self._called(modality.value)
        if modality is Modality.TEXT:
            vectors = np.zeros((len(inputs["tokens"]), 8), np.float32)
            for row, tokens in enumerate(inputs["tokens"].tolist()):
                for token in filter(self._axes.__contains__, tokens):
                    vectors[row, self._axes[token]] += 2.0
            return vectors
        red = inputs["pixels"][..., 0].mean(axis=(1, 2)) > inputs["pixels"][..., 2].mean(axis=(1, 2))
        return np.eye(4, dtype=np.float32)[np.where(red, 0, 1)]

    async def caption(self, texts: Any) -> Any:
        await self._called("caption")
        return texts[:, :4]

    async def canary(self) -> None:
        await self._called("canary")
        if self.wrong:
            raise ModelMismatch("Triton serves another version")

    async def close(self) -> None: ...

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.down:
            raise DependencyDown("triton", "connection refused")
        await asyncio.sleep(self.seconds)


_NAMES = itertools.count()


class Shop:
    """Publishes what workers would write, and asks over a real channel."""

    def __init__(self, settings: RecommendSettings, weights: RankingWeights) -> None:
        url = f"memory://recommend-{next(_NAMES)}"
        self.store = memory.open_profile_store(url)
        self.catalog = memory.open_catalog_store(url, LAYOUT.model_version)
        self.serving = memory.open_serving_store(url)
        self.mirror = Mirror(LAYOUT, TOPICS.representations, capacity=4)
        self.index = Index()
        self.written = Written()
        self.reads = Reads(self.serving)
        self.under_way = UnderWay()
        self.pulse = Pulse(self.reads, self.mirror, self.under_way)
        self.at_least = AtLeast(self.reads, self.mirror, TOPICS)
        self.exposures = Exposures(self.written, TOPICS.exposures, limit=3)
        self.recommender = Recommender(
            settings=settings,
            profile_settings=ProfileSettings(),
            weights=weights,
            affinity=AffinityRules(words=1.0, ridge=20.0),
            mirror=self.mirror,
            reads=self.reads,
            index=self.index,
            pulse=self.pulse,
            at_least=self.at_least,
            exposures=self.exposures,
            under_way=self.under_way,
            interactions_topic=TOPICS.interactions,
        )
        self.model = Model()
        self.reader = QueryReader(
            LAYOUT, self.model, pre.TextReader(), ImageLoader(ImageSettings()), settings.queries_kept
        )
        searcher = Searcher(
            settings=settings,
            mirror=self.mirror,
            retriever=self.recommender.retriever,
            reader=self.reader,
            pulse=self.pulse,
            at_least=self.at_least,
            weights=SearchWeights(),
            interactions_topic=TOPICS.interactions,
        )
        servicer = RecommendationServicer(
            self.recommender,
            searcher,
            self.at_least.topics,
            self.under_way,
            deadline_seconds=1.0,
            wait_longest_seconds=30.0,
        )
        self.server = Server(servicer, "127.0.0.1", 0)
        self.offsets: dict[int, int] = {}
        self.next_interaction = 0

    def number(self, product_id: str) -> int:
        return self.store.product_numbers([product_id])[product_id]

    def representation(
        self, product_id: str, text: int | Sequence[float], image: int = 0, joint: int | None = None, **facts: Any
    ) -> stream_pb2.Representation:
        """A product whose segments point along the given axes, or along `text` itself where it is a direction."""
        words = np.eye(8, dtype=np.float32)[text] if isinstance(text, int) else np.array(text, np.float32)
        first = text if isinstance(text, int) else 0
        vector = LAYOUT.assemble(
            {
                Modality.TEXT: words,
                Modality.IMAGE: np.eye(4, dtype=np.float32)[image],
                Modality.JOINT: np.eye(4, dtype=np.float32)[(first if joint is None else joint) % 4],
            }
        )
        facts = {"available": True, "model_version": "m1", "title": product_id.title(), **facts}
        time_us = facts.pop("time_us", 1_700_000_000_000_000)
        return stream_pb2.Representation(
            product_id=product_id,
            product_number=self.number(product_id),
            vector=pack(vector),
            words=pre.word_hashes(facts["title"]),
            title_words=len(pre.word_hashes(facts["title"])),
            event_time=timestamp(time_us),
            **facts,
        )

    def add(self, message: stream_pb2.Representation, partition: int = 0) -> Position:
        """Let the mirror read it."""
        offset = self.offsets.get(partition, 0)
        self.offsets[partition] = offset + 1
        position = Position(TOPICS.representations, partition, offset)
        self.mirror.apply([Rec(position, message.product_id.encode(), message.SerializeToString())])
        return position

    def product(self, product_id: str, text: int | Sequence[float], image: int = 0, **facts: Any) -> Position:
        return self.add(self.representation(product_id, text, image, **facts))

    def published(self, below: tuple[str, int, int], ends: dict[int, int]) -> None:
        """Noted as the catalogue worker notes it: records of (topic, partition) below an offset."""
        topic, partition, next_offset = below
        self.catalog.note_published({(topic, partition): Published(next_offset, ends)})

    async def did(self, user: str, *what: tuple[str, Kind]) -> Position:
        """Interactions applied as the profile worker applies them; oldest first. Returns the last one's place."""
        data = self.store.load_profiles([user]).get(user)
        profile = profiles.decode(data) if data else profiles.Profile()
        now_us = time.time_ns() // 1_000
        first = self.next_interaction
        numbered = [
            (self.number(product_id), int(kind), None, now_us + i, 0) for i, (product_id, kind) in enumerate(what)
        ]
        visits = profiles.update(profile, numbered, RULES)
        touched = list(covisits.touched(visits))
        stored = self.store.load_behaviour(touched)
        behaviours = {n: covisits.decode(stored[n]) if n in stored else covisits.Behaviour() for n in touched}
        for visit in visits:
            covisits.record(behaviours, visit, COVISITS)
        self.next_interaction += len(what)
        self.store.apply(
            "profiles",
            [ProfileRow(user, profiles.encode(profile), now_us)],
            [BehaviourRow(n, b.trend, covisits.encode(b)) for n, b in behaviours.items()],
            [Advance(TOPICS.interactions, 0, first, self.next_interaction, now_us)],
        )
        await self.pulse.refresh(time.monotonic())
        return Position(TOPICS.interactions, 0, self.next_interaction - 1)


@pytest.fixture
async def open_shop() -> AsyncIterator[Callable[..., Any]]:
    """Opens shops, each with a stub on its own channel as `shop.ask`."""
    opened: list[tuple[Shop, grpc.aio.Channel]] = []

    async def open_(weights: RankingWeights | None = None, **settings: Any) -> Any:
        shop = Shop(RecommendSettings(**settings), weights or RankingWeights())
        await shop.server.start()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{shop.server.port}")
        shop.channel = channel  # type: ignore[attr-defined]
        shop.ask = rpc.RecommendationServiceStub(channel)  # type: ignore[attr-defined]
        opened.append((shop, channel))
        return shop

    yield open_
    for shop, channel in opened:
        await channel.close()
        await shop.server.stop()
        await shop.reader.close()


@pytest.fixture
async def shop(open_shop: Callable[..., Any]) -> Any:
    """Twelve products: four kinds by text (0 to 3), three each, in two looks."""
    shop = await open_shop()
    for kind, name in enumerate(("shirt", "boot", "lamp", "book")):
        for i in range(3):
            shop.product(
                f"{name}-{i}",
                kind,
                image=i % 2,
                brand=f"brand-{i}",
                categories=[name, "all"],
                price=10.0 * (kind + 1) + i,
                currency="EUR",
                time_us=1_700_000_000_000_000 + kind * 10 + i,
            )
    return shop
