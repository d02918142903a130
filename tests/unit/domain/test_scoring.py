"""Scores are sums of contributions, and interests stand for what was touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshet.domain.interests import find_interests
from freshet.domain.representations import Layout, Modality, Segment
from freshet.domain.scoring import RankingWeights, Touched, heaviest, part_names, ranking_weights, score

LAYOUT = Layout("m", (Segment(Modality.TEXT, 6), Segment(Modality.IMAGE, 4), Segment(Modality.JOINT, 3)))
NOBODY = Touched(np.empty((0, 13), np.float32), np.empty(0, np.float32))


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
    liked=st.integers(1, 8),
    disliked=st.integers(0, 4),
    candidates=st.integers(1, 30),
    off=st.sampled_from(list(Modality)[:2]),
)
@settings(max_examples=60, deadline=None)
def test_contributions_follow_the_formula_one_by_one(
    seed: int, liked: int, disliked: int, candidates: int, off: Modality
) -> None:
    random = np.random.default_rng(seed)
    likes = Touched(vectors(seed, liked), random.uniform(0.1, 4.0, liked).astype(np.float32))
    hates = Touched(vectors(seed + 1, disliked), random.uniform(0.1, 4.0, disliked).astype(np.float32))
    found = vectors(seed + 2, candidates)
    weights = RankingWeights(modalities={Modality.TEXT: 1.0, Modality.IMAGE: 0.5, Modality.JOINT: 0.8} | {off: 0.0})
    covisits = random.random((liked, candidates)).astype(np.float32)
    trends = random.random(candidates).astype(np.float32)
    scored = score(LAYOUT, weights, found, likes, hates, covisits, trends)
    by_segment = weights.of(LAYOUT)
    for j in range(candidates):
        expected = np.zeros(5)
        for side, sign in ((likes, 1.0), (hates, -weights.aversion * min(1.0, float(hates.weights.sum())))):
            if not len(side):
                continue
            similarity = np.array(
                [[v[where] @ found[j][where] for where in LAYOUT.slices.values()] for v in side.vectors]
            )
            logits = np.log(side.weights) + similarity @ by_segment / weights.temperature
            attention = np.exp(logits - logits.max())
            attention /= attention.sum()
            expected[:3] += sign * by_segment * (attention @ similarity)
        expected[3] = weights.behaviour * float(likes.weights / likes.weights.sum() @ covisits[:, j])
        expected[4] = weights.trending * trends[j]
        assert scored.contributions[j] == pytest.approx(expected, abs=2e-5)
    assert scored.totals == pytest.approx(scored.contributions.sum(axis=1))
    assert not scored.contributions[:, part_names(LAYOUT).index(off.value)].any()


def test_the_touch_nearest_to_a_candidate_is_the_reason() -> None:
    touched = vectors(3, 2)
    scored = score(
        LAYOUT, RankingWeights(), touched[::-1], Touched(touched, np.ones(2, np.float32)), NOBODY, None, None
    )
    assert scored.because.tolist() == [1, 0]


def test_without_touches_there_is_no_reason_and_only_demand_counts() -> None:
    scored = score(
        LAYOUT, RankingWeights(trending=0.5), vectors(1, 3), NOBODY, NOBODY, None, np.array([1, 0, 0.5], "f4")
    )
    assert scored.because.tolist() == [-1, -1, -1]
    assert scored.totals.tolist() == [0.5, 0.0, 0.25]


def test_a_request_multiplies_the_models_weights() -> None:
    weights = ranking_weights({"text": 0.4, "behaviour": 2.0, "temperature": 0.3}).times(
        {"text": 2.0, "behaviour": 0.0}
    )
    assert weights.modalities[Modality.TEXT] == pytest.approx(0.8)
    assert weights.behaviour == 0.0
    assert weights.temperature == 0.3


def test_the_heaviest_touches_keep_their_order() -> None:
    assert heaviest(np.arange(5, dtype=np.uint32), np.array([1, 5, 2, 4, 3], "f4"), 3).tolist() == [1, 3, 4]


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
