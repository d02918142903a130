"""Scores are sums of contributions, and interests stand for what was touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.domain.interests import find_interests
from freshet.domain.representations import Layout, Modality, Segment
from freshet.domain.scoring import RankingWeights, Touched, by_segment, heaviest, lately, ranking_weights, shares, taste

LAYOUT = Layout("m", (Segment(Modality.TEXT, 6), Segment(Modality.IMAGE, 4), Segment(Modality.JOINT, 3)))


def vectors(seed: int, count: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        parts = {s.name: random.standard_normal(s.size).astype(np.float32) for s in LAYOUT.segments}
        if random.random() < 0.3:
            del parts[Modality.IMAGE]
        rows.append(LAYOUT.assemble(parts))
    return np.array(rows, np.float32).reshape(count, LAYOUT.dimension)


@given(
    seed=st.integers(0, 10_000),
    liked=st.integers(0, 8),
    disliked=st.integers(0, 4),
    candidates=st.integers(1, 30),
    off=st.sampled_from(list(LAYOUT.slices)),
)
@settings(max_examples=60, deadline=None)
def test_contributions_follow_the_formula_one_by_one(
    seed: int, liked: int, disliked: int, candidates: int, off: Modality
) -> None:
    random = np.random.default_rng(seed)
    likes = Touched(vectors(seed, liked), random.uniform(0.1, 4.0, liked).astype(np.float32))
    hates = Touched(vectors(seed + 1, disliked), random.uniform(0.05, 0.5, disliked).astype(np.float32))
    found = vectors(seed + 2, candidates)
    weights = RankingWeights(modalities={Modality.TEXT: 1.0, Modality.IMAGE: 0.5, Modality.JOINT: 0.8} | {off: 0.0})
    wanted = taste(LAYOUT, weights, likes, hates)
    parts = by_segment(LAYOUT, found, wanted)
    aversion = weights.aversion * min(1.0, float(hates.weights.sum()))
    for j in range(candidates):
        for column, (name, where) in enumerate(LAYOUT.slices.items()):
            expected = 0.0
            for side, sign in ((likes, 1.0), (hates, -aversion)):
                for touch, weight in zip(side.vectors, side.weights, strict=True):
                    share = np.sqrt(weight) / np.sqrt(side.weights).sum()
                    expected += sign * share * float(touch[where] @ found[j][where])
            assert parts[j, column] == pytest.approx(weights.modalities[name] * expected, abs=2e-5)
    assert parts.sum(axis=1) == pytest.approx(found @ wanted, abs=2e-5)
    assert not parts[:, list(LAYOUT.slices).index(off)].any()


def test_a_request_multiplies_the_models_weights() -> None:
    weights = ranking_weights({"text": 0.4, "behaviour": 2.0}).times({"text": 2.0, "behaviour": 0.0})
    assert weights.modalities[Modality.TEXT] == pytest.approx(0.8)
    assert weights.behaviour == 0.0


def test_recency_makes_shares_fall_from_one_touch_to_the_one_before_it() -> None:
    weights = np.array([4.0, 4.0, 1.0], "f4")
    falling = shares(Touched(vectors(1, 3), lately(weights, 0.5)))
    assert falling == pytest.approx(np.array([2.0, 1.0, 0.25]) / 3.25)
    assert lately(weights, 1.0).tolist() == weights.tolist()
    assert ranking_weights({"recency": 0.5}).recency == 0.5
    assert ranking_weights({}).recency == 1.0, "models from before this are served as they were"


def test_the_heaviest_touches_keep_their_order() -> None:
    assert heaviest(np.array([1, 5, 2, 4, 3], "f4"), 3).tolist() == [1, 3, 4]


def test_touches_alike_are_one_interest_and_the_heaviest_comes_first() -> None:
    axes = np.eye(4, dtype=np.float32)
    touches = np.array([axes[0], axes[1], axes[1] + 0.1 * axes[2], axes[0]])
    found = find_interests(touches, np.array([1, 2, 2, 0.5], "f4"), limit=4)
    assert len(found.medoids) == 2
    assert found.medoids[0] in (1, 2)
    assert found.medoids[1] in (0, 3)
    assert found.weights.sum() == pytest.approx(1.0)


@given(seed=st.integers(0, 1_000), count=st.integers(0, 40), limit=st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_there_are_never_more_interests_than_asked_for(seed: int, count: int, limit: int) -> None:
    weights = np.random.default_rng(seed).uniform(0.1, 2.0, count).astype(np.float32)
    found = find_interests(vectors(seed, count), weights, limit)
    assert len(found.medoids) == min(len(set(found.medoids.tolist())), limit)
    assert (count == 0) == (len(found.medoids) == 0)
