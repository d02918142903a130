"""Several stores of one database at once: threads, processes and kills. In memory, SQLite and PostgreSQL alike."""

from __future__ import annotations

import itertools
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from threading import Barrier

import pytest
from stores import MODEL, TOPIC, Backend, advance, assert_same_row, teapot

from freshet.adapters import sql
from freshet.domain.products import ProductState, Version
from freshet.domain.reviews import StoredReview
from freshet.errors import ProgressConflict
from freshet.ports import BehaviourRow, CatalogRow, ProfileRow


def test_applying_the_same_rows_again_changes_nothing(backend: Backend) -> None:
    catalog, profiles, row = backend.catalog(), backend.profiles(), teapot()
    review = StoredReview("r", row.product_id, 1.0, None, Version(1, 1))
    for _ in range(2):
        catalog.apply("catalog", [row], [review], [])
        profiles.apply("profiles", [ProfileRow("u", b"1", 1)], [BehaviourRow(1, 2.0, b"b")], [])
    assert_same_row(catalog.load([row.product_id])[row.product_id], row)
    assert catalog.product_ids("", 10) == [row.product_id]
    assert backend.serving().trending(10) == [(1, 2.0)]


def test_numbers_are_counted_from_one_and_never_change(backend: Backend) -> None:
    store = backend.profiles()
    assert store.product_numbers([]) == {}
    assert store.product_numbers(["b", "a", "b"]) == {"b": 1, "a": 2}
    assert backend.catalog().product_numbers(["c", "a", "Ü"]) == {"a": 2, "c": 3, "Ü": 4}
    assert backend.profiles().product_numbers(["Ü", "b"]) == {"b": 1, "Ü": 4}


def test_thousands_of_rows_in_one_call(backend: Backend) -> None:
    count = 5_000
    catalog, profiles = backend.catalog(), backend.profiles()
    ids = [f"p-{i}" for i in range(count)]
    numbers = catalog.product_numbers(ids)
    assert list(numbers.values()) == list(range(1, count + 1))
    catalog.apply("catalog", [CatalogRow(id_, numbers[id_], ProductState(id_)) for id_ in ids], [], [])
    assert len(catalog.load(ids)) == count
    profiles.apply(
        "profiles",
        [ProfileRow(f"u-{i}", i.to_bytes(4), i) for i in range(count)],
        [BehaviourRow(i, float(i), i.to_bytes(4)) for i in range(count)],
        [advance(0, count)],
    )
    assert profiles.load_profiles([f"u-{i}" for i in range(count)]) == {f"u-{i}": i.to_bytes(4) for i in range(count)}
    assert profiles.load_behaviour(range(count)) == {i: i.to_bytes(4) for i in range(count)}


def test_of_two_workers_at_the_same_offset_exactly_one_writes(backend: Backend) -> None:
    stores = [backend.profiles() for _ in range(4)]
    for store in stores:
        store.progress("profiles")
    for start in range(0, 40, 10):  # the first round is the one in which the partition is not known yet
        together = Barrier(len(stores))

        def write(index: int, start: int = start, together: Barrier = together) -> int | None:
            together.wait(60)
            try:
                row = ProfileRow("u", bytes([index]), 1)
                stores[index].apply("profiles", [row], [], [advance(start, start + 10)])
            except ProgressConflict:
                return None
            return index

        with ThreadPoolExecutor(len(stores)) as threads:
            won = [index for index in threads.map(write, range(len(stores))) if index is not None]
        # A partition never seen takes any start; a store that comes second finds it known and does not fit.
        assert len(won) == 1
        assert stores[0].load_profiles(["u"]) == {"u": bytes([won[0]])}


def test_threads_that_number_products_at_once_agree(backend: Backend) -> None:
    stores = [backend.catalog() for _ in range(4)]
    together = Barrier(len(stores))

    def number(index: int) -> dict[str, int]:
        together.wait(60)
        found: dict[str, int] = {}
        for i in range(20):
            found |= stores[index].product_numbers([f"p-{(i * 7 + index + j) % 60}" for j in range(10)])
        return found

    with ThreadPoolExecutor(len(stores)) as threads:
        results = list(threads.map(number, range(len(stores))))
    merged: dict[str, int] = {}
    for result in results:
        assert all(merged.setdefault(id_, n) == n for id_, n in result.items())
    assert sorted(merged.values()) == list(range(1, len(merged) + 1))


def number_products(url: str, index: int, results: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    store = sql.open_catalog_store(url, MODEL)
    found: dict[str, int] = {}
    for i in range(30):
        found |= store.product_numbers([f"p-{(i * 3 + j) % 90}" for j in range(8)] + [f"own-{index}-{i}"])
    store.close()
    results.put(found)


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=True)
def test_processes_that_number_products_at_once_agree(backend: Backend) -> None:
    fresh = multiprocessing.get_context("spawn")
    results = fresh.Queue()
    processes = [fresh.Process(target=number_products, args=(backend.url, i, results)) for i in range(2)]
    for process in processes:
        process.start()
    first, second = results.get(timeout=60), results.get(timeout=60)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    shared = first.keys() & second.keys()
    assert len(shared) == 90
    assert all(first[id_] == second[id_] for id_ in shared)
    assert sorted((first | second).values()) == list(range(1, 151))


def test_stores_may_be_used_from_any_thread(backend: Backend) -> None:
    profiles = backend.profiles()

    def write_and_read(partition: int) -> bool:
        for offset in range(10):
            user = ProfileRow(f"u-{partition}", bytes([offset]), 1)
            profiles.apply("profiles", [user], [], [advance(offset, offset + 1, partition=partition)])
            if profiles.load_profiles([user.user_id]) != {user.user_id: user.data}:
                return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(write_and_read, range(8)))
    assert all(progress.next_offset == 10 for progress in profiles.progress("profiles").values())


def apply_for_ever(url: str, applied: Connection) -> None:
    store = sql.open_profile_store(url)
    known = store.progress("profiles").get((TOPIC, 0))
    start = known.next_offset if known is not None else 0
    for offset in itertools.count(start):
        users = [ProfileRow(f"u-{i}", offset.to_bytes(8), offset) for i in range(300)]
        store.apply("profiles", users, [], [advance(offset, offset + 1)])
        applied.send(offset + 1)


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=True)
def test_a_killed_worker_leaves_rows_and_offset_that_agree(backend: Backend) -> None:
    """Invariants 1 and 2: what was reported as applied is there, and rows and offset are of one transaction."""
    fresh = multiprocessing.get_context("spawn")
    store = backend.profiles()
    for _ in range(3):
        reports, applied = fresh.Pipe(duplex=False)
        process = fresh.Process(target=apply_for_ever, args=(backend.url, applied))
        process.start()
        applied.close()
        reported = [reports.recv() for _ in range(10)]
        process.kill()
        process.join(30)
        with suppress(EOFError):
            while True:
                reported.append(reports.recv())
        reports.close()
        # The server may still be committing what it was last sent: rows are compared with an offset that stood still.
        stands, written = -1, set[bytes]()
        while stands != (stands := store.progress("profiles")[TOPIC, 0].next_offset):
            written = set(store.load_profiles([f"u-{i}" for i in range(300)]).values())
        assert stands >= reported[-1]
        assert written == {(stands - 1).to_bytes(8)}
