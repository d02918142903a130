"""How a candidate is scored: a sum of one contribution per modality, behaviour and trending. NumPy only; no I/O.

    score(j) = u_j ⟨taste, v_j⟩ + e_j Σ_i a_i (behaviour · B_ij + alike · W_ij) + trending · demand_j
    taste    = w ∘ ( Σ_i a_i v_i  −  aversion · min(1, Σ weight_n) · Σ_n b_n v_n )

a_i are the square roots of the weights of what the shopper touched (a taste is an average of samples, and one purchase
says less than four views do), each times recency^(how many products they touched since), as shares of their sum; b_n
the same of what they disliked, without recency; w the modalities' weights, B_ij affinities by shoppers and W_ij by
words (freshet.domain.affinity); what words add is a contribution of text. A score is linear in the vectors: one product
of a matrix and a vector ranks any number of candidates, and a modality's contribution is its part of the sum
(docs/decisions/0010).

u_j and e_j are one, but for products that nobody has chosen yet, for which B_ij is nothing. What is known of a product
with shoppers was fitted to them, and stands higher than what is inferred of one without: there they are `untried` and
`untried_affinity`, set so that a new product that is wanted is found as often as another one (docs/decisions/0011).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from freshet.domain.representations import Layout, Matrix, Modality, Vector

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
            Modality.TERMS: 0.0,
        }
    )
    behaviour: float = 1.0
    alike: float = 1.0
    """Of affinities by words: the same as `behaviour`, but where a request weighs behaviour or text otherwise."""
    trending: float = 0.05
    aversion: float = 0.7
    untried: float = 1.0
    """What the modalities of a product that nobody has chosen count."""
    untried_affinity: float = 1.0
    """What affinities for such a product count; all of it is by words."""
    recency: float = 1.0
    """What a product that a shopper touched counts beside the one they touched next; below 1 the last count most."""

    def times(self, multipliers: Mapping[str, float]) -> RankingWeights:
        """These weights, each multiplied by what a request asks for (by name; absent means 1)."""
        if not multipliers:
            return self
        return replace(
            self,
            modalities={name: weight * multipliers.get(name.value, 1.0) for name, weight in self.modalities.items()},
            behaviour=self.behaviour * multipliers.get(BEHAVIOUR, 1.0),
            alike=self.alike * multipliers.get(Modality.TEXT.value, 1.0),
            trending=self.trending * multipliers.get(TRENDING, 1.0),
        )

    def of(self, layout: Layout) -> NDArray[np.float32]:
        """One weight per segment of the layout, shape (segments,)."""
        return np.array([self.modalities.get(segment.name, 1.0) for segment in layout.segments], dtype=np.float32)


def ranking_weights(values: Mapping[str, float]) -> RankingWeights:
    """Weights from plain names, as a model's manifest holds them; names it leaves out keep their defaults."""
    base = RankingWeights()
    behaviour = float(values.get(BEHAVIOUR, base.behaviour))
    return RankingWeights(
        modalities={name: float(values.get(name.value, base.modalities[name])) for name in Modality},
        behaviour=behaviour,
        alike=behaviour,
        trending=float(values.get(TRENDING, base.trending)),
        aversion=float(values.get("aversion", base.aversion)),
        untried=float(values.get("untried", base.untried)),
        untried_affinity=float(values.get("untried_affinity", base.untried_affinity)),
        recency=float(values.get("recency", base.recency)),
    )


@dataclass(frozen=True, slots=True)
class Touched:
    """Products a shopper did something with: `vectors` (touches, dimension), `weights` (touches,), all positive."""

    vectors: Matrix
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.weights)


def part_names(layout: Layout) -> tuple[str, ...]:
    """The names of an answer's contributions: the segments in layout order, then behaviour, then trending."""
    return (*(segment.name.value for segment in layout.segments), BEHAVIOUR, TRENDING)


def shares(touched: Touched) -> NDArray[np.float32]:
    """Square roots of weights as shares of their sum, (touches,)."""
    roots: NDArray[np.float32] = np.sqrt(touched.weights)
    return roots / np.float32(max(float(roots.sum()), 1e-12))


def taste(layout: Layout, weights: RankingWeights, liked: Touched, disliked: Touched) -> Vector:
    """What a shopper looks for: its inner product with a product's vector is what the modalities add to the score."""
    wanted = shares(liked) @ liked.vectors
    if len(disliked):
        aversion = weights.aversion * min(1.0, float(disliked.weights.sum()))
        wanted = wanted - np.float32(aversion) * (shares(disliked) @ disliked.vectors)
    found: Vector = layout.weighted(wanted[None], weights.modalities)[0]
    return found


def by_segment(layout: Layout, candidates: Matrix, wanted: Vector) -> NDArray[np.float64]:
    """Each segment's part of ⟨wanted, v_j⟩, shape (candidates, segments), in layout order."""
    parts: NDArray[np.float64] = np.add.reduceat(candidates * wanted, layout.starts, axis=1, dtype=np.float64)
    return parts


def lately(weights: NDArray[np.float32], recency: float) -> NDArray[np.float32]:
    """Weights of products touched, newest first, with recency in them: square roots fall by it from one to the next."""
    return weights * np.float32(recency) ** np.arange(0, 2 * len(weights), 2, dtype=np.float32)


def heaviest(weights: NDArray[np.float32], limit: int = HEAVIEST_TOUCHES) -> NDArray[np.intp]:
    """Indices of the `limit` largest weights, in the order in which they came."""
    if len(weights) <= limit:
        return np.arange(len(weights))
    return np.sort(np.argpartition(-weights, limit - 1)[:limit])
