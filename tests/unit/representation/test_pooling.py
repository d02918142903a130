"""Attention over reviews: learned where it tells products apart, left out where it does not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from freshet.representation.pooling import LEAST_PRODUCTS, learned
from freshet.representation.preprocessing import ATTENTION_SCALE, review_vectors

SIZE = 16


def shop(
    products: int = 120, seed: int = 5, *, chatter: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Of each product's six reviews two say what it is; the others, with `chatter`, talk of the parcel."""
    generator = np.random.default_rng(seed)
    texts = np.zeros((products, SIZE), np.float32)
    texts[:, : SIZE // 2] = generator.standard_normal((products, SIZE // 2))
    vectors = np.repeat(texts, 6, axis=0) + 0.3 * generator.standard_normal((6 * products, SIZE)).astype(np.float32)
    if chatter:
        parcel = np.arange(6 * products) % 6 > 1
        vectors[parcel, : SIZE // 2] = generator.standard_normal((int(parcel.sum()), SIZE // 2))
        vectors[parcel, SIZE // 2] = 4.0
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.repeat(np.arange(products), 6), texts


def found(
    vectors: NDArray[np.float32],
    products: NDArray[np.int64],
    texts: NDArray[np.float32],
    attention: NDArray[np.float32] | None,
) -> float:
    """The share of products whose pooled reviews lie nearest to their own text."""
    summed = np.zeros((len(texts), SIZE + 1), np.float32)
    np.add.at(summed, products, review_vectors(vectors, SIZE, attention))
    pooled = summed[:, :-1] / (summed[:, -1:] * ATTENTION_SCALE)
    near = pooled @ (texts / np.linalg.norm(texts, axis=1, keepdims=True)).T
    return float((near.argmax(axis=1) == np.arange(len(texts))).mean())


def test_reviews_that_say_what_a_product_is_weigh_more_than_those_that_do_not() -> None:
    vectors, products, texts = shop()
    attention = learned(vectors, products, texts, seed=0)
    assert attention is not None
    weights = review_vectors(vectors, SIZE, attention)[:, -1].reshape(-1, 6)
    assert weights[:, :2].mean() > 2.0 * weights[:, 2:].mean()
    fresh = shop(seed=6)
    assert found(*fresh, attention) > found(*fresh, None) + 0.05, "also for products that it was not learned from"


def test_the_same_reviews_give_the_same_attention() -> None:
    first, second = (learned(*shop(), seed=0) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_texts_that_say_nothing_of_products_give_none() -> None:
    vectors, products, texts = shop()
    others = np.random.default_rng(1).standard_normal(texts.shape).astype(np.float32)
    query = learned(vectors, products, others, seed=0)
    assert query is None or float(np.abs(query).max()) < 0.5


def test_too_few_products_or_no_reviews_give_none() -> None:
    assert learned(*shop(LEAST_PRODUCTS - 1), seed=0) is None
    nothing = np.zeros((0, SIZE), np.float32)
    assert learned(nothing, np.zeros(0, np.int64), np.zeros((200, SIZE), np.float32), seed=0) is None
