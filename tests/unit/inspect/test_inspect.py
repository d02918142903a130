"""A product under the glass: neighbours by modality, disagreement, what changed last, near-identical products."""

from __future__ import annotations

import io
import itertools
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pictures

from freshet.adapters import memory
from freshet.adapters.images import ImageLoader
from freshet.domain import products
from freshet.domain.products import Image, ProductState, Stamped, Version
from freshet.domain.representations import Layout, Matrix, Modality, Segment
from freshet.errors import DependencyDown, NotFound
from freshet.inspect import duplicates, prices, scan
from freshet.inspect.duplicates import Alike, Thresholds
from freshet.inspect.page import render
from freshet.inspect.pictures import SIDE, thumbnails
from freshet.inspect.product import inspect
from freshet.inspect.scan import Neighbour, disagreement
from freshet.ports import CatalogRow, CatalogStore, Encoding
from freshet.representation import pricing
from freshet.representation.pricing import PriceHead
from freshet.settings import ImageSettings

LAYOUT = Layout(
    "m1",
    (Segment(Modality.TEXT, 4), Segment(Modality.IMAGE, 4), Segment(Modality.JOINT, 4), Segment(Modality.TERMS, 4)),
)
NUMBERS = itertools.count(1)


class Fusion:
    """Adds what is present: text on the joint's axes, pictures on the next."""

    def __init__(self) -> None:
        self.down = False

    async def fuse(self, parts: Mapping[Modality, Matrix], present: NDArray[np.bool_]) -> Matrix:
        if self.down:
            raise DependencyDown("triton", "connection refused")
        whole = np.zeros((len(present), LAYOUT.dimension), np.float32)
        for column, modality in enumerate((Modality.TEXT, Modality.IMAGE)):
            if modality in parts:
                whole[:, LAYOUT.slices[Modality.JOINT]] += parts[modality] * present[:, column : column + 1]
        return whole


class Catalogue:
    """A catalogue worker's store, filled by hand."""

    def __init__(self) -> None:
        self.url = f"memory://inspect-{uuid.uuid4()}"
        self.store: CatalogStore = memory.open_catalog_store(self.url, LAYOUT.model_version)

    def add(self, product_id: str, text: Any = (), image: Any = (), *, version: int = 1, **facts: Any) -> None:
        parts = {
            name: np.array(value, np.float32)
            for name, value in ((Modality.TEXT, text), (Modality.IMAGE, image))
            if len(value)
        }
        segments = dict(parts)
        if Modality.TEXT in segments:
            segments[Modality.TERMS] = segments[Modality.TEXT]
        encoding = Encoding("m1", {name: bytes([version]) for name in parts}, parts, LAYOUT.assemble(segments))
        fields = {"title": Stamped(product_id.title(), Version(1_000_000, 0))}
        fields |= {name: Stamped(value, Version(version * 1_000_000, version)) for name, value in facts.items()}
        state = ProductState(product_id, fields, Version(1, 0), None)
        self.store.apply("catalog", [CatalogRow(product_id, next(NUMBERS), state, encoding=encoding)], [], [])


@pytest.fixture
def catalogue() -> Catalogue:
    filled = Catalogue()
    filled.add("lamp", [1, 0, 0, 0], [1, 0, 0, 0], version=7, price=5.0)
    filled.add("lamp-twin", [1, 0.01, 0, 0], [1, 0, 0.01, 0])
    filled.add("lamp-red", [1, 0.02, 0, 0], [0, 1, 0, 0])
    filled.add("lamp-bare", [1, 0, 0.02, 0])
    filled.add("shade", [0, 1, 0, 0], [1, 0, 0.1, 0])
    filled.add("rug", [0, 0, 0, 1], [0, 0, 0, 1])
    return filled


def names(near: list[Neighbour]) -> list[str]:
    return [each.product_id for each in near]


async def test_each_modality_has_neighbours_of_its_own(catalogue: Catalogue) -> None:
    found = await inspect(catalogue.store, LAYOUT, Fusion(), "lamp", Thresholds())
    near = {part.modality: names(list(part.neighbours)) for part in found.parts}
    assert near[Modality.TEXT] == ["lamp-twin", "lamp-bare", "lamp-red"]
    assert near[Modality.IMAGE] == ["lamp-twin", "shade"]
    assert "lamp" not in {name for listed in near.values() for name in listed}
    # Of three and of two neighbours one is shared.
    assert found.disagreements[Modality.TEXT, Modality.IMAGE] == pytest.approx(2 / 3)
    assert found.disagreements[Modality.TEXT, Modality.TERMS] == 0.0


async def test_what_a_modality_adds_to_the_joint_vector_is_told(catalogue: Catalogue) -> None:
    found = await inspect(catalogue.store, LAYOUT, Fusion(), "lamp-red", Thresholds())
    without = {part.modality: part.joint_without for part in found.parts}
    assert without[Modality.TEXT] == pytest.approx(np.sqrt(0.5), abs=0.02)
    assert without[Modality.IMAGE] == pytest.approx(np.sqrt(0.5), abs=0.02)
    assert without[Modality.JOINT] is None


async def test_without_the_model_everything_else_is_told(catalogue: Catalogue) -> None:
    fusion = Fusion()
    fusion.down = True
    found = await inspect(catalogue.store, LAYOUT, fusion, "lamp", Thresholds())
    assert "connection refused" in found.missing[0]
    assert all(part.joint_without is None for part in found.parts)
    assert found.parts[0].neighbours


async def test_the_newest_change_is_told_from_what_was_before(catalogue: Catalogue) -> None:
    found = await inspect(catalogue.store, LAYOUT, Fusion(), "lamp", Thresholds())
    assert [(field.name, field.newest) for field in found.fields] == [("price", True), ("title", False)]


async def test_another_model_version_says_which_inputs_were_others(catalogue: Catalogue) -> None:
    older = memory.open_catalog_store(catalogue.url, "m0")
    row = catalogue.store.load(["lamp"])["lamp"]
    assert row.encoding is not None
    inputs = {**row.encoding.inputs, Modality.IMAGE: b"other"}
    encoding = Encoding("m0", inputs, row.encoding.parts, row.encoding.vector)
    older.apply("catalog", [CatalogRow("lamp", row.number, row.state, encoding=encoding)], [], [])
    found = await inspect(catalogue.store, LAYOUT, Fusion(), "lamp", Thresholds())
    assert [(other.model_version, list(other.inputs_differ)) for other in found.other_versions] == [("m0", ["image"])]


async def test_a_product_that_nobody_published_is_not_found(catalogue: Catalogue) -> None:
    with pytest.raises(NotFound, match="'sofa'"):
        await inspect(catalogue.store, LAYOUT, Fusion(), "sofa", Thresholds())


async def test_a_product_of_no_encoding_says_so() -> None:
    catalogue = Catalogue()
    state = ProductState("bare", {}, Version(1, 0), None)
    catalogue.store.apply("catalog", [CatalogRow("bare", 1, state)], [], [])
    found = await inspect(catalogue.store, LAYOUT, Fusion(), "bare", Thresholds())
    assert not found.parts
    assert "has not encoded it" in found.missing[0]


# --- near-identical products


async def test_duplicates_have_the_same_words_and_where_both_have_one_the_same_picture(catalogue: Catalogue) -> None:
    found = await inspect(catalogue.store, LAYOUT, Fusion(), "lamp", Thresholds())
    assert set(names(list(found.duplicates))) == {"lamp-twin", "lamp-bare"}
    pairs = {(pair.first, pair.second): pair for pair in duplicates.pairs(catalogue.store, LAYOUT, Thresholds())}
    assert set(pairs) == {
        ("lamp", "lamp-bare"), ("lamp", "lamp-twin"), ("lamp-bare", "lamp-twin"), ("lamp-bare", "lamp-red"),
    }  # fmt: skip
    assert pairs["lamp", "lamp-bare"].picture is None
    assert pairs["lamp", "lamp-twin"].picture == pytest.approx(1.0, abs=0.01)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=12), st.sampled_from((1, 2, 5)))
@settings(max_examples=40)
def test_blocks_of_any_size_find_the_pairs_that_comparing_all_at_once_finds(
    kinds: list[tuple[int, int]], block: int
) -> None:
    catalogue = Catalogue()
    eye = np.eye(5, 4)  # the last row is zero: no picture
    for i, (text, image) in enumerate(kinds):
        catalogue.add(f"p{i:02}", eye[text], eye[image] if image < 4 else ())
    expected = {
        (f"p{i:02}", f"p{j:02}")
        for (i, one), (j, other) in itertools.combinations(enumerate(kinds), 2)
        if one[0] == other[0] and (one[1] == other[1] or 4 in (one[1], other[1]))
    }
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(duplicates, "BLOCK", block)
        found = list(duplicates.pairs(catalogue.store, LAYOUT, Thresholds()))
    assert {(pair.first, pair.second) for pair in found} == expected
    assert len(found) == len(expected)


def test_an_empty_catalogue_has_no_duplicates() -> None:
    assert list(duplicates.pairs(Catalogue().store, LAYOUT, Thresholds())) == []


def test_groups_join_what_is_alike_by_way_of_others() -> None:
    pairs = [
        Alike("a", "b", 1.0, None),
        Alike("c", "d", 1.0, None),
        Alike("b", "e", 1.0, None),
        Alike("x", "y", 1.0, None),
    ]
    assert duplicates.groups(pairs) == [["a", "b", "e"], ["c", "d"], ["x", "y"]]


def test_neighbours_are_the_same_whatever_the_block(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    encoding = catalogue.store.load(["lamp"])["lamp"].encoding
    assert encoding is not None
    whole = scan.neighbours(catalogue.store, LAYOUT, "lamp", encoding.vector, 3)
    everything = scan.blocks
    monkeypatch.setattr(scan, "blocks", lambda store: everything(store, 1))
    assert scan.neighbours(catalogue.store, LAYOUT, "lamp", encoding.vector, 3) == whole


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [("ab", "ab", 0.0), ("ab", "cd", 1.0), ("abcd", "ab", 0.5), ("", "", 0.0), ("a", "", 1.0)],
)
def test_disagreement_is_the_share_of_neighbours_that_are_not_shared(one: str, other: str, share: float) -> None:
    assert disagreement([Neighbour(c, 1.0) for c in one], [Neighbour(c, 1.0) for c in other]) == share


# --- prices


def test_of_the_whole_catalogue_the_prices_out_of_line_are_told() -> None:
    catalogue = Catalogue()
    for i in range(80):
        text = [1.0, 0.0, 0.0, 0.0] if i % 2 else [0.0, 1.0, 0.0, 0.0]
        catalogue.add(f"p{i:02}", text, price=(900.0 if i % 2 else 40.0) * (1.0 + i % 7 / 100))
    head = priced(catalogue)
    assert list(prices.strange(catalogue.store, head, 4.0)) == []
    catalogue.add("p11", [1.0, 0.0, 0.0, 0.0], version=2, price=9.0)
    (found,) = prices.strange(catalogue.store, head, 4.0)
    assert found.product.product_id == "p11"
    assert found.expected.low < 900.0 < found.expected.high
    assert "times as cheap" in prices.price_line(found.expected)


async def test_a_price_out_of_line_is_told_on_the_products_page() -> None:
    catalogue = Catalogue()
    for i in range(60):
        catalogue.add(f"p{i:02}", [1.0, 0.0, 0.0, 0.0], price=20.0 + i % 5)
    head = priced(catalogue)
    found = await inspect(catalogue.store, LAYOUT, Fusion(), "p03", Thresholds(), head)
    assert found.price is not None
    assert "in line" in render(found, {}, {})
    catalogue.add("p03", [1.0, 0.0, 0.0, 0.0], version=2, price=2_300.0)
    found = await inspect(catalogue.store, LAYOUT, Fusion(), "p03", Thresholds(), head)
    page = render(found, {}, {})
    assert "class=out" in page
    assert "times as dear" in page
    assert (await inspect(catalogue.store, LAYOUT, Fusion(), "p03", Thresholds())).price is None


def priced(catalogue: Catalogue) -> PriceHead:
    ids, vectors = catalogue.store.vectors("", 1_000)
    rows = catalogue.store.load(ids)
    head = pricing.fit(LAYOUT, vectors, [products.product(rows[product_id].state) for product_id in ids])
    assert head is not None
    return head


# --- the page


async def test_the_page_escapes_what_came_from_outside_and_carries_its_pictures(catalogue: Catalogue) -> None:
    catalogue.add("evil", [1, 0, 0, 0.01], [1, 0, 0, 0], description="<script>alert(1)</script>", brand='"><img src=x>')
    found = await inspect(catalogue.store, LAYOUT, Fusion(), "evil", Thresholds())
    page = render(found, {}, {"lamp": "data:image/jpeg;base64,AAAA"})
    assert "<script>" not in page
    assert "<img src=x" not in page
    assert page.count("data:image/jpeg;base64,AAAA") >= 2
    assert "http" not in page


async def test_pictures_become_small_and_what_cannot_be_read_is_left_out() -> None:
    out = io.BytesIO()
    Pictures.new("RGBA", (900, 300), (200, 0, 0, 120)).save(out, "PNG")
    images = {
        "good": Image(content=out.getvalue()),
        "bad": Image(content=b"no"),
        "private": Image(uri="http://127.0.0.1/"),
    }
    found = await thumbnails(ImageLoader(ImageSettings()), images)
    assert set(found) == {"good"}
    assert len(found["good"]) < 20 * SIDE
