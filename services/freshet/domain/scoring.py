"""How a candidate is scored: a sum of one contribution per modality, behaviour and trending. NumPy only; no I/O.

    contribution_s(j) = w_s · ( Σ_i a_ij ⟨v_i^s, v_j^s⟩  −  aversion · Σ_n b_nj ⟨v_n^s, v_j^s⟩ )
    a_ij = softmax over the shopper's products i of ( log weight_i + Σ_s w_s ⟨v_i^s, v_j^s⟩ / temperature )

and b_nj the same over what the shopper disliked. Pooling by softmax lets the touches nearest to a candidate speak
for it; a mean over all of them lost a third of NDCG (docs/decisions/0003).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from freshet.domain.representations import Layout, Matrix, Modality

BEHAVIOUR = "behaviour"
TRENDING = "trending"
HEAVIEST_TOUCHES = 24
"""A score looks at no more than this many of a shopper's products."""


@dataclass(frozen=True, slots=True)
class RankingWeights:
    """How much each part of a score counts. A modality that `modalities` leaves out counts 1."""

    modalities: Mapping[Modality, float] = field(
        default_factory=lambda: {
            Modality.TEXT: 1.0,
            Modality.IMAGE: 0.5,
            Modality.PRICE: 0.1,
            Modality.REVIEWS: 0.1,
            Modality.JOINT: 1.0,
        }
    )
    behaviour: float = 1.0
    trending: float = 0.05
    temperature: float = 0.2
    aversion: float = 0.7

    def times(self, multipliers: Mapping[str, float]) -> RankingWeights:
        """These weights, each multiplied by what a request asks for (by name; absent means 1)."""
        if not multipliers:
            return self
        return replace(
            self,
            modalities={name: weight * multipliers.get(name.value, 1.0) for name, weight in self.modalities.items()},
            behaviour=self.behaviour * multipliers.get(BEHAVIOUR, 1.0),
            trending=self.trending * multipliers.get(TRENDING, 1.0),
        )

    def of(self, layout: Layout) -> NDArray[np.float32]:
        """One weight per segment of the layout, shape (segments,)."""
        return np.array([self.modalities.get(segment.name, 1.0) for segment in layout.segments], dtype=np.float32)


def ranking_weights(values: Mapping[str, float]) -> RankingWeights:
    """Weights from plain names, as a model's manifest holds them; names it leaves out keep their defaults."""
    base = RankingWeights()
    return RankingWeights(
        modalities={name: float(values.get(name.value, base.modalities[name])) for name in Modality},
        behaviour=float(values.get(BEHAVIOUR, base.behaviour)),
        trending=float(values.get(TRENDING, base.trending)),
        temperature=float(values.get("temperature", base.temperature)),
        aversion=float(values.get("aversion", base.aversion)),
    )


@dataclass(frozen=True, slots=True)
class Touched:
    """Products a shopper did something with: `vectors` (touches, dimension), `weights` (touches,), all positive."""

    vectors: Matrix
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.weights)


@dataclass(frozen=True, slots=True)
class Scores:
    """`contributions` is (candidates, segments + 2): the segments in layout order, then behaviour, then trending.

    `because` is the index of the liked touch that weighed most in each candidate's score, -1 for none.
    """

    contributions: NDArray[np.float64]
    because: NDArray[np.intp]

    @property
    def totals(self) -> NDArray[np.float64]:
        """The scores, shape (candidates,)."""
        totals: NDArray[np.float64] = self.contributions.sum(axis=1)
        return totals


def part_names(layout: Layout) -> tuple[str, ...]:
    """The names of `Scores.contributions`' columns."""
    return (*(segment.name.value for segment in layout.segments), BEHAVIOUR, TRENDING)


def score(
    layout: Layout,
    weights: RankingWeights,
    candidates: Matrix,
    liked: Touched,
    disliked: Touched,
    covisits: NDArray[np.float32] | None,
    trends: NDArray[np.float32] | None,
) -> Scores:
    """Scores of `candidates` (candidates, dimension).

    `covisits` (liked touches, candidates) are co-visit cosines; `trends` (candidates,) are demand now, as a share of
    the most wanted product's. None means that nothing is known.
    """
    count, segments = len(candidates), len(layout.segments)
    contributions = np.zeros((count, segments + 2), dtype=np.float64)
    because = np.full(count, -1, dtype=np.intp)
    by_segment = weights.of(layout)
    share = np.zeros((len(liked), count), dtype=np.float32)
    if len(liked):
        similarity, attention, total = _attend(layout, by_segment, weights.temperature, liked, candidates)
        contributions[:, :segments] = np.einsum("ij,sij->js", attention, similarity)
        share = attention * total
    if len(disliked):
        similarity, attention, _ = _attend(layout, by_segment, weights.temperature, disliked, candidates)
        strength = weights.aversion * min(1.0, float(disliked.weights.sum()))
        contributions[:, :segments] -= strength * np.einsum("ij,sij->js", attention, similarity)
    contributions[:, :segments] *= by_segment
    if covisits is not None and len(liked) and weights.behaviour:
        by_touch = covisits * (weights.behaviour * liked.weights / liked.weights.sum())[:, None]
        contributions[:, segments] = by_touch.sum(axis=0)
        share += by_touch
    if trends is not None:
        contributions[:, segments + 1] = weights.trending * trends
    if len(liked) and count:
        because = share.argmax(axis=0)
        because[share[because, np.arange(count)] <= 0.0] = -1
    return Scores(contributions, because)


def _attend(
    layout: Layout, by_segment: NDArray[np.float32], temperature: float, touched: Touched, candidates: Matrix
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Similarities (segments, touches, candidates), attention and weighted totals (touches, candidates)."""
    similarity = np.empty((len(layout.segments), len(touched), len(candidates)), dtype=np.float32)
    for i, segment in enumerate(layout.segments):
        where = layout.slices[segment.name]
        # This way round BLAS takes half the time: there are many more candidates than touches.
        similarity[i] = (candidates[:, where] @ touched.vectors[:, where].T).T
    total = np.tensordot(by_segment, similarity, axes=1)
    attention = total / np.float32(temperature) + np.log(touched.weights)[:, None]
    attention -= attention.max(axis=0)
    np.exp(attention, out=attention)
    attention /= attention.sum(axis=0)
    return similarity, attention, total


def heaviest(
    numbers: NDArray[np.uint32], weights: NDArray[np.float32], limit: int = HEAVIEST_TOUCHES
) -> NDArray[np.intp]:
    """Indices of the `limit` largest weights, in the order in which they came."""
    if len(weights) <= limit:
        return np.arange(len(weights))
    return np.sort(np.argpartition(-weights, limit - 1)[:limit])
