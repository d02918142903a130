"""What stores of profiles, and those that answers read, keep to: in memory, SQLite and PostgreSQL alike."""

from __future__ import annotations

import pytest
from stores import TOPIC, Backend, advance

from freshet.domain.progress import Progress, Published
from freshet.errors import ProgressConflict
from freshet.ports import BehaviourRow, ProfileRow


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
