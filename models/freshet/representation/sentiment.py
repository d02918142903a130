"""Learns from a shop's own rated reviews how well a text speaks of a product. NumPy and SciPy; no torch.

Logistic regression over hashed words and pairs, weighted by inverse document frequency, and the lexicon's features. The
lexicon's weights are drawn towards a prior that was set by hand, so that a shop with few reviews, or none, has a judge
all the same, and one with many has its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from freshet.domain.reviews import Review
from freshet.representation.opinions import OPINION_BUCKETS, OPINION_FEATURES, opinion_inputs

PRIOR = (2.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.0, 0.0)
"""Weights of the lexicon's features before any review was read, in the order of `opinions.opinion_inputs`."""
PRIOR_INTERCEPT = 0.3
PRIOR_STRENGTH = 1.0
LENGTH_POWER = 0.5
"""0: every word says the same in a long text; 1: all words together do."""
LEAST_REVIEWS = 20
"""With fewer of either kind, the lexicon speaks alone."""
MOST_REVIEWS = 30_000
"""Learned from: the newest. Bounds memory and time."""


@dataclass(frozen=True)
class FitRules:
    """`spread` is the variance of a word's weight before the fit; `balance` 0 weighs every review alike, 1 every kind.

    Both chosen on validation splits (docs/decisions/0014).
    """

    spread: float = 1.0
    balance: float = 1.0


@dataclass(frozen=True)
class Judge:
    """A fitted model. `words` float64 (OPINION_BUCKETS + 1, 2): a bucket's weight times its frequency weight, and the
    square of the latter; row 0 is padding and zero. `lexicon` float64 (OPINION_FEATURES,)."""

    words: NDArray[np.float64]
    lexicon: NDArray[np.float64]
    intercept: float

    def scores(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Log odds that a text praises, (texts,). The served network gives the logistic function of them."""
        found = np.empty(len(texts))
        for start in range(0, len(texts), 1_024):
            inputs = opinion_inputs(texts[start : start + 1_024])
            sums = np.stack([self.words[row[row > 0]].sum(axis=0) for row in inputs["tokens"]])
            said = sums[:, 0] / np.maximum(sums[:, 1], 1.0) ** (LENGTH_POWER / 2.0)
            lexicon = np.asarray(inputs["lexicon"], dtype=np.float64)
            found[start : start + 1_024] = said + lexicon @ self.lexicon + self.intercept
        return found


def untaught() -> Judge:
    """The lexicon alone."""
    return Judge(np.zeros((OPINION_BUCKETS + 1, 2)), np.array(PRIOR), PRIOR_INTERCEPT)


def rated(reviews: Sequence[Review]) -> tuple[list[str], NDArray[np.bool_]]:
    """Texts and whether they praise: 4 stars and more do, 2 and fewer do not, those between are left out.

    A text counts once, however many shoppers wrote it.
    """
    newest = sorted(reviews, key=lambda review: review.version)[-MOST_REVIEWS:]
    found: dict[str, tuple[str, bool]] = {}
    for review in newest:
        if review.text.strip() and review.rating is not None and (review.rating <= 2.0 or review.rating >= 4.0):
            found[" ".join(review.text.casefold().split())] = (review.text, review.rating >= 4.0)
    return [text for text, _ in found.values()], np.array([praise for _, praise in found.values()], dtype=np.bool_)


def fit(texts: Sequence[str], praise: NDArray[np.bool_], rules: FitRules = FitRules()) -> Judge:
    """The judge of these texts (n,), which say praise or not (n,). The same arguments give the same judge."""
    kinds = int(praise.sum()), int((~praise).sum())
    if min(kinds) < LEAST_REVIEWS:
        return untaught()
    inputs = opinion_inputs(texts)
    rows, columns = np.nonzero(inputs["tokens"])
    buckets = inputs["tokens"][rows, columns].astype(np.int64)
    known, places = np.unique(buckets, return_inverse=True)
    inverse = np.log((1.0 + len(texts)) / (1.0 + np.bincount(places))) + 1.0
    words = sparse.csr_matrix((inverse[places], (rows, places)), (len(texts), len(known)))
    lengths = np.sqrt(np.asarray(words.multiply(words).sum(axis=1)).ravel())
    words = sparse.diags(np.maximum(lengths, 1.0) ** -LENGTH_POWER) @ words
    features = sparse.hstack([words, sparse.csr_matrix(inputs["lexicon"]), np.ones((len(texts), 1))]).tocsr()
    prior = np.r_[np.zeros(len(known)), PRIOR, PRIOR_INTERCEPT]
    strength = np.r_[np.full(len(known), 1.0 / rules.spread), np.full(OPINION_FEATURES + 1, PRIOR_STRENGTH)]
    share = kinds[0] / len(praise)
    weights = np.where(praise, (0.5 / share) ** rules.balance, (0.5 / (1.0 - share)) ** rules.balance)
    found = logistic_regression(features, praise, weights, prior, strength)
    table = np.zeros((OPINION_BUCKETS + 1, 2))
    table[:, 1] = (np.log(1.0 + len(texts)) + 1.0) ** 2
    table[known, 0], table[known, 1] = found[: len(known)] * inverse, inverse**2
    table[0] = 0.0
    return Judge(table, found[len(known) : -1], float(found[-1]))


def logistic_regression(
    features: Any,
    praise: NDArray[np.bool_],
    weights: NDArray[np.float64],
    prior: NDArray[np.float64],
    strength: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Coefficients (columns,) of sparse `features` (n, columns) that explain `praise` (n,), each row with its weight.

    Gaussian prior around `prior` with precision `strength`, both (columns,); L-BFGS.
    """
    sign = np.where(praise, 1.0, -1.0)
    transposed = features.T.tocsr()

    def loss(found: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (features @ found)
        away = found - prior
        value = weights @ np.logaddexp(0.0, -margin) + 0.5 * strength @ np.square(away)
        slope = -sign * weights * np.exp(-np.logaddexp(0.0, margin))
        return float(value), transposed @ slope + strength * away

    solved = optimize.minimize(loss, prior, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    coefficients: NDArray[np.float64] = solved.x
    return coefficients
