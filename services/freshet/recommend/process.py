"""One process of the service: builds it from settings, reads the catalogue, serves until told to stop.

Run as `python -m freshet.recommend.process` by freshet.recommend.commands, which sets the number of BLAS threads
before NumPy is loaded.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import structlog
import uvloop

from freshet import bootstrap, garbage, tracing
from freshet.adapters.kafka import Reader, ReadRecord, topic_bounds
from freshet.domain.affinity import affinity_rules
from freshet.domain.scoring import ranking_weights
from freshet.domain.searching import SearchWeights
from freshet.errors import DependencyDown, FreshetError
from freshet.recommend import measures
from freshet.recommend.exposures import Exposures
from freshet.recommend.lag import ReadingLag
from freshet.recommend.mirror import Mirror
from freshet.recommend.probe import RecallProbe
from freshet.recommend.pulse import Pulse
from freshet.recommend.query import QueryReader
from freshet.recommend.reads import Reads
from freshet.recommend.search import Searcher
from freshet.recommend.server import RecommendationServicer, Server
from freshet.recommend.service import Recommender
from freshet.recommend.under_way import UnderWay
from freshet.recommend.wait import AtLeast
from freshet.settings import Settings
from freshet.telemetry import Heartbeat, configure_logging, serve_metrics, tell_model

RETRY_SECONDS = 1.0
MEASURE_SECONDS = 1.0
ENDS_SECONDS = 10.0
"""So often Kafka is asked where the catalogue ends: a reader that hangs hears nothing of it itself."""

log = structlog.get_logger()


class Feeding:
    """Hands what a Reader's thread delivers to the mirror, in the event loop, one batch at a time."""

    def __init__(
        self, mirror: Mirror, under_way: UnderWay, loop: asyncio.AbstractEventLoop, first_uses: tracing.FirstUses
    ) -> None:
        self._mirror, self._under_way, self._loop, self._first_uses = mirror, under_way, loop, first_uses
        self._stopping = threading.Event()

    def deliver(self, records: Sequence[ReadRecord]) -> None:
        """Called in the reader's thread; returns when the records are applied, so that no more are held than these."""
        applied = threading.Event()

        def apply() -> None:
            # What was there at the start is as old as it is.
            told = self._mirror.filled.is_set()
            self._mirror.apply(records)
            self._under_way.arrived(len(records))
            applied.set()
            if told:
                measures.observe_freshness(records)
                if tracing.on():
                    self._first_uses.read([(record.key, record.headers) for record in records])

        if self._stopping.is_set():
            return
        self._loop.call_soon_threadsafe(apply)
        while not applied.wait(0.2):
            if self._stopping.is_set():
                return

    def stop(self) -> None:
        self._stopping.set()


async def serve(settings: Settings, heartbeat: Heartbeat, *, share_port: bool, announce: bool) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigurationError, ModelMismatch, and what ended a background task."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    manifest = bootstrap.model_manifest(settings)
    tell_model(manifest.model_version)
    mirror = Mirror(manifest.layout, settings.topics.representations)
    reads = Reads(bootstrap.serving_store(settings))
    index = bootstrap.vector_index(settings, manifest.layout)
    producer = bootstrap.producer(settings)
    first_uses = tracing.FirstUses()
    under_way = UnderWay()
    feeding = Feeding(mirror, under_way, loop, first_uses)
    reader = Reader(settings.kafka_url, settings.topics.representations, feeding.deliver, failed=_reader_failed)
    at_least = AtLeast(reads, mirror, settings.topics)
    pulse = Pulse(reads, mirror, under_way)
    recommender = Recommender(
        settings=settings.recommend,
        profile_settings=settings.profiles,
        weights=ranking_weights(manifest.ranking),
        affinity=affinity_rules(manifest.ranking),
        mirror=mirror,
        reads=reads,
        index=index,
        pulse=pulse,
        at_least=at_least,
        exposures=Exposures(producer, settings.topics.exposures),
        under_way=under_way,
        interactions_topic=settings.topics.interactions,
    )
    pictures = bootstrap.image_loader(settings)
    queries = QueryReader(
        manifest.layout,
        bootstrap.encoders(settings),
        manifest.text_reader(),
        pictures,
        settings.recommend.queries_kept,
    )
    searcher = Searcher(
        settings=settings.recommend,
        mirror=mirror,
        retriever=recommender.retriever,
        reader=queries,
        pulse=pulse,
        at_least=at_least,
        weights=SearchWeights(),
        interactions_topic=settings.topics.interactions,
    )
    servicer = RecommendationServicer(
        recommender,
        searcher,
        at_least.topics,
        under_way,
        deadline_seconds=settings.recommend.deadline_seconds,
        wait_longest_seconds=settings.recommend.at_least_longest_seconds,
        model_seconds=settings.recommend.model_seconds,
        first_uses=first_uses,
    )
    server = Server(servicer, settings.recommend.host, settings.recommend.port, share_port=share_port)
    await server.start()
    if announce:
        print(f"freshet recommend: listening on {settings.recommend.host}:{server.port}", flush=True)
    background = [
        loop.create_task(pulse.run()),
        loop.create_task(recommender.run()),
        loop.create_task(_follow(reader, mirror, server, stopping)),
        loop.create_task(_measure(mirror)),
        loop.create_task(heartbeat.run()),
        loop.create_task(RecallProbe(mirror, index).run()),
    ]
    if settings.metrics_port:
        background.append(loop.create_task(_measure_lag(settings, mirror)))
    failed: list[BaseException] = []

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            failed.append(error)
            stopping.set()

    for task in background:
        task.add_done_callback(ended)
    try:
        await stopping.wait()
        await server.stop()
        if failed:
            raise failed[0]
    finally:
        for task in background:
            task.cancel()
        feeding.stop()
        await asyncio.to_thread(reader.stop)
        await asyncio.to_thread(producer.close)
        await index.close()
        await queries.close()
        await pictures.close()
        reads.close()
        reads.store.close()
        await asyncio.to_thread(tracing.stop)


async def _follow(reader: Reader, mirror: Mirror, server: Server, stopping: asyncio.Event) -> None:
    """Begin to read, as soon as Kafka answers; say SERVING once everything that was there is read."""
    while True:
        try:
            await asyncio.to_thread(reader.start, 5.0)
            break
        except DependencyDown as error:
            log.warning("the catalogue cannot be read yet", detail=error.detail)
            await asyncio.sleep(RETRY_SECONDS)
    mirror.expect(reader.end)
    await mirror.filled.wait()
    garbage.settle()
    if not stopping.is_set():
        await server.ready(True)
        log.info("serving", products=mirror.count, model=mirror.layout.model_version)


async def _measure(mirror: Mirror) -> None:
    told = dict.fromkeys(("other_model", "unreadable"), 0)
    while True:
        measures.MIRROR_PRODUCTS.set(mirror.count)
        measures.MIRROR_UNSETTLED.set(len(mirror.unsettled()))
        for reason, count in (("other_model", mirror.other_model_records), ("unreadable", mirror.unreadable_records)):
            measures.MIRROR_IGNORED.labels(reason).inc(count - told[reason])
            told[reason] = count
        await asyncio.sleep(MEASURE_SECONDS)


async def _measure_lag(settings: Settings, mirror: Mirror) -> None:
    lag, topic = ReadingLag(), settings.topics.representations
    looked = -ENDS_SECONDS
    while True:
        if time.monotonic() - looked >= ENDS_SECONDS:
            looked = time.monotonic()
            with suppress(DependencyDown):
                bounds = await asyncio.to_thread(topic_bounds, settings.kafka_url, [topic], 2.0)
                # Of a partition whose records are all gone there is nothing to read.
                ends = {number: end if end > first else 0 for (_, number), (first, end) in bounds.items()}
                lag.look(ends, looked)
        behind = lag.behind(mirror.positions, time.monotonic())
        measures.MIRROR_LAG_RECORDS.set(behind.records)
        measures.MIRROR_LAG_SECONDS.set(behind.seconds)
        await asyncio.sleep(MEASURE_SECONDS)


def _reader_failed(error: FreshetError) -> None:
    log.warning("reading the catalogue", detail=str(error))


def main(arguments: Sequence[str]) -> None:
    """`arguments` are the process's number and how many share the port."""
    number, processes = int(arguments[0]), int(arguments[1])
    settings = Settings()
    configure_logging(settings, "recommend" if processes == 1 else f"recommend-{number}")
    try:
        heartbeat = Heartbeat()
        serve_metrics(settings, number, heartbeat)
        tracing.start(settings, "recommend")
        uvloop.run(serve(settings, heartbeat, share_port=processes > 1, announce=number == 0))
    except (FreshetError, RuntimeError) as error:
        print(f"freshet: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main(sys.argv[1:])
