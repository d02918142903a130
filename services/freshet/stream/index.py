"""The index worker: published representations become rows of the vector index. May import `ports` and this room."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
import structlog
from prometheus_client import Histogram

from freshet import bootstrap
from freshet.codec import wire
from freshet.domain.progress import Progress
from freshet.domain.representations import Layout, unpack
from freshet.errors import InvalidInput
from freshet.ports import ProfileStore, VectorIndex
from freshet.settings import Settings
from freshet.stream.batches import Run
from freshet.stream.worker import Batch
from freshet.telemetry import tell_model
from freshet.v1 import stream_pb2

WRITE_SECONDS = Histogram(
    "freshet_index_write_seconds", "Time of one write into the index, done or failed.", ["kind"],
    buckets=[0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30],
)  # fmt: skip

log = structlog.get_logger()


class IndexWorker:
    """Upserts and deletes by product number; a product's newest record in a batch stands for all.

    What was already applied is applied again when it comes again: an upsert may be repeated. Products that cannot be
    bought stay in the index, since they may be back in a minute; answers leave them out.
    """

    name = "index"

    def __init__(self, index: VectorIndex, store: ProfileStore, layout: Layout, settings: Settings) -> None:
        self.topics: Sequence[str] = (settings.topics.representations,)
        self._index, self._store, self._layout = index, store, layout

    def progress(self) -> Mapping[tuple[str, int], Progress]:
        """How far the index is."""
        return self._store.progress(self.name)

    async def open(self) -> None:
        """Have this model version's collection."""
        await self._index.ensure()

    async def apply(self, batch: Batch) -> None:
        """Write a batch into the index, then its progress. Raises DependencyDown."""
        newest: dict[int, stream_pb2.Representation] = {}
        times: dict[tuple[str, int], int] = {}
        for run in (*batch.repeated, *batch.runs):
            times[run.topic, run.partition] = self._collect(run, newest)
        removed = [number for number, message in newest.items() if message.removed]
        kept = {number: message for number, message in newest.items() if not message.removed}
        if kept:
            vectors = np.stack([unpack(message.vector) for message in kept.values()])
            with WRITE_SECONDS.labels("upsert").time():
                await self._index.upsert(np.fromiter(kept, np.int64, len(kept)), vectors)
        if removed:
            with WRITE_SECONDS.labels("delete").time():
                await self._index.delete(np.array(removed, dtype=np.int64))
        await asyncio.to_thread(self._store.apply, self.name, [], [], batch.advances(times))

    async def close(self) -> None:
        await self._index.close()
        await asyncio.to_thread(self._store.close)

    def _collect(self, run: Run, newest: dict[int, stream_pb2.Representation]) -> int:
        """Note a run's representations of this model version; returns the newest event time, in microseconds."""
        latest = 0
        for record in run.records:
            if record.value is None:
                continue
            try:
                message = wire.decode(record.value, record.headers, stream_pb2.Representation)
            except InvalidInput as error:
                # Freshet alone writes this topic: nothing to replay, but an operator should know.
                log.error("unreadable representation", offset=record.offset, partition=run.partition, error=str(error))
                continue
            latest = max(latest, message.event_time.ToMicroseconds())
            if message.model_version == self._layout.model_version:
                newest[message.product_number] = message
        return latest


def open_index_worker(settings: Settings) -> IndexWorker:
    """The worker with the adapters that the settings name."""
    layout = bootstrap.model_manifest(settings).layout
    tell_model(layout.model_version)
    return IndexWorker(bootstrap.vector_index(settings, layout), bootstrap.profile_store(settings), layout, settings)
