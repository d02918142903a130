"""The catalogue worker over real stores in memory, with stand-ins for what lies outside, and its messages."""

from __future__ import annotations

import io
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray
from PIL import Image as Pictures
from records import NOW_US, Record

from freshet import bootstrap
from freshet.adapters.images import ImageLoader
from freshet.adapters.kafka import Outgoing
from freshet.codec import wire
from freshet.domain.products import Image
from freshet.domain.representations import Matrix, Modality
from freshet.errors import DependencyDown, ImageRejected
from freshet.representation.manifest import ENCODED, Manifest, SegmentEntry
from freshet.settings import Settings
from freshet.stream.batches import Run
from freshet.stream.catalog import CatalogWorker
from freshet.stream.encoding import ProductEncoder
from freshet.stream.worker import Batch
from freshet.v1 import product_pb2 as pb
from freshet.v1 import stream_pb2

SIZES = {Modality.TEXT: 8, Modality.IMAGE: 4, Modality.PRICE: 4, Modality.REVIEWS: 4, Modality.JOINT: 4}


def manifest(version: str) -> Manifest:
    return Manifest(
        model_version=version,
        segments=tuple(SegmentEntry(name=name, size=size) for name, size in SIZES.items()),
        typical_prices={"": 3.0},
        ranking={},
        training={},
        metrics={},
        files={},
    )


class HashEncoders:
    """Deterministic vectors made from a digest of each row's input; counts the rows of every encoder."""

    def __init__(self, version: str) -> None:
        self.layout = manifest(version).layout
        self.rows: Counter[str] = Counter()
        self.down = False
        self.salt = b""

    async def encode(self, modality: Modality, inputs: Mapping[str, NDArray[np.generic]]) -> Matrix:
        if self.down:
            raise DependencyDown("triton", "not there")
        count = len(next(iter(inputs.values())))
        self.rows[modality.value] += count
        return np.stack(
            [self._vector([self.salt, *(value[i] for value in inputs.values())], SIZES[modality]) for i in range(count)]
        )

    async def fuse(self, parts: Mapping[Modality, Matrix], present: NDArray[np.bool_]) -> Matrix:
        self.rows["fusion"] += len(present)
        whole = [
            self.layout.assemble({m: parts[m][i] for j, m in enumerate(ENCODED) if row[j]})
            for i, row in enumerate(present)
        ]
        return np.stack(whole)

    async def sentiment(self, inputs: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float32]:
        """Praise and complaint by the lexicon's first feature."""
        self.rows["sentiment"] += len(inputs["lexicon"])
        return np.asarray(inputs["lexicon"], np.float32)[:, 0] / 2 + 0.5

    async def canary(self) -> None: ...

    async def close(self) -> None: ...

    @staticmethod
    def _vector(values: list[Any], size: int) -> NDArray[np.float32]:
        seed = xxhash.xxh32_intdigest(b"".join(np.ascontiguousarray(value).tobytes() for value in values))
        return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


class Kafka:
    """Takes what is published, and confirms it."""

    def __init__(self) -> None:
        self.published: list[stream_pb2.Representation] = []
        self.causes: list[str] = []
        self.down = False

    def publish_all(self, topic: str, records: Sequence[Outgoing]) -> Future[dict[int, int]]:
        if self.down:
            raise DependencyDown("kafka", "not there")
        for _, value, headers in records:
            assert value is not None
            self.published.append(stream_pb2.Representation.FromString(value))
            cause = wire.read_cause(headers)
            self.causes.append(cause[0] if cause is not None else "")
        future: Future[dict[int, int]] = Future()
        future.set_result({0: len(self.published)} if records else {})
        return future

    def close(self) -> None: ...


@dataclass
class Letters:
    sent: list[tuple[str, str, int]] = field(default_factory=list)

    async def send(self, reason: int, detail: str, record: Any, topic: str, partition: int, worker: str) -> None:
        self.sent.append((stream_pb2.DeadLetter.Reason.Name(reason), detail, record.offset))


class Pictures404:
    """Every picture is missing, until `content` is set."""

    def __init__(self) -> None:
        self.asked = 0
        self.content: bytes | None = None

    async def load(self, image: Image) -> bytes:
        self.asked += 1
        if self.content is None:
            raise ImageRejected("image.uri", "the server answered 404")
        return self.content


class Line:
    """A worker, and everything around it that a test looks at. `send` gives records offsets in order."""

    def __init__(self, *, version: str = "m1", url: str = "", pictures: Any = None) -> None:
        self.settings = Settings(database_url=url or f"memory://{uuid.uuid4().hex}")
        self.encoders, self.kafka, self.letters = HashEncoders(version), Kafka(), Letters()
        self.store = bootstrap.catalog_store(self.settings, version)
        card = manifest(version)
        encoder = ProductEncoder(self.encoders, card, pictures or ImageLoader(self.settings.images))
        self.worker = CatalogWorker(
            self.store,
            encoder,
            card.layout,
            self.kafka,  # type: ignore[arg-type]
            self.letters,  # type: ignore[arg-type]
            self.settings,
            now_us=lambda: NOW_US,
        )
        self.records: dict[str, list[Record]] = {topic: [] for topic in self.worker.topics}

    async def send(self, *messages: pb.ProductEvent | pb.Review | bytes) -> list[stream_pb2.Representation]:
        """Apply these in one batch; returns what was published for it."""
        first = {topic: len(records) for topic, records in self.records.items()}
        for message in messages:
            topic = self.worker.topics[isinstance(message, pb.Review)]
            value = message if isinstance(message, bytes) else message.SerializeToString()
            self.records[topic].append(Record(len(self.records[topic]), value))
        return await self.apply({topic: records[first[topic] :] for topic, records in self.records.items()})

    async def apply(self, records: Mapping[str, list[Record]]) -> list[stream_pb2.Representation]:
        positions = {place: step.next_offset for place, step in self.worker.progress().items()}
        fresh, repeated = [], []
        for topic, listed in records.items():
            position = positions.get((topic, 0), 0)
            for runs, chosen in (
                (fresh, [r for r in listed if r.offset >= position]),
                (repeated, [r for r in listed if r.offset < position]),
            ):
                if chosen:
                    runs.append(Run(topic, 0, chosen))
        before = len(self.kafka.published)
        await self.worker.apply(Batch(fresh, repeated, positions))
        return self.kafka.published[before:]


def event(time_s: int = 0, **change: Any) -> pb.ProductEvent:
    message = pb.ProductEvent(**change)
    message.event_time.FromMicroseconds(NOW_US - 1_000_000_000 + time_s * 1_000_000)
    return message


def boot(**facts: Any) -> pb.Product:
    return pb.Product(**{"product_id": "boot", "title": "Red boot", "price": 80.0} | facts)


def price(value: float, time_s: int = 1) -> pb.ProductEvent:
    patch = pb.ProductPatch(product=pb.Product(product_id="boot", price=value))
    patch.update_mask.paths.append("price")
    return event(time_s, patch=patch)


def review(review_id: str, product_id: str, rating: float, text: str, time_s: int = 0) -> pb.Review:
    message = pb.Review(review_id=review_id, product_id=product_id, rating=rating, text=text)
    message.event_time.FromMicroseconds(NOW_US - 1_000_000_000 + time_s * 1_000_000)
    return message


def png(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Pictures.new("RGB", (20, 30), colour).save(file, "PNG")
    return file.getvalue()
