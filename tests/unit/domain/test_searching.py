"""A search's score: an inner product with the query's whole vector, told apart into its parts."""

from __future__ import annotations

import numpy as np
import pytest

from freshet.domain.representations import Layout, Modality, Segment
from freshet.domain.searching import OF_TERMS, PARTS, QueryVectors, SearchWeights, contributions, rarity, whole

LAYOUT = Layout("m", (Segment(Modality.TEXT, 6), Segment(Modality.IMAGE, 3), Segment(Modality.TERMS, 5)))
GENERATOR = np.random.default_rng(0)


def vectors(rows: int, size: int) -> np.ndarray:
    found = GENERATOR.standard_normal((rows, size)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("left_out", [(), ("text", "caption"), ("image",), ("text", "caption", "image")])
def test_parts_add_up_to_the_inner_product_with_the_whole_query(left_out: tuple[str, ...]) -> None:
    sizes = {"text": 6, "caption": 3, "image": 3}
    query = QueryVectors(**{name: vectors(1, size)[0] for name, size in sizes.items() if name not in left_out})
    products = vectors(20, LAYOUT.dimension)
    weights = SearchWeights()
    words, demand = GENERATOR.random((20, 2)), GENERATOR.random(20)
    parts = contributions(LAYOUT, query, weights, products, words, demand)
    expected = products @ whole(LAYOUT, query, weights) + weights.terms * (words @ OF_TERMS)
    expected += weights.trending * demand
    assert parts.shape == (20, len(PARTS))
    assert np.allclose(parts.sum(axis=1), expected, atol=1e-5)
    assert bool(query) == (len(left_out) < 3)


def test_a_request_multiplies_the_weights_by_name() -> None:
    weights = SearchWeights(terms=2.0, image=0.5).times({"terms": 0.0, "image": 4.0})
    assert (weights.terms, weights.image, weights.text) == (0.0, 2.0, SearchWeights().text)


def test_the_rarer_a_word_the_more_it_weighs() -> None:
    assert rarity(1_000, 1) > rarity(1_000, 10) > rarity(1_000, 1_000) > 0.0
