"""The catalogue worker over real stores in memory: what is merged, what is encoded again, and what is published."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from numpy.typing import NDArray
from PIL import Image as Pictures

from freshet import bootstrap
from freshet.adapters.images import ImageLoader
from freshet.adapters.kafka import Outgoing
from freshet.codec import wire
from freshet.domain.products import Image
from freshet.domain.progress import Published
from freshet.domain.representations import Matrix, Modality
from freshet.errors import DependencyDown, ImageRejected
from freshet.representation.manifest import ENCODED, Manifest, SegmentEntry
from freshet.representation.preprocessing import word_hashes
from freshet.settings import Settings
from freshet.stream.batches import Run
from freshet.stream.catalog import PART_PRODUCTS, CatalogWorker
from freshet.stream.encoding import ProductEncoder
from freshet.stream.worker import Batch
from freshet.v1 import product_pb2 as pb
from freshet.v1 import stream_pb2

NOW_US = 1_790_000_000_000_000
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


@dataclass
class Record:
    offset: int
    value: bytes | None
    key: bytes | None = b"k"
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    timestamp: int = NOW_US // 1_000


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


async def test_a_price_change_calls_neither_the_text_nor_the_image_encoder() -> None:
    line = Line()
    await line.send(event(upsert=boot(image=pb.Image(content=png()))))
    assert line.encoders.rows == {"text": 1, "image": 1, "price": 1, "fusion": 1}
    (published,) = await line.send(price(60.0))
    assert line.encoders.rows == {"text": 1, "image": 1, "price": 2, "fusion": 2}
    assert published.price == 60.0


async def test_the_words_of_the_whole_text_are_published_the_titles_first() -> None:
    line = Line()
    (published,) = await line.send(event(upsert=boot(title="Red red Boot", description="Made in Zanzibar")))
    assert published.title_words == 2
    assert list(published.words)[:2] == word_hashes("red boot")
    assert set(word_hashes("ZANZIBAR")) <= set(published.words)
    assert len(set(published.words)) == len(published.words)


async def test_availability_changes_no_vector_and_is_published_at_once() -> None:
    line = Line()
    (before,) = await line.send(event(upsert=boot()))
    rows = dict(line.encoders.rows)
    (after,) = await line.send(event(1, upsert=boot(available=False)))
    assert (before.available, after.available) == (True, False)
    assert after.vector == before.vector
    assert line.encoders.rows == rows


async def test_a_patch_that_comes_before_its_product_waits_and_wins() -> None:
    line = Line()
    assert await line.send(price(60.0, time_s=5)) == []
    (published,) = await line.send(event(1, upsert=boot()))
    assert published.price == 60.0
    assert line.letters.sent == []


async def test_an_older_upsert_does_not_undo_a_newer_one() -> None:
    line = Line()
    await line.send(event(9, upsert=boot(title="New")))
    (published,) = await line.send(event(3, upsert=boot(title="Old")))
    assert published.title == "New"


async def test_two_changes_of_one_product_in_a_batch_are_one_row_with_both() -> None:
    line = Line()
    (published,) = await line.send(event(upsert=boot()), price(10.0))
    assert (published.title, published.price) == ("Red boot", 10.0)
    assert line.encoders.rows["price"] == 1


async def test_a_removed_product_is_published_as_removed_and_may_come_back() -> None:
    line = Line()
    (first,) = await line.send(event(upsert=boot()))
    (gone,) = await line.send(event(1, removal=pb.ProductRemoval(product_id="boot")))
    assert gone.removed
    assert not gone.vector
    (back,) = await line.send(event(2, upsert=boot()))
    assert not back.removed
    assert back.vector == first.vector
    assert back.product_number == first.product_number


async def test_the_event_that_a_representation_is_due_to_is_named() -> None:
    """Freshness is told by it: a product that is hidden is another promise than one that is new."""
    line = Line()
    hide, show = (pb.Product(product_id="boot", available=available) for available in (False, True))
    steps = [
        event(upsert=boot()),
        event(1, patch=pb.ProductPatch(product=hide, update_mask={"paths": ["available"]})),
        event(2, patch=pb.ProductPatch(product=hide, update_mask={"paths": ["title"]})),
        event(3, patch=pb.ProductPatch(product=show, update_mask={"paths": ["available"]})),
        event(4, upsert=pb.Product(product_id="boot", title="Boot", available=False)),
        event(5, removal=pb.ProductRemoval(product_id="boot")),
    ]
    for step in steps:
        await line.send(step)
    assert line.kafka.causes == ["product", "hidden", "product", "product", "hidden", "removal"]


async def test_records_that_come_again_change_nothing_and_are_published_again() -> None:
    line = Line()
    (first,) = await line.send(event(upsert=boot()))
    rows = dict(line.encoders.rows)
    again = await line.apply({topic: list(records) for topic, records in line.records.items()})
    assert again == [first]
    assert line.encoders.rows == rows


async def test_what_was_published_of_a_batch_is_noted_for_each_of_its_partitions() -> None:
    line = Line()
    products, reviews = line.worker.topics
    serving = bootstrap.serving_store(line.settings)
    await line.send(event(upsert=boot()), event(upsert=boot(product_id="hat")), review("r1", "boot", 5.0, "lovely"))
    assert serving.published() == {(products, 0): Published(2, {0: 2}), (reviews, 0): Published(1, {0: 2})}
    # A dead letter, and a patch of what nobody has published, change nothing: that is noted too.
    await line.send(b"\xff\xff\xff", review("r2", "unknown", 5.0, "lovely"))
    assert serving.published() == {(products, 0): Published(3, {0: 2}), (reviews, 0): Published(2, {0: 2})}


async def test_what_was_stored_and_not_published_is_noted_when_it_comes_again() -> None:
    line = Line()
    products, _ = line.worker.topics
    serving = bootstrap.serving_store(line.settings)
    line.kafka.down = True
    with pytest.raises(DependencyDown):
        await line.send(event(upsert=boot()))
    assert line.worker.progress()[products, 0].next_offset == 1
    assert serving.published() == {}
    line.kafka.down = False
    await line.apply({products: line.records[products]})
    assert serving.published() == {(products, 0): Published(1, {0: 1})}


async def test_where_publishing_fails_the_same_batch_is_published_and_not_stored_again() -> None:
    line = Line()
    products, _ = line.worker.topics
    batch = Batch([Run(products, 0, [Record(0, event(upsert=boot()).SerializeToString())])], [], {})
    line.kafka.down = True
    with pytest.raises(DependencyDown):
        await line.worker.apply(batch)
    rows = dict(line.encoders.rows)
    line.kafka.down = False
    await line.worker.apply(batch)
    assert [each.product_id for each in line.kafka.published] == ["boot"]
    assert line.encoders.rows == rows
    assert line.worker.progress()[products, 0].next_offset == 1
    assert bootstrap.serving_store(line.settings).published() == {(products, 0): Published(1, {0: 1})}


def shop(line: Line, count: int) -> Batch:
    """A batch of so many products, each of one upsert."""
    values = [event(upsert=boot(product_id=f"p{i}", title=f"Boot {i}")).SerializeToString() for i in range(count)]
    records = [Record(i, value, f"p{i}".encode()) for i, value in enumerate(values)]
    return Batch([Run(line.worker.topics[0], 0, records)], [], {})


async def test_a_large_batch_is_stored_in_parts_and_published_in_its_order() -> None:
    line = Line()
    await line.worker.apply(shop(line, 2 * PART_PRODUCTS + 1))
    assert [each.product_id for each in line.kafka.published] == [f"p{i}" for i in range(2 * PART_PRODUCTS + 1)]
    assert line.encoders.rows["fusion"] == 2 * PART_PRODUCTS + 1
    assert line.worker.progress()[line.worker.topics[0], 0].next_offset == 2 * PART_PRODUCTS + 1


async def test_what_is_done_of_a_batch_is_not_done_again_whatever_fails_of_the_rest() -> None:
    """Invariants 1 and 2: the offset goes with the part, and what is stored is published sooner or later."""
    line = Line()
    products, _ = line.worker.topics
    batch = shop(line, 4 * PART_PRODUCTS)
    encode, stored = line.encoders.encode, []

    async def failing(modality: Modality, inputs: Mapping[str, NDArray[np.generic]]) -> Matrix:
        line.encoders.down = line.encoders.rows["fusion"] == 2 * PART_PRODUCTS and not stored
        return await encode(modality, inputs)

    line.encoders.encode = failing  # type: ignore[method-assign]
    with pytest.raises(DependencyDown):
        await line.worker.apply(batch)
    # The second part was published beside the third, which failed.
    assert line.worker.progress()[products, 0].next_offset == len(line.kafka.published) == 2 * PART_PRODUCTS
    stored.append(True)
    line.kafka.down = True
    for _ in range(3):
        with pytest.raises(DependencyDown):
            await line.worker.apply(batch)
    # One part could not be published; the next was stored beside it.
    assert line.worker.progress()[products, 0].next_offset == 4 * PART_PRODUCTS
    line.kafka.down = False
    await line.worker.apply(batch)
    assert [each.product_id for each in line.kafka.published] == [f"p{i}" for i in range(4 * PART_PRODUCTS)]
    assert line.encoders.rows["fusion"] == 4 * PART_PRODUCTS


async def test_no_more_than_two_parts_wait_for_kafka() -> None:
    """Invariant 6."""
    line = Line()
    batch = shop(line, 4 * PART_PRODUCTS)
    line.kafka.down = True
    for _ in range(4):
        with pytest.raises(DependencyDown):
            await line.worker.apply(batch)
    assert line.worker.progress()[line.worker.topics[0], 0].next_offset == 2 * PART_PRODUCTS
    assert line.encoders.rows["fusion"] == 2 * PART_PRODUCTS


async def test_a_worker_that_is_told_to_stop_waits_for_no_confirmation() -> None:
    line = Line()
    asked = asyncio.Event()

    def never(topic: str, records: Sequence[Outgoing]) -> Future[dict[int, int]]:
        asked.set()
        return Future()

    line.kafka.publish_all = never  # type: ignore[method-assign]
    applying = asyncio.create_task(line.worker.apply(shop(line, 1)))
    await asyncio.wait_for(asked.wait(), 10.0)
    applying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(applying, 10.0)


async def test_a_review_is_encoded_once_and_its_replacement_takes_its_place() -> None:
    line = Line()
    await line.send(event(upsert=boot()))
    (published,) = await line.send(review("r1", "boot", 5.0, "lovely"))
    assert published.review_count == 1
    high = published.rating
    assert line.encoders.rows["text"] == 2
    (published,) = await line.send(review("r1", "boot", 1.0, "fell apart", time_s=2))
    assert published.review_count == 1
    assert published.rating < high
    (published,) = await line.send(review("r1", "boot", 5.0, "late and older", time_s=1))
    assert published.rating < high


async def test_reviews_words_are_judged_as_they_come_and_published_with_the_product() -> None:
    line = Line()
    (silent,) = await line.send(event(upsert=boot()))
    assert not silent.HasField("review_sentiment")
    (praised,) = await line.send(review("r1", "boot", 5.0, "I love these, a perfect fit"))
    (mixed,) = await line.send(review("r2", "boot", 1.0, "Awful. They fell apart, a waste of money"))
    assert praised.review_sentiment > 0.7 > mixed.review_sentiment
    (silent_stars,) = await line.send(review("r3", "boot", 1.0, ""))
    assert silent_stars.review_sentiment == mixed.review_sentiment
    assert line.encoders.rows["sentiment"] == 2


async def test_five_thousand_copies_of_a_review_move_a_product_no_further_than_a_handful_of_shoppers_would() -> None:
    """Invariant 6 besides: the worker reads a bounded number of a window's reviews."""
    line = Line()
    honest = [review(f"r{i}", "boot", 5.0, f"lovely boots number {i}", time_s=-86_400 * (i + 1)) for i in range(60)]
    (before,) = await line.send(event(upsert=boot()), *honest)
    copies = [
        review(f"x{i}", "boot", 1.0, "Garbage!  Do not buy" if i % 2 else "garbage! do not BUY") for i in range(5_000)
    ]
    for start in range(0, 5_000, 1_000):
        (after,) = await line.send(*copies[start : start + 1_000])
    assert after.review_count == 5_060
    assert before.rating > after.rating > 4.0
    assert before.review_sentiment > after.review_sentiment > 0.6
    assert line.store.load(["boot"])["boot"].reviews.stars == (5_000, 0, 0, 0, 60)


async def test_a_flood_comes_to_the_same_in_any_batches_and_in_any_order() -> None:
    flood = [review(f"x{i}", "boot", 1.0 + i % 3, f"bad {i % 40}", time_s=i) for i in range(120)]
    moved = [review(f"x{i}", "boot", 5.0, "good after all", time_s=500 + i) for i in range(0, 120, 7)]
    states = []
    for listed, size in ((flood + moved, 137), (flood + moved, 10), ([*reversed(moved), *reversed(flood)], 33)):
        line = Line()
        await line.send(event(upsert=boot()))
        for start in range(0, len(listed), size):
            await line.send(*listed[start : start + size])
        states.append(line.store.load(["boot"])["boot"].reviews)
    assert states[0].weighed.text_sum is not None
    for other in states[1:]:
        np.testing.assert_array_equal(other.weighed.text_sum, states[0].weighed.text_sum)
        assert replace(other.weighed, text_sum=None) == replace(states[0].weighed, text_sum=None)
        assert (other.stars, other.text_count) == (states[0].stars, states[0].text_count)


@pytest.mark.parametrize(
    "text", ["", "   ", "очень хорошие сапоги", "とても良い靴です", "word " * 50_000, "\0\0", "!!!"]
)
async def test_any_text_gives_a_review_that_counts(text: str) -> None:
    line = Line()
    (published,) = await line.send(event(upsert=boot()), review("r1", "boot", 4.0, text))
    assert published.review_count == 1
    assert published.HasField("review_sentiment") == bool(text.replace("\0", "").strip())
    assert line.letters.sent == []


async def test_a_review_that_moves_to_another_product_leaves_the_first() -> None:
    line = Line()
    await line.send(event(upsert=boot()), event(upsert=boot(product_id="hat")))
    await line.send(review("r1", "boot", 5.0, "lovely"))
    published = await line.send(review("r1", "hat", 4.0, "for the hat", time_s=1))
    assert {each.product_id: each.review_count for each in published} == {"boot": 0, "hat": 1}


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (b"\xff\xff\xff", "UNREADABLE", "not protobuf"),
        (b'{"upsert": {"productId": "a", "prize": 3}}', "UNREADABLE", "prize"),
        (event(upsert=boot(price=float("nan"))), "INVALID", "upsert.price"),
        (event(upsert=boot(product_id="")), "INVALID", "upsert.product_id"),
        (event(10_000, upsert=boot()), "INVALID", "future"),
        (pb.ProductEvent(), "INVALID", "change"),
        (event(upsert=boot(description="x" * 10_000_000)), "TOO_LARGE", "bytes"),
    ],
)
async def test_a_bad_record_is_a_dead_letter_and_the_good_one_after_it_is_applied(
    bad: pb.ProductEvent | bytes, reason: str, says: str
) -> None:
    line = Line()
    (published,) = await line.send(bad, event(upsert=boot()))
    assert published.product_id == "boot"
    ((sent_reason, detail, offset),) = line.letters.sent
    assert (sent_reason, offset) == (reason, 0)
    assert says in detail


async def test_a_product_whose_picture_cannot_be_had_is_applied_without_it_and_not_asked_for_at_a_price_change() -> (
    None
):
    missing = Pictures404()
    line = Line(pictures=missing)
    (published,) = await line.send(event(upsert=boot(image=pb.Image(uri="https://shop.example/boot.png"))))
    assert published.vector
    assert [reason for reason, _, _ in line.letters.sent] == ["IMAGE"]
    await line.send(price(60.0))
    assert missing.asked == 1
    missing.content = png()
    (healed,) = await line.send(event(5, upsert=boot(image=pb.Image(uri="https://shop.example/boot.png"))))
    assert missing.asked == 2
    assert healed.present_segments != published.present_segments


async def test_a_picture_that_lies_about_its_format_is_refused_and_the_product_stays() -> None:
    line = Line()
    (published,) = await line.send(event(upsert=boot(image=pb.Image(content=b"\x89PNG\r\n\x1a\nnot a picture"))))
    assert published.title == "Red boot"
    assert [reason for reason, _, _ in line.letters.sent] == ["IMAGE"]


async def test_while_the_encoders_are_down_nothing_is_stored_and_the_same_batch_succeeds_later() -> None:
    line = Line()
    line.encoders.down = True
    with pytest.raises(DependencyDown):
        await line.send(event(upsert=boot()))
    assert line.store.load(["boot"]) == {}
    assert line.kafka.published == []
    line.encoders.down = False
    (published,) = await line.apply({topic: list(records) for topic, records in line.records.items()})
    assert published.title == "Red boot"


async def test_another_model_version_encodes_everything_anew(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalog.db"
    bootstrap.migrate(Settings(database_url=url))
    first = Line(url=url)
    await first.send(event(upsert=boot()))
    second = Line(version="m2", url=url)
    second.records = first.records
    (published,) = await second.send(price(60.0))
    assert published.model_version == "m2"
    assert second.encoders.rows == {"text": 1, "price": 1, "fusion": 1}
    await first.worker.close()
    await second.worker.close()


async def test_invariant_5_another_model_judges_all_reviews_anew_before_one_is_added(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalog.db"
    bootstrap.migrate(Settings(database_url=url))
    first = Line(url=url)
    told = [review(f"r{i}", "boot", 1.0 + i % 5, f"text {i}", time_s=-40_000 * i) for i in range(12)]
    await first.send(event(upsert=boot()), *told)
    second, alone = Line(version="m2", url=url), Line(version="m2")
    second.encoders.salt = alone.encoders.salt = b"other"
    second.records = {topic: list(records) for topic, records in first.records.items()}
    await second.send(review("r12", "boot", 2.0, "text 12"), review("r3", "boot", 5.0, "text 3, better", time_s=9))
    await alone.send(
        event(upsert=boot()),
        *told,
        review("r12", "boot", 2.0, "text 12"),
        review("r3", "boot", 5.0, "text 3, better", time_s=9),
    )
    rebuilt, fresh = (line.store.load(["boot"])["boot"].reviews for line in (second, alone))
    np.testing.assert_array_equal(rebuilt.weighed.text_sum, fresh.weighed.text_sum)
    assert replace(rebuilt.weighed, text_sum=None) == replace(fresh.weighed, text_sum=None)
    assert (rebuilt.stars, rebuilt.text_count, rebuilt.model_version) == (fresh.stars, fresh.text_count, "m2")
    assert {each.model_version for each in second.store.reviews_of("boot", (-1, ""), 100)} == {"m2"}
    await first.worker.close()
    await second.worker.close()
