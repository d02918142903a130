"""Affinities are rows of EASE's regression, solved on a neighbourhood."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from freshet.domain.affinity import AffinityRules, affinities, affinity_rules
from freshet.representation.evaluation import affinity_table


def shop(seed: int, products: int, people: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Co-counts with their diagonal, and vectors of words: products of one of four kinds go together."""
    random = np.random.default_rng(seed)
    kinds = random.integers(0, 4, products)
    wants = random.random((people, products)) < np.where(
        kinds[None] == random.integers(0, 4, people)[:, None], 0.15, 0.01
    )
    centres = random.standard_normal((4, 12))
    words = centres[kinds] + random.standard_normal((products, 12))
    chosen = wants.astype(np.float64)
    return chosen.T @ chosen, (words / np.linalg.norm(words, axis=1, keepdims=True)).astype(np.float32)


@given(seed=st.integers(0, 1_000), products=st.integers(2, 40))
@settings(max_examples=40, deadline=None)
def test_a_neighbourhood_of_everything_is_the_row_of_the_regression_over_everything(seed: int, products: int) -> None:
    counts, words = shop(seed, products)
    rules = AffinityRules(neighbours=products, sharpness=0.0)
    whole = counts + rules.words * (words @ words.T)
    inverse = np.linalg.inv(whole + rules.ridge * np.eye(products))
    others = np.arange(1, products)
    found = affinities(rules, counts[0, 0], counts[0, 1:], np.diag(counts)[1:], counts[1:, 1:].copy(), words @ words.T)
    # EASE divides by the diagonal of the inverse; that of a neighbour is taken as if it had no neighbours itself.
    alone = 1.0 / (np.diag(whole)[1:] + rules.ridge)
    assert found.sum(axis=1) == pytest.approx(-inverse[0, others] / alone, rel=1e-4, abs=1e-6)


def test_the_table_of_all_products_has_the_same_rows() -> None:
    counts, words = shop(3, 50)
    rules = AffinityRules(neighbours=10)
    table = affinity_table(sparse.csr_matrix(counts), words, rules).toarray()
    strength = rules.strength(counts[7], words @ words[7])
    strength[7] = -np.inf
    near = rules.nearest(strength)
    around = words[np.append(7, near)]
    expected = affinities(
        rules, counts[7, 7], counts[7, near], np.diag(counts)[near], counts[np.ix_(near, near)], around @ around.T
    )
    assert table[7, near] == pytest.approx(expected.sum(axis=1), rel=1e-5)
    assert np.count_nonzero(table[7]) <= 10
    assert table[7, 7] == 0.0


def test_a_product_that_nobody_chose_is_spoken_for_by_its_words() -> None:
    counts, words = shop(5, 30)
    counts[:, 4] = counts[4] = 0.0
    words[4] = words[9]
    table = affinity_table(sparse.csr_matrix(counts), words, AffinityRules(neighbours=20)).toarray()
    assert table[9].argmax() == 4 or table[9, 4] > np.sort(table[9])[-6]
    assert table[4].argmax() == 9


def test_counts_that_contradict_each_other_still_give_numbers() -> None:
    """Only a product's strongest neighbours are kept, so a pair may outlast the counts of its products."""
    pairs = np.full((3, 3), 500.0)
    found = affinities(AffinityRules(), 1.0, np.full(3, 500.0), np.ones(3), pairs, np.eye(4, dtype=np.float32))
    assert np.isfinite(found).all()


def test_what_shoppers_did_and_what_words_say_are_told_apart() -> None:
    counts, words = shop(7, 25)
    likeness = words @ words.T
    rules = AffinityRules()
    arguments = np.diag(counts)[1:], counts[1:, 1:].copy(), likeness
    both = affinities(rules, counts[0, 0], counts[0, 1:], *arguments)
    nobody = affinities(rules, 0.0, np.zeros(24), np.zeros(24), np.zeros((24, 24)), likeness)
    assert both[:, 0].any()
    assert both[:, 1].any()
    assert not nobody[:, 0].any(), "where nobody chose anything, nothing is by shoppers"
    assert nobody[:, 1].any()


def test_sharpness_leaves_typical_affinities_and_the_shares_of_their_parts_as_they_are() -> None:
    counts, words = shop(7, 40)
    near = np.arange(1, 40)
    arguments = (counts[0, 0], counts[0, near], np.diag(counts)[near], counts[1:, 1:].copy(), words @ words.T)
    plain = affinities(AffinityRules(neighbours=39, sharpness=0.0), *arguments)
    typical = float(np.abs(plain.sum(axis=1)).max())
    sharp = affinities(AffinityRules(neighbours=39, sharpness=0.5, typical=typical), *arguments)
    whole, sharpened = plain.sum(axis=1), sharp.sum(axis=1)
    assert sharpened == pytest.approx(whole * np.sqrt(np.abs(whole) / typical), rel=1e-4, abs=1e-7)
    assert sharp[:, 0] * whole == pytest.approx(plain[:, 0] * sharpened, rel=1e-3, abs=1e-7)
    largest = int(np.abs(whole).argmax())
    assert sharp[largest] == pytest.approx(plain[largest], rel=1e-4)
    assert np.array_equal(np.argsort(whole), np.argsort(sharpened))


def test_one_product_that_speaks_loudly_counts_more_than_two_that_speak_half_as_loudly() -> None:
    rules = AffinityRules(words=0.0, ridge=10.0)
    words = np.eye(2, dtype=np.float32)

    def affinity(together: float) -> float:
        found = affinities(rules, 40.0, np.array([together]), np.array([40.0]), np.zeros((1, 1)), words)
        return float(found.sum())

    assert affinity(8.0) > 2.0 * affinity(4.0) > 0.0


def test_how_sharp_affinities_are_comes_with_the_model_and_a_card_without_it_changes_none() -> None:
    assert affinity_rules({"text": 1.0, "sharpness": 0.3}) == AffinityRules(sharpness=0.3)
    assert affinity_rules({"text": 1.0}).sharpness == 0.0
