"""A batch in parts: nothing is left out, no product's records in a row are torn apart, and each part goes on where the
one before it ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from records import Record

from freshet.stream.batches import Run
from freshet.stream.parts import parts
from freshet.stream.worker import Batch

KEYS = st.lists(st.sampled_from([b"a", b"b", b"c", b"d", None]), max_size=20)


def runs_of(topic: str, listed: list[list[bytes | None]], first: int) -> list[Run]:
    return [
        Run(topic, partition, [Record(first + i, b"", key) for i, key in enumerate(keys)])
        for partition, keys in enumerate(listed)
        if keys
    ]


@given(st.lists(KEYS, max_size=3), st.lists(KEYS, max_size=3), st.integers(1, 4))
def test_parts_add_up_to_the_batch_and_follow_one_another(
    repeated: list[list[bytes | None]], fresh: list[list[bytes | None]], most: int
) -> None:
    batch = Batch(runs_of("t", fresh, 100), runs_of("t", repeated, 0), {("t", n): 100 for n in range(3)})
    cut = parts(batch, most)
    positions = dict(batch.positions)
    seen: list[tuple[bool, int, int]] = []
    for part in cut:
        keys = {record.key for run in (*part.runs, *part.repeated) for record in run.records}
        assert 1 <= len(keys) <= most
        assert part.positions == positions
        for step in part.advances({}):
            assert step.from_offset == positions[step.topic, step.partition]
            positions[step.topic, step.partition] = step.next_offset
        seen += [(True, run.partition, record.offset) for run in part.repeated for record in run.records]
        seen += [(False, run.partition, record.offset) for run in part.runs for record in run.records]
    assert seen == [
        (again, run.partition, record.offset)
        for again, runs in ((True, batch.repeated), (False, batch.runs))
        for run in runs
        for record in run.records
    ]


def test_a_flood_about_one_product_is_applied_at_once() -> None:
    batch = Batch([Run("t", 0, [Record(i, b"", b"boot") for i in range(5_000)])], [], {})
    assert [len(part.runs[0].records) for part in parts(batch, 512)] == [5_000]
