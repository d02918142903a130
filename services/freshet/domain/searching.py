"""How a product is scored for a search: a sum of one contribution per part of the query. NumPy only; no I/O.

    score(j) = terms · (.7 whole(j) + .3 title(j)) + text · ⟨q_text, v_text⟩
             + caption · ⟨q_caption, v_image⟩ + image · ⟨q_image, v_image⟩ + trending · demand_j

q_… have unit length. whole(j) and title(j) are the shares of the query's words that j's text and title have, each word
weighing its inverse document frequency (freshet.recommend.lexicon). The vectors' own terms segment has no part: in a
random projection's noise a rare word is lost (docs/decisions/0016).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from freshet.domain.representations import Layout, Matrix, Modality, Vector

PARTS = ("terms", "text", "caption", "image", "trending")
"""The names of a search's contributions, in the order of the columns of `contributions`."""


OF_TERMS = (0.7, 0.3)
"""How much whole texts and titles make up of `terms`."""


@dataclass(frozen=True, slots=True)
class SearchWeights:
    """How much each part of a search's score counts; chosen on the words of H&M's and the demo's products."""

    terms: float = 1.0
    text: float = 0.1
    caption: float = 0.1
    image: float = 0.5
    trending: float = 0.001

    def times(self, multipliers: Mapping[str, float]) -> SearchWeights:
        """These weights, each multiplied by what a request asks for (by name; absent means 1)."""
        return replace(self, **{name: getattr(self, name) * factor for name, factor in multipliers.items()})


@dataclass(frozen=True, slots=True)
class QueryVectors:
    """A query as the model reads it: unit vectors in the spaces of the segments, None where there is nothing to say."""

    text: Vector | None = None
    caption: Vector | None = None
    image: Vector | None = None

    def __bool__(self) -> bool:
        return any(part is not None for part in (self.text, self.caption, self.image))


def whole(layout: Layout, query: QueryVectors, weights: SearchWeights) -> Vector:
    """What is sought in an index: its inner product with a product's vector is what the vectors add to the score."""
    vector = np.zeros(layout.dimension, np.float32)
    for modality, part, weight in (
        (Modality.TEXT, query.text, weights.text),
        (Modality.IMAGE, query.caption, weights.caption),
        (Modality.IMAGE, query.image, weights.image),
    ):
        if part is not None and modality in layout.slices:
            vector[layout.slices[modality]] += np.float32(weight) * part
    return vector


def contributions(
    layout: Layout,
    query: QueryVectors,
    weights: SearchWeights,
    vectors: Matrix,
    words: NDArray[np.float64],
    demand: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What adds up to the scores of `vectors` (products, dimension): (products, parts), columns as PARTS.

    `words` (products, 2) are the shares of the query's words that texts and titles have, `demand` (products,) shares of
    the highest demand.
    """
    found = np.zeros((len(vectors), len(PARTS)))
    for column, modality, part, weight in (
        (1, Modality.TEXT, query.text, weights.text),
        (2, Modality.IMAGE, query.caption, weights.caption),
        (3, Modality.IMAGE, query.image, weights.image),
    ):
        if part is not None and modality in layout.slices:
            found[:, column] = weight * (vectors[:, layout.slices[modality]] @ part).astype(np.float64)
    found[:, 0] = weights.terms * (words @ np.array(OF_TERMS))
    found[:, 4] = weights.trending * demand
    return found


def rarity(products: int, having: int) -> float:
    """A word's weight: its inverse document frequency, log(1 + products / products that have it)."""
    return float(np.log1p(products / having))
