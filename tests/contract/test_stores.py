"""What every store keeps to: in memory, SQLite and PostgreSQL alike."""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Barrier
from types import ModuleType
from uuid import uuid4

import numpy as np
import pytest

from freshet.adapters import memory, sql
from freshet.domain.products import Image, ProductState, Stamped, Version
from freshet.domain.progress import Advance, Position, Progress, Published
from freshet.domain.representations import Modality
from freshet.domain.reviews import WINDOW_US, ReviewSummary, StoredReview, Weighed, Window
from freshet.errors import ProgressConflict
from freshet.ports import BehaviourRow, CatalogRow, CatalogStore, Encoding, ProfileRow, ProfileStore, ServingStore

MODEL = "m-2026-11"
TOPIC = "freshet.interactions.v1"


class Backend:
    """Opens stores on one database, and closes them all."""

    def __init__(self, url: str, module: ModuleType) -> None:
        self.url = url
        self._module = module
        self._opened: list[CatalogStore | ProfileStore | ServingStore] = []
        module.migrate(url)

    def catalog(self, model_version: str = MODEL) -> CatalogStore:
        return self._keep(self._module.open_catalog_store(self.url, model_version))

    def profiles(self) -> ProfileStore:
        return self._keep(self._module.open_profile_store(self.url))

    def serving(self) -> ServingStore:
        return self._keep(self._module.open_serving_store(self.url))

    def _keep(self, store):  # type: ignore[no-untyped-def]
        self._opened.append(store)
        return store

    def close(self) -> None:
        for store in self._opened:
            store.close()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    match request.param:
        case "memory":
            opened = Backend(f"memory://{uuid4()}", memory)
        case "sqlite":
            opened = Backend(f"sqlite:///{tmp_path}/data/freshet.db", sql)
        case _:
            opened = Backend(request.getfixturevalue("postgresql_url"), sql)
    yield opened
    opened.close()


def advance(start: int, end: int, *, partition: int = 0, time_us: int = 0, topic: str = TOPIC) -> Advance:
    return Advance(topic, partition, start, end, time_us)


def float16(*shape: int, seed: int = 1) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(shape)
    return values.astype(np.float16).astype(np.float32)


def teapot() -> CatalogRow:
    """A product that uses every kind of value, with ids that are not ASCII."""
    v1, v2 = Version(1_790_000_000_000_001, 7), Version(1_790_000_000_000_002, 2**40)
    state = ProductState(
        "чайник-№1 🫖",
        {
            "title": Stamped("Wasserkessel „Émile“ \0 with a NUL", v1),
            "description": Stamped("", v1),
            "categories": Stamped(("Küche", "Kessel"), v2),
            "price": Stamped(0.1 + 0.2, v2),
            "currency": Stamped("EUR", v1),
            "brand": Stamped(None, v2),
            "available": Stamped(False, v2),
            "image": Stamped(Image(content=bytes(range(256)) * 40), v1),
            "attributes": Stamped({"色": "赤", "litres": "1,5"}, v1),
        },
        upserted=v1,
        removed=Version(1, 2),
    )
    return CatalogRow(
        product_id=state.product_id,
        number=1,
        state=state,
        reviews=ReviewSummary(
            (0, 1, 0, 2, 30),
            31,
            Weighed((0, 1_000, 0, 2_000, 2**40), 31_000, float16(256) / np.float32(3), 7, 2**50),
            MODEL,
        ),
        encoding=Encoding(
            MODEL,
            {Modality.TEXT: b"\x00\xffdigest", Modality.IMAGE: b""},
            {Modality.IMAGE: float16(64, seed=2), Modality.TEXT: float16(256, seed=3)},
            float16(416, seed=4),
        ),
        source=Position("freshet.products.v1", 3, 2**41),
        event_time_us=1_790_000_000_000_002,
    )


def assert_same_row(read: CatalogRow, written: CatalogRow) -> None:
    assert read.state == written.state
    for name in ("product_id", "number", "source", "event_time_us"):
        assert getattr(read, name) == getattr(written, name)
    assert (read.reviews.stars, read.reviews.text_count) == (written.reviews.stars, written.reviews.text_count)
    assert read.reviews.model_version == written.reviews.model_version
    assert replace(read.reviews.weighed, text_sum=None) == replace(written.reviews.weighed, text_sum=None)
    np.testing.assert_equal(read.reviews.weighed.text_sum, written.reviews.weighed.text_sum)
    assert (read.encoding is None) == (written.encoding is None)
    if read.encoding is not None and written.encoding is not None:
        assert read.encoding.model_version == written.encoding.model_version
        assert dict(read.encoding.inputs) == dict(written.encoding.inputs)
        assert list(read.encoding.parts) == list(written.encoding.parts)
        for name, part in written.encoding.parts.items():
            np.testing.assert_array_equal(read.encoding.parts[name], part)
        np.testing.assert_array_equal(read.encoding.vector, written.encoding.vector)
        assert read.encoding.vector.dtype == np.float32


def test_a_product_is_read_back_as_it_was_written(backend: Backend) -> None:
    catalog, row = backend.catalog(), teapot()
    catalog.apply("catalog", [row], [], [advance(0, 1)])
    read = backend.catalog().load([row.product_id, "unknown"])
    assert list(read) == [row.product_id]
    assert_same_row(read[row.product_id], row)


def test_a_product_without_anything_is_read_back_too(backend: Backend) -> None:
    catalog = backend.catalog()
    row = CatalogRow("patched-before-it-came", 9, ProductState("patched-before-it-came"))
    catalog.apply("catalog", [row], [], [])
    assert catalog.load([row.product_id])[row.product_id] == row


def test_a_picture_by_address_and_a_picture_that_was_taken_away(backend: Backend) -> None:
    catalog, row = backend.catalog(), teapot()
    catalog.apply("catalog", [row], [], [])
    for image in (Image(uri="https://shop.example/ü.jpg"), None):
        state = replace(row.state, fields={**row.state.fields, "image": Stamped(image, Version(5, 5))})
        catalog.apply("catalog", [replace(row, state=state)], [], [])
        assert catalog.load([row.product_id])[row.product_id].state == state


def test_a_store_reads_the_encodings_of_its_own_model_version_only(backend: Backend) -> None:
    row = teapot()
    backend.catalog().apply("catalog", [row], [], [])
    other = backend.catalog("m-2027-01")
    assert other.load([row.product_id])[row.product_id].encoding is None
    assert row.encoding is not None
    newer = replace(row, encoding=replace(row.encoding, model_version="m-2027-01", vector=float16(416, seed=9)))
    other.apply("catalog", [newer], [], [])
    assert_same_row(other.load([row.product_id])[row.product_id], newer)
    assert_same_row(backend.catalog().load([row.product_id])[row.product_id], row)


def test_a_row_without_an_encoding_leaves_the_one_that_is_stored(backend: Backend) -> None:
    catalog, row = backend.catalog(), teapot()
    catalog.apply("catalog", [row], [], [])
    catalog.apply("catalog", [replace(row, encoding=None, event_time_us=5)], [], [])
    assert_same_row(catalog.load([row.product_id])[row.product_id], replace(row, event_time_us=5))


def test_reviews_are_read_back_exactly_so_that_taking_one_out_undoes_adding_it(backend: Backend) -> None:
    catalog = backend.catalog()
    version = Version(1_790_000_000_000_000, 2**40)
    wordy = StoredReview("r-ü", "p", 4.5, float16(256) / np.float32(7), version, "Schön 🫖 '%s", 870, MODEL)
    silent = StoredReview("r-2", "p", None, None, Version(1, 0))
    catalog.apply("catalog", [], [wordy, silent], [])
    read = catalog.load_reviews(["r-2", "r-ü", "r-3"])
    assert set(read) == {"r-ü", "r-2"}
    assert read["r-2"] == silent
    np.testing.assert_array_equal(read["r-ü"].text_vector, wordy.text_vector)
    assert replace(read["r-ü"], text_vector=None) == replace(wordy, text_vector=None)


def test_the_reviews_of_a_window_are_those_of_its_day_and_product_with_the_smallest_ids(backend: Backend) -> None:
    catalog = backend.catalog()
    places = {"c": ("p", 0), "a": ("p", WINDOW_US - 1), "b": ("p", 5), "d": ("p", WINDOW_US), "e": ("q", 7)}
    stored = [StoredReview(id_, product, 3.0, None, Version(at, 1)) for id_, (product, at) in places.items()]
    catalog.apply("catalog", [], stored, [])
    wanted = [Window("p", 0), Window("p", 1), Window("q", 0), Window("r", 0)]
    read = catalog.load_windows(wanted, 2)
    assert {window: [each.review_id for each in listed] for window, listed in read.items()} == dict(
        zip(wanted, [["a", "b"], ["d"], ["e"], []], strict=True)
    )


def test_a_products_reviews_are_read_page_by_page_in_order_of_time_and_rewritten_in_place(backend: Backend) -> None:
    catalog = backend.catalog()
    stored = [StoredReview(f"r{i}", "p", 3.0, None, Version(i // 3, 1), "x") for i in (5, 1, 0, 3, 4, 2)]
    catalog.apply("catalog", [], [*stored, StoredReview("other", "q", 3.0, None, Version(1, 1))], [])
    found, after = [], (-1, "")
    while page := catalog.reviews_of("p", after, 4):
        found += page
        after = (page[-1].version.event_time_us, page[-1].review_id)
    assert [each.review_id for each in found] == [f"r{i}" for i in range(6)]
    judged = [replace(each, sentiment=12, model_version="m-next") for each in found]
    catalog.rewrite_reviews(judged)
    assert catalog.reviews_of("p", (-1, ""), 10) == judged


def test_product_ids_are_listed_page_by_page(backend: Backend) -> None:
    catalog = backend.catalog()
    ids = [f"p-{i:03}" for i in range(25)]
    catalog.apply("catalog", [CatalogRow(id_, i, ProductState(id_)) for i, id_ in enumerate(reversed(ids))], [], [])
    pages: list[str] = []
    while page := catalog.product_ids(pages[-1] if pages else "", 10):
        assert len(page) <= 10
        pages += page
    assert pages == ids


def test_vectors_of_live_products_are_listed_page_by_page_for_one_model_version(backend: Backend) -> None:
    ids = [f"p-{i:03}" for i in range(25)]
    vectors = float16(25, 6)
    live, gone = (
        ProductState("", upserted=Version(2, 0)),
        ProductState("", upserted=Version(1, 0), removed=Version(2, 0)),
    )
    for version, scale in ((MODEL, 1.0), ("m-older", -1.0)):
        rows = [
            CatalogRow(
                id_, i, replace(gone if i == 7 else live, product_id=id_),
                encoding=Encoding(version, {}, {}, np.float32(scale) * vectors[i]),
            )
            for i, id_ in enumerate(ids)
        ]  # fmt: skip
        backend.catalog(version).apply("catalog", rows[::-1], [], [])
    bare = CatalogRow("p-100", 100, replace(live, product_id="p-100"))
    catalog = backend.catalog()
    catalog.apply("catalog", [bare], [], [])
    listed: list[str] = []
    pages: list[np.ndarray] = []
    while (page := catalog.vectors(listed[-1] if listed else "", 10))[0]:
        assert len(page[0]) == len(page[1]) <= 10
        listed += page[0]
        pages.append(page[1])
    assert listed == [id_ for i, id_ in enumerate(ids) if i != 7]
    np.testing.assert_array_equal(np.concatenate(pages), np.delete(vectors, 7, axis=0))


def test_every_model_versions_encoding_of_a_product_is_listed(backend: Backend) -> None:
    state = ProductState("p", upserted=Version(1, 0))
    for version in ("m-2", "m-1"):
        encoding = Encoding(version, {Modality.TEXT: version.encode()}, {}, float16(4))
        backend.catalog(version).apply("catalog", [CatalogRow("p", 1, state, encoding=encoding)], [], [])
    found = backend.catalog().encodings("p")
    assert [(each.model_version, each.inputs[Modality.TEXT]) for each in found] == [("m-1", b"m-1"), ("m-2", b"m-2")]
    assert backend.catalog().encodings("q") == []


def test_profiles_and_behaviour_are_read_back(backend: Backend) -> None:
    profiles, serving = backend.profiles(), backend.serving()
    profiles.apply(
        "profiles",
        [ProfileRow("ユーザー", b"\x00\x01", 5), ProfileRow("u-2", b"", 6)],
        [BehaviourRow(7, 1.5, b"\xff"), BehaviourRow(2**40, -3.25, b"x")],
        [advance(0, 2)],
    )
    assert profiles.load_profiles(["u-2", "ユーザー", "none"]) == {"ユーザー": b"\x00\x01", "u-2": b""}
    assert profiles.load_behaviour([2**40, 8, 7]) == {7: b"\xff", 2**40: b"x"}
    assert serving.profile("ユーザー") == b"\x00\x01"
    assert serving.profile("none") is None
    numbers = profiles.product_numbers(["hat", "coat"])
    assert serving.numbered([*numbers.values(), 2**40]) == {number: name for name, number in numbers.items()}
    assert serving.numbered([]) == {}
    assert serving.behaviour([7, 8]) == {7: [b"\xff"]}
    assert serving.behaviour([]) == {}


def test_of_two_rows_with_one_key_the_last_is_kept(backend: Backend) -> None:
    profiles = backend.profiles()
    profiles.apply(
        "profiles",
        [ProfileRow("u", b"first", 1), ProfileRow("u", b"last", 2)],
        [BehaviourRow(1, 0.0, b"first"), BehaviourRow(1, 1.0, b"last")],
        [],
    )
    assert profiles.load_profiles(["u"]) == {"u": b"last"}
    assert profiles.load_behaviour([1]) == {1: b"last"}


def test_trending_products_come_highest_first(backend: Backend) -> None:
    trends = {1: -5.0, 2: 900.25, 3: 900.5, 4: 12.0, 5: 900.25}
    backend.profiles().apply("profiles", [], [BehaviourRow(n, t, b"") for n, t in trends.items()], [])
    serving = backend.serving()
    assert serving.trending(4) == [(3, 900.5), (2, 900.25), (5, 900.25), (4, 12.0)]
    backend.profiles().apply("profiles", [], [BehaviourRow(1, 901.0, b"")], [])
    assert serving.trending(1) == [(1, 901.0)]


def test_products_that_anybody_chose_are_told_once(backend: Backend) -> None:
    serving = backend.serving()
    assert serving.chosen(-1, 10).tolist() == []
    rows = [BehaviourRow(9, 1.0, b""), BehaviourRow(2**33, 1.0, b""), BehaviourRow(9, 0.5, b"", lane=1)]
    backend.profiles().apply("profiles", [], rows, [])
    assert serving.chosen(-1, 10).tolist() == [9, 2**33]
    assert serving.chosen(-1, 1).tolist() == [9]
    assert serving.chosen(9, 10).tolist() == [2**33]


def test_progress_is_kept_per_worker_topic_and_partition(backend: Backend) -> None:
    store = backend.profiles()
    assert store.progress("profiles") == {}
    store.apply("profiles", [], [], [advance(100, 120, time_us=50), advance(0, 3, partition=1, time_us=70)])
    store.apply("profiles", [], [], [advance(120, 130, time_us=40)])
    store.apply("index", [], [], [advance(0, 7, topic="freshet.representations.v1")])
    expected = {
        (TOPIC, 0): Progress(TOPIC, 0, 130, 50),  # the newest event time stays, though an older one came later
        (TOPIC, 1): Progress(TOPIC, 1, 3, 70),
    }
    assert store.progress("profiles") == expected
    assert backend.serving().progress("profiles") == expected
    assert list(store.progress("index")) == [("freshet.representations.v1", 0)]


@pytest.mark.parametrize("start", [0, 9, 11])
def test_an_advance_that_does_not_fit_writes_nothing(backend: Backend, start: int) -> None:
    store = backend.profiles()
    store.apply("profiles", [ProfileRow("u", b"before", 1)], [], [advance(0, 10), advance(0, 1, partition=1)])
    with pytest.raises(ProgressConflict, match=rf"{TOPIC}/0"):
        store.apply(
            "profiles",
            [ProfileRow("u", b"after", 2), ProfileRow("new", b"", 2)],
            [BehaviourRow(1, 1.0, b"after")],
            [advance(1, 2, partition=1), advance(start, 20)],
        )
    assert store.load_profiles(["u", "new"]) == {"u": b"before"}
    assert store.load_behaviour([1]) == {}
    assert {k: p.next_offset for k, p in store.progress("profiles").items()} == {(TOPIC, 0): 10, (TOPIC, 1): 1}
    store.apply("profiles", [ProfileRow("u", b"after", 2)], [], [advance(10, 20)])  # the store is still usable
    assert store.load_profiles(["u"]) == {"u": b"after"}


def test_a_catalogue_advance_that_does_not_fit_writes_nothing(backend: Backend) -> None:
    catalog, row = backend.catalog(), teapot()
    catalog.apply("catalog", [], [], [advance(0, 10)])
    review = StoredReview("r", row.product_id, 1.0, None, Version(1, 1))
    with pytest.raises(ProgressConflict):
        catalog.apply("catalog", [row], [review], [advance(0, 11)])
    assert catalog.load([row.product_id]) == {}
    assert catalog.load_reviews(["r"]) == {}


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


def test_the_change_counter_differs_after_a_commit_of_another_store(backend: Backend) -> None:
    serving, profiles = backend.serving(), backend.profiles()
    seen = [serving.change_counter()]
    assert serving.change_counter() == seen[0]
    for offset in range(3):
        profiles.apply("profiles", [], [], [advance(offset, offset + 1)])
        seen.append(serving.change_counter())
    profiles.apply("profiles", [ProfileRow("u", b"", 1)], [], [])
    seen.append(serving.change_counter())
    assert len(set(seen)) == len(seen)


def test_an_open_serving_store_reads_the_newest_commit(backend: Backend) -> None:
    serving, profiles = backend.serving(), backend.profiles()
    for offset in range(5):
        profiles.apply("profiles", [ProfileRow("u", bytes([offset]), 1)], [], [advance(offset, offset + 1)])
        assert serving.profile("u") == bytes([offset])
        assert serving.progress("profiles")[TOPIC, 0].next_offset == offset + 1


def test_what_was_published_only_grows_and_shows_in_an_open_serving_store(backend: Backend) -> None:
    serving, catalog, other = backend.serving(), backend.catalog(), backend.catalog()
    assert serving.published() == {}
    before = serving.change_counter()
    catalog.note_published({(TOPIC, 0): Published(5, {0: 7, 3: 2}), ("reviews", 1): Published(1, {})})
    assert serving.change_counter() != before
    other.note_published({(TOPIC, 0): Published(9, {3: 1, 4: 8})})
    catalog.note_published({(TOPIC, 0): Published(2, {0: 6})})
    assert serving.published() == {
        (TOPIC, 0): Published(9, {0: 7, 3: 2, 4: 8}),
        ("reviews", 1): Published(1, {}),
    }


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
