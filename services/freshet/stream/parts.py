"""Batches cut into parts: one part is published while the next is encoded. May import `worker`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from freshet.stream.batches import Run
from freshet.stream.worker import Batch


def parts(batch: Batch, products: int) -> list[Batch]:
    """The batch as batches of at most so many products each (records' keys), to be applied one after the other.

    However many records a product has in a row, they are applied at once. Each part stands where the one before it
    ends; what came again comes first.
    """
    positions = dict(batch.positions)
    cut = [Batch([], runs, positions, batch.assigned) for runs in _groups(batch.repeated, products)]
    for runs in _groups(batch.runs, products):
        cut.append(Batch(runs, [], positions, batch.assigned))
        positions = positions | {(run.topic, run.partition): run.next_offset for run in runs}
    return cut


def _groups(runs: Sequence[Run], products: int) -> Iterator[list[Run]]:
    """The runs in order, cut before the product that is one too many."""
    group, keys = list[Run](), set[bytes | None]()
    for run in runs:
        start = 0
        for place, record in enumerate(run.records):
            if record.key not in keys and len(keys) == products:
                if place > start:
                    group.append(Run(run.topic, run.partition, run.records[start:place]))
                yield group
                group, keys, start = [], set(), place
            keys.add(record.key)
        group.append(Run(run.topic, run.partition, run.records[start:]))
    if group:
        yield group
