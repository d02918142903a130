"""The catalogue worker: product changes and reviews become rows, vectors and published representations.

May import `codec`, `domain`, `ports`, the preprocessing, and this room; `open_catalog_worker` alone builds adapters.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from prometheus_client import Histogram

from freshet import bootstrap, tracing
from freshet.adapters.images import ImageLoader
from freshet.adapters.kafka import Outgoing, Producer
from freshet.codec import events, wire
from freshet.domain import products
from freshet.domain.products import Change, Patch, Product, ProductState, Removal, Upsert, Version
from freshet.domain.progress import Position, Progress, Published
from freshet.domain.representations import Layout
from freshet.domain.reviews import Review, StoredReview
from freshet.errors import InvalidInput, TooLarge
from freshet.ports import CatalogRow, CatalogStore
from freshet.settings import Settings
from freshet.stream.batches import Record, Run
from freshet.stream.canary import TrustedEncoders
from freshet.stream.dead_letters import DeadLetters, reason_of
from freshet.stream.encoding import Encoded, ProductEncoder
from freshet.stream.parts import parts
from freshet.stream.representing import representations
from freshet.stream.reviews import Reviews
from freshet.stream.worker import Batch
from freshet.telemetry import tell_model
from freshet.v1 import product_pb2

STAGE = Histogram(
    "freshet_catalog_stage_seconds", "Time of one stage of one batch.", ["stage"],
    buckets=[0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
)  # fmt: skip
CHUNK = 128
"""Products encoded together; further chunks are prepared while Triton works on one."""
PART_PRODUCTS = 512
"""Products that are stored together; they are published while the next are encoded."""


class _Event(NamedTuple):
    """A readable record: a product's change or a review."""

    place: Position
    record: Record
    version: Version
    change: Change | None
    review: Review | None

    @property
    def product_id(self) -> str:
        if self.review is not None:
            return self.review.product_id
        assert self.change is not None
        return events.product_id_of(self.change)

    @property
    def name(self) -> str:
        if self.review is not None:
            return "review"
        match self.change:
            case Removal():
                return "removal"
            case Patch(product, paths) if "available" in paths and not product.available:
                return "hidden"
            case Upsert(product) if not product.available:
                return "hidden"
        return "product"


@dataclass(slots=True)
class _Read:
    """A batch, read: what to apply, what to publish again, what to refuse, and the newest time per partition."""

    events: list[_Event] = field(default_factory=list)
    repeated: set[str] = field(default_factory=set)
    refused: list[tuple[Run, Record, InvalidInput]] = field(default_factory=list)
    newest: dict[tuple[str, int], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A part that the database holds: what is to be published of it, and by which record's cause."""

    part: Batch
    rows: Sequence[CatalogRow]
    products: Mapping[str, Product]
    causes: Mapping[Position, _Event]


@dataclass(slots=True)
class _Hand:
    """The batch in hand: its parts that are not stored yet, and those that are stored and not published."""

    batch: Batch
    waiting: deque[Batch]
    stored: deque[_Stored] = field(default_factory=deque)


class CatalogWorker:
    """Keeps the catalogue. One instance per process."""

    name = "catalog"

    def __init__(
        self,
        store: CatalogStore,
        encoder: ProductEncoder,
        layout: Layout,
        producer: Producer,
        dead_letters: DeadLetters,
        settings: Settings,
        *,
        trusted: TrustedEncoders | None = None,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        """`trusted`: what `encoder` calls, where it is this worker's to open and close."""
        self.topics: Sequence[str] = (settings.topics.products, settings.topics.reviews)
        self._store, self._encoder, self._layout = store, encoder, layout
        self._reviews = Reviews(store, encoder)
        self._producer, self._dead_letters, self._now_us = producer, dead_letters, now_us
        self._settings, self._trusted = settings, trusted
        self._reported: set[tuple[str, int, int]] = set()
        self._hand: _Hand | None = None
        """What has been done of a batch is not done again when it is applied again."""

    def progress(self) -> Mapping[tuple[str, int], Progress]:
        """How far the store is."""
        return self._store.progress(self.name)

    async def open(self) -> None:
        """Have Triton answer as this model does, and the producer connected: an idempotent one takes up to a second for
        its first record. Raises DependencyDown."""
        if self._trusted is not None:
            await self._trusted.open()
        await asyncio.to_thread(self._producer.connect, self._settings.topics.representations)

    async def apply(self, batch: Batch) -> None:
        """Merge, encode, store, publish: part by part. Raises DependencyDown: the batch may then be applied again."""
        if self._hand is None or self._hand.batch is not batch:
            self._hand = _Hand(batch, deque(parts(batch, PART_PRODUCTS)))
        hand = self._hand
        while hand.waiting or hand.stored:
            # A part is published while the next is encoded and stored, and never two at once: a product's
            # representations keep their order.
            publishing = asyncio.create_task(self._publish_first(hand.stored), name="publish")
            try:
                await self._store_first(hand)
            except asyncio.CancelledError:
                publishing.cancel()
                raise
            finally:
                await asyncio.wait([publishing])
            publishing.result()
        self._hand = None
        self._reported.clear()

    async def _store_first(self, hand: _Hand) -> None:
        """Store the first part that waits, unless publishing is behind."""
        if hand.waiting and len(hand.stored) < 2:
            hand.stored.append(await self._store_part(hand.waiting[0]))
            hand.waiting.popleft()

    async def _publish_first(self, stored: deque[_Stored]) -> None:
        """Publish the first of these, if there is one, and take it away."""
        if not stored:
            return
        first = stored[0]
        with STAGE.labels("publish").time():
            ends = await self._publish(first)
            await self._note_published([*first.part.runs, *first.part.repeated], ends)
        stored.popleft()

    async def _store_part(self, part: Batch) -> _Stored:
        with STAGE.labels("read").time():
            read = self._read(part)
            for run, record, error in read.refused:
                await self._refuse(run.topic, run.partition, record, error)
        with STAGE.labels("merge").time():
            rows, stored_reviews = await self._merge(read)
        with STAGE.labels("encode").time():
            encoded = await self._encode(list(rows.values()))
        by_product = {event.product_id: event for event in read.events if event.change is not None}
        for each in encoded:
            if each.rejected is not None and (event := by_product.get(each.row.product_id)) is not None:
                await self._refuse(event.place.topic, event.place.partition, event.record, each.rejected)
        changed = [each.row for each in encoded]
        again = read.repeated - {row.product_id for row in changed}
        kept = await asyncio.to_thread(self._store.load, sorted(again)) if again else {}
        with STAGE.labels("store").time():
            await asyncio.to_thread(self._store.apply, self.name, changed, stored_reviews, part.advances(read.newest))
        known = {each.row.product_id: each.product for each in encoded if each.product is not None}
        return _Stored(part, [*changed, *kept.values()], known, {event.place: event for event in read.events})

    async def close(self) -> None:
        if self._trusted is not None:
            await self._trusted.close()
        self._producer.close()
        await asyncio.to_thread(self._store.close)

    # Reading ---------------------------------------------------------------------------------------------------

    def _read(self, batch: Batch) -> _Read:
        now_us, read = self._now_us(), _Read()
        for run in batch.runs:
            latest = 0
            for record in run.records:
                try:
                    event = self._event(run, record, now_us)
                except InvalidInput as error:
                    read.refused.append((run, record, error))
                    continue
                read.events.append(event)
                latest = max(latest, event.version.event_time_us)
            read.newest[run.topic, run.partition] = latest
        for run in batch.repeated:
            for record in run.records:
                try:
                    read.repeated.add(self._event(run, record, now_us).product_id)
                except InvalidInput:
                    # It was refused when it came first.
                    continue
        return read

    def _event(self, run: Run, record: Record, now_us: int) -> _Event:
        limit = self._settings.stream.record_bytes
        if record.value is not None and len(record.value) > limit:
            raise TooLarge("", f"the record has {len(record.value):,} bytes; {limit:,} are allowed")
        place = Position(run.topic, run.partition, record.offset)
        received_us = record.timestamp * 1_000
        if run.topic == self._settings.topics.reviews:
            written = wire.decode(record.value, record.headers, product_pb2.Review)
            time_us = events.event_time_us(written, received_us, now_us)
            review = events.read_review(written, time_us, record.offset)
            return _Event(place, record, review.version, None, review)
        message = wire.decode(record.value, record.headers, product_pb2.ProductEvent)
        version = Version(events.event_time_us(message, received_us, now_us), record.offset)
        return _Event(place, record, version, events.read_product_event(message), None)

    async def _refuse(self, topic: str, partition: int, record: Record, error: InvalidInput) -> None:
        place = (topic, partition, record.offset)
        if place not in self._reported:
            await self._dead_letters.send(reason_of(error), str(error), record, topic, partition, self.name)
            self._reported.add(place)

    # Merging ---------------------------------------------------------------------------------------------------

    async def _merge(self, read: _Read) -> tuple[dict[str, CatalogRow], list[StoredReview]]:
        """Rows and reviews as they are after the batch's events."""
        if not read.events:
            return {}, []
        known = await self._known_reviews(read.events)
        ids = {event.product_id for event in read.events} | {old.product_id for old in known.values()}
        rows = await asyncio.to_thread(self._rows, sorted(ids))
        stale = [product_id for product_id, row in rows.items() if self._reviews.stale(row.reviews)]
        for product_id in stale:
            rows[product_id] = replace(rows[product_id], reviews=await self._reviews.rebuilt(product_id))
        if stale:
            known = await self._known_reviews(read.events)
        listed = [event.review for event in read.events if event.review is not None]
        ledger = await self._reviews.ledger(listed, known, {id_: row.reviews for id_, row in rows.items()})
        judged = iter(await self._reviews.judged(listed))
        changed: set[str] = set()
        for event in read.events:
            row = rows[event.product_id]
            state, time_us = row.state, max(row.event_time_us, event.version.event_time_us)
            if event.change is not None:
                state = products.merge(state, event.change, event.version)
            else:
                changed.update(ledger.put(next(judged)))
            rows[event.product_id] = CatalogRow(
                row.product_id, row.number, state, row.reviews, row.encoding, event.place, time_us
            )
        for product_id in changed:
            rows[product_id] = replace(rows[product_id], reviews=ledger.summary(product_id))
        # In the order of the events, what a review has left last.
        written = dict.fromkeys([*(event.product_id for event in read.events), *sorted(changed)])
        return {id_: rows[id_] for id_ in written}, [
            ledger.kept(review_id) for review_id in dict.fromkeys(review.review_id for review in listed)
        ]

    async def _known_reviews(self, listed: Sequence[_Event]) -> dict[str, StoredReview]:
        ids = sorted({event.review.review_id for event in listed if event.review is not None})
        return await asyncio.to_thread(self._store.load_reviews, ids) if ids else {}

    def _rows(self, ids: Sequence[str]) -> dict[str, CatalogRow]:
        rows = self._store.load(ids)
        missing = [product_id for product_id in ids if product_id not in rows]
        for product_id, number in (self._store.product_numbers(missing) if missing else {}).items():
            rows[product_id] = CatalogRow(product_id, number, ProductState(product_id))
        return rows

    # Encoding and publishing -----------------------------------------------------------------------------------

    async def _encode(self, rows: Sequence[CatalogRow]) -> list[Encoded]:
        """Every row; those of live products with their encoding brought up to date."""
        live = [row for row in rows if products.live(row.state)]
        chunks = [live[start : start + CHUNK] for start in range(0, len(live), CHUNK)]
        turn = asyncio.Semaphore(2)

        async def encode(chunk: Sequence[CatalogRow]) -> list[Encoded]:
            async with turn:
                return await self._encoder.encode(chunk)

        done = await asyncio.gather(*map(encode, chunks))
        rest = [Encoded(row) for row in rows if not products.live(row.state)]
        return [each for chunk in done for each in chunk] + rest

    async def _publish(self, stored: _Stored) -> dict[int, int]:
        """Publish, wait until Kafka has confirmed it, and return the offset after the last of each partition.

        Products that were never whole have nothing to publish.
        """
        topic = self._settings.topics.representations
        rows = [row for row in stored.rows if row.state.upserted is not None]
        messages = representations(rows, self._layout, stored.products)
        values = [wire.encode(message) for message in messages]

        def publish(headers: Sequence[wire.Headers]) -> Future[dict[int, int]]:
            keys = (row.product_id for row in rows)
            return self._producer.publish_all(topic, list(map(Outgoing, keys, values, headers)))

        headers = [self._headers(row, stored.causes) for row in rows]
        published = tracing.publishing_all(topic, headers, publish, [row.source for row in rows])
        return await asyncio.wrap_future(published)

    @staticmethod
    def _headers(row: CatalogRow, causes: Mapping[Position, _Event]) -> list[tuple[str, bytes | None]]:
        headers: list[tuple[str, bytes | None]] = [("content-type", wire.PROTOBUF.encode())]
        # A row that is published again has no cause in this batch, and its age says nothing of freshness.
        if row.source is not None and (cause := causes.get(row.source)) is not None:
            headers.append(wire.cause_header(cause.name, cause.record.timestamp))
        return headers

    async def _note_published(self, runs: Sequence[Run], ends: Mapping[int, int]) -> None:
        """Whoever waits for one of these records (`at_least`) has it once the topic is read up to `ends`."""
        published: dict[tuple[str, int], Published] = {}
        for run in runs:
            place, new = (run.topic, run.partition), Published(run.next_offset, ends)
            published[place] = published[place].joined(new) if place in published else new
        await asyncio.to_thread(self._store.note_published, published)


def open_catalog_worker(settings: Settings) -> CatalogWorker:
    """The worker with the adapters that the settings name."""
    manifest = bootstrap.model_manifest(settings)
    tell_model(manifest.model_version)
    trusted = TrustedEncoders(bootstrap.encoders(settings))
    encoder = ProductEncoder(trusted, manifest, ImageLoader(settings.images))
    producer = bootstrap.producer(settings)
    return CatalogWorker(
        bootstrap.catalog_store(settings, manifest.model_version),
        encoder,
        manifest.layout,
        producer,
        DeadLetters(producer, settings.topics.dead_letters),
        settings,
        trusted=trusted,
    )
