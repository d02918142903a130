"""What a product may be expected to cost: learned from sound prices, and so the unsound ones stand out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from freshet.domain.products import Product
from freshet.domain.representations import Layout, Modality, Segment
from freshet.representation import pricing
from freshet.representation.pricing import LEAST_PRICED, PriceHead

LAYOUT = Layout("m1", (Segment(Modality.TEXT, 8), Segment(Modality.PRICE, 2), Segment(Modality.TERMS, 4)))


def shop(count: int = 400, seed: int = 3) -> tuple[list[Product], NDArray[np.float32]]:
    """Lamps around 40 and sofas around 900; what they are made of moves the price, and 5 % is chance."""
    generator = np.random.default_rng(seed)
    made_of = generator.standard_normal((count, 8)).astype(np.float32)
    sofas = np.arange(count) % 2 == 1
    logs = np.log(np.where(sofas, 900.0, 40.0)) + 0.4 * made_of[:, 0] - 0.2 * made_of[:, 3]
    logs += 0.05 * generator.standard_normal(count)
    products = [
        Product(f"p{i}", title=f"p{i}", categories=("sofa" if sofas[i] else "lamp",), price=float(np.exp(log)))
        for i, log in enumerate(logs)
    ]
    vectors = np.zeros((count, LAYOUT.dimension), np.float32)
    vectors[:, LAYOUT.slices[Modality.TEXT]] = made_of
    # The price's own segment gives it away, and must not be looked at.
    vectors[:, LAYOUT.slices[Modality.PRICE]] = logs[:, None]
    return products, vectors


def fitted(products: list[Product], vectors: NDArray[np.float32]) -> PriceHead:
    head = pricing.fit(LAYOUT, vectors, products)
    assert head is not None
    return head


def test_prices_follow_from_what_products_are_made_of() -> None:
    head = fitted(*shop())
    assert head.error < 0.05
    assert head.error_of_category > 0.25
    assert head.spread == pytest.approx(0.05, abs=0.015)


def test_a_point_in_the_wrong_place_stands_out_and_is_not_learned_from() -> None:
    products, vectors = shop()
    sound = fitted(products, vectors)
    wrong = {7: 100.0, 30: 0.01, 31: 10.0}
    for i, times in wrong.items():
        products[i] = replace(products[i], price=(products[i].price or 0.0) * times)
    head = fitted(products, vectors)
    found = head.expected(vectors, products)
    strange = {i for i, each in enumerate(found) if each is not None and abs(each.spreads) > 5.0}
    assert strange == set(wrong)
    for i, times in wrong.items():
        each = found[i]
        assert each is not None
        assert each.low < (products[i].price or 0.0) / times < each.high
        assert each.factor == pytest.approx(times, rel=0.2)
    assert head.error == pytest.approx(sound.error, abs=0.005)


def test_a_product_of_an_unknown_category_or_without_words_is_expected_to_cost_what_is_usual() -> None:
    products, vectors = shop()
    head = fitted(products, vectors)
    stranger = Product("x", title="x", categories=("boat",), price=200.0)
    (expected,) = head.expected(np.zeros((1, LAYOUT.dimension), np.float32), [stranger])
    assert expected is not None
    assert expected.price == pytest.approx(np.exp(head.typical[""]), rel=0.5)


def test_a_category_of_few_products_does_not_hide_its_own_wrong_price() -> None:
    products, vectors = shop()
    products[8] = replace(products[8], categories=("lamp", "lamp of its own kind"), price=9_000.0)
    found = fitted(products, vectors).expected(vectors, products)[8]
    assert found is not None
    assert found.spreads > 5.0
    assert found.price < 200.0


def test_a_product_without_a_price_has_nothing_to_be_judged() -> None:
    products, vectors = shop()
    head = fitted(products, vectors)
    assert head.expected(vectors[:1], [replace(products[0], price=None)]) == [None]


def test_too_few_prices_give_no_head() -> None:
    products, vectors = shop(LEAST_PRICED - 1)
    assert pricing.fit(LAYOUT, vectors, products) is None


@pytest.mark.parametrize("price", [0.0, 1e12, 5.0])
def test_one_price_for_everything_and_extreme_prices_have_a_defined_answer(price: float) -> None:
    products, vectors = shop(100)
    same = [replace(product, price=price) for product in products]
    found = fitted(same, vectors).expected(vectors, same)
    assert all(each is not None and abs(each.spreads) < 1.0 for each in found)


def test_a_head_is_read_as_it_was_written(tmp_path: Path) -> None:
    products, vectors = shop()
    head = fitted(products, vectors)
    head.save(tmp_path)
    assert pricing.load(tmp_path, LAYOUT).expected(vectors, products) == head.expected(vectors, products)
