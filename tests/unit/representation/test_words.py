"""Word vectors and terms: likeness of the very words, those of facts first, and what the eigenproblem gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import linalg

from freshet.domain.products import Product
from freshet.representation import preprocessing as pre
from freshet.representation import words
from freshet.representation.words import text_table

NOBODY = np.zeros(0, np.int32)
SHIRT = Product("a", title="linen summer shirt", categories=("shirts",), attributes={"colour": "dark green"})
SAME_FACTS = Product("b", title="oxford office top", categories=("shirts",), attributes={"colour": "dark green"})
SAME_TITLE = Product("c", title="linen summer shirt", categories=("tops",), attributes={"colour": "white"})
OTHERS = [
    Product(f"o{i}", title=f"thing number{i}", categories=("things",), attributes={"colour": f"shade{i}"})
    for i in range(20)
]


def terms(products: list[Product], *, with_facts: bool) -> NDArray[np.float32]:
    tokens = pre.text_tokens([pre.product_text(product) for product in products])["tokens"]
    facts = pre.text_tokens([pre.facts_text(product) for product in products])["tokens"] if with_facts else None
    table = text_table(tokens, 4, 2_048, 0, NOBODY, NOBODY, facts=facts)
    summed = np.stack([table[row, 4:].sum(axis=0) for row in tokens])
    unit: NDArray[np.float32] = summed / np.linalg.norm(summed, axis=1, keepdims=True)
    return unit


def test_facts_are_categories_and_attributes() -> None:
    assert pre.facts_text(SHIRT) == "shirts . colour dark green"
    assert pre.facts_text(Product("d", title="bare")) == ""


def test_products_of_the_same_facts_are_more_alike_than_without_stress_and_others_less() -> None:
    products = [SHIRT, SAME_FACTS, SAME_TITLE, *OTHERS]
    plain, stressed = terms(products, with_facts=False), terms(products, with_facts=True)
    assert stressed[0] @ stressed[1] > plain[0] @ plain[1] + 0.05
    assert stressed[0] @ stressed[2] < plain[0] @ plain[2] - 0.05


def test_words_that_are_no_facts_keep_their_vectors() -> None:
    tokens = pre.text_tokens([pre.product_text(product) for product in (SHIRT, *OTHERS)])["tokens"]
    facts = pre.text_tokens([pre.facts_text(SHIRT)])["tokens"]
    without = text_table(tokens, 4, 16, 0, NOBODY, NOBODY)
    with_facts = text_table(tokens, 4, 16, 0, NOBODY, NOBODY, facts=facts)
    changed = np.flatnonzero((without != with_facts).any(axis=1))
    assert set(changed.tolist()) == set(facts[facts > 0].tolist())
    assert np.allclose(with_facts[changed, 4:], 1.5 * without[changed, 4:])


@pytest.mark.parametrize("gives_up", [False, True])
@pytest.mark.parametrize("rank", [1, 7, 40, 100])
def test_the_highest_directions_are_found_also_where_the_quick_solver_gives_up(
    rank: int, gives_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does on some processors, for matrices of low rank: that training ended with “Internal Error” there."""
    solve = linalg.eigh

    def eigh(matrix: Any, **options: Any) -> Any:
        if gives_up and "subset_by_index" in options:
            raise linalg.LinAlgError("Internal Error.")
        return solve(matrix, **options)

    monkeypatch.setattr(words.linalg, "eigh", eigh)
    factors = np.random.default_rng(3).standard_normal((40, 8))
    matrix = factors @ np.diag(np.arange(8, 0, -1.0)) @ factors.T
    values, vectors = words._highest(matrix, rank)
    count = min(rank, 40)
    assert values.shape == (count,)
    assert vectors.shape == (40, count)
    assert (np.diff(values) >= -1e-9).all(), "ascending"
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-8)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix)[40 - count :], atol=1e-8)
