"""Neighbour tables whose rows sum to one, and content that prefers the nearest: the algebra by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from freshet.representation import neighbours
from freshet.representation.neighbours import NeighbourRules

PLAIN = NeighbourRules(decay=1.0, backward=1.0, content_boost=0.0, row_power=0.0, recency=1.0, content_popularity=0.0)
CONTENT = neighbours.unit_rows(np.array([[1, 0], [0, 1], [-1, 0], [0.6, 0.8], [0.8, 0.6]], np.float32))
# Item 0 was chosen with item 1 eight times, item 2 with item 3 once.
HISTORIES = [*[np.array([0, 1])] * 8, np.array([2, 3])]


def test_an_item_that_many_chose_does_not_drown_the_rest_of_a_history() -> None:
    alone = replace(PLAIN, content_weight=0.0)
    (uneven,) = neighbours.fit(HISTORIES, 5, CONTENT, alone).scores([np.array([0, 2])])
    (even,) = neighbours.fit(HISTORIES, 5, CONTENT, replace(alone, even=True)).scores([np.array([0, 2])])
    assert uneven[[1, 3]] == pytest.approx([8 / 9, 1 / 9], abs=1e-5)
    assert even[[1, 3]] == pytest.approx([1 / 2, 1 / 2], abs=1e-5)


def test_rows_without_anything_stay_empty_when_rows_sum_to_one() -> None:
    table = neighbours.fit(HISTORIES, 5, CONTENT, replace(PLAIN, even=True)).behaviour
    assert np.asarray(table.sum(axis=1)).ravel() == pytest.approx([1, 1, 1, 1, 0])


def test_sharp_content_prefers_the_nearest() -> None:
    near = neighbours.fit(HISTORIES, 5, CONTENT, replace(PLAIN, content_sharpness=4.0)).content.toarray()
    flat = neighbours.fit(HISTORIES, 5, CONTENT, PLAIN).content.toarray()
    # Cosines of item 0: 0 with item 1, below zero with 2, .6 with 3, .8 with 4.
    assert flat[0] == pytest.approx([0, 0, 0, 0.6 / 1.4, 0.8 / 1.4])
    assert near[0] == pytest.approx([0, 0, 0, 0.6**4 / (0.6**4 + 0.8**4), 0.8**4 / (0.6**4 + 0.8**4)])


def test_both_parts_add_up_to_the_score() -> None:
    tables = neighbours.fit(HISTORIES, 5, CONTENT, replace(PLAIN, even=True, content_weight=0.2))

    def scores(**weights: float) -> np.ndarray:
        (found,) = replace(tables, rules=replace(tables.rules, **weights)).scores([np.array([0])])
        return found  # type: ignore[no-any-return]

    assert scores(content_weight=0.0)[1] == pytest.approx(1.0, abs=1e-5)
    assert scores(behaviour_weight=0.0)[4] == pytest.approx(0.2 * 0.8 / 1.4, abs=1e-5)
    parts = scores(content_weight=0.0) + scores(behaviour_weight=0.0)
    assert scores() == pytest.approx(parts, abs=1e-5)
