"""What every catalogue store keeps to: in memory, SQLite and PostgreSQL alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from stores import MODEL, Backend, advance, assert_same_row, float16, teapot

from freshet.domain.products import Image, ProductState, Stamped, Version
from freshet.domain.representations import Modality
from freshet.domain.reviews import WINDOW_US, StoredReview, Window
from freshet.errors import ProgressConflict
from freshet.ports import CatalogRow, Encoding


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


def test_a_catalogue_advance_that_does_not_fit_writes_nothing(backend: Backend) -> None:
    catalog, row = backend.catalog(), teapot()
    catalog.apply("catalog", [], [], [advance(0, 10)])
    review = StoredReview("r", row.product_id, 1.0, None, Version(1, 1))
    with pytest.raises(ProgressConflict):
        catalog.apply("catalog", [row], [review], [advance(0, 11)])
    assert catalog.load([row.product_id]) == {}
    assert catalog.load_reviews(["r"]) == {}
