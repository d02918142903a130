"""How much one product speaks for another: EASE solved on a product's neighbourhood alone. NumPy and SciPy; no I/O.

EASE (Steck, WWW 2019) predicts a product from all others a shopper chose, by ridge regression on co-counts. Here the
regression of product i sees the products with the largest A = G + a·K only, G counting shoppers who chose both and K
being the cosine of their words, so that words speak where there are no shoppers yet, and what one event changes is
solved again in well under a millisecond:

    x = (A_NN + λ)⁻¹ A_Ni        d = A_ii + λ − A_iN x        affinity of i for q in N = x_q (A_qq + λ) / d

which is row i of the regression towards every q, with 1 / (A_qq + λ) for the unknown diagonal of q's own inverse
(docs/decisions/0010 has what that costs, and the choice of the constants). It is linear in A_Ni = G_Ni + a·K_Ni: an
affinity is a sum of what shoppers did and of what words say.

Large affinities are made larger, small ones smaller: one of b becomes b · (|b| / typical)^sharpness, both its parts in
proportion. The sum of such powers over a shopper's products orders candidates as their power mean does, which lies
between the mean and the largest: one product that speaks loudly for a candidate counts more than many that hardly do
(docs/decisions/0024).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from freshet.domain.representations import Matrix


@dataclass(frozen=True, slots=True)
class AffinityRules:
    """`neighbours` is the size of N, `words` is a, in shoppers; `ridge` is λ.

    An affinity of `typical` stays as it is; with `sharpness` 0 all do. What is best differs between catalogues.
    """

    neighbours: int = 64
    words: float = 6.0
    ridge: float = 50.0
    sharpness: float = 0.0
    typical: float = 0.05

    def strength(self, together: NDArray[np.float64], likeness: NDArray[np.floating]) -> NDArray[np.float64]:
        """A between products, from co-counts G and cosines K of one shape."""
        return together + self.words * likeness

    def nearest(self, strength: NDArray[np.float64]) -> NDArray[np.intp]:
        """Indices of N among candidates with these A_i·, ascending; i itself must not be among them."""
        if len(strength) <= self.neighbours:
            return np.arange(len(strength))
        return np.sort(np.argpartition(-strength, self.neighbours - 1)[: self.neighbours])


def affinity_rules(values: Mapping[str, float]) -> AffinityRules:
    """Rules from plain names, as a model's manifest holds them beside its ranking weights."""
    return AffinityRules(sharpness=float(values.get("sharpness", 0.0)))


def affinities(
    rules: AffinityRules,
    users: float,
    together: NDArray[np.float64],
    neighbour_users: NDArray[np.float64],
    neighbours_together: NDArray[np.float64],
    likeness: Matrix,
) -> NDArray[np.float32]:
    """Affinities of one product for its m neighbours, shape (m, 2): by shoppers, and by words.

    `users` chose the product, `together` (m,) of them each neighbour too; `neighbour_users` (m,) chose the neighbours,
    `neighbours_together` (m, m) two of them (its diagonal is not read). `likeness` (m + 1, m + 1) are cosines of words,
    the product's own first.
    """
    matrix = rules.strength(neighbours_together, likeness[1:, 1:])
    diagonal = neighbour_users + rules.words * np.diag(likeness)[1:] + rules.ridge
    np.fill_diagonal(matrix, diagonal)
    towards = np.column_stack([together, rules.words * likeness[0, 1:]])
    try:
        solved = linalg.solve(matrix, towards, assume_a="pos", check_finite=False)
    except linalg.LinAlgError:
        # Decayed and cut lists of neighbours need not be consistent with each other.
        solved = np.linalg.lstsq(matrix, towards, rcond=None)[0]
    explained = float(towards.sum(axis=1) @ solved.sum(axis=1))
    left = users + rules.words * float(likeness[0, 0]) + rules.ridge - explained
    found = solved * diagonal[:, None] / max(left, rules.ridge)
    if rules.sharpness:
        found *= (np.abs(found.sum(axis=1, keepdims=True)) / rules.typical) ** rules.sharpness
    affinity: NDArray[np.float32] = found.astype(np.float32)
    return affinity
