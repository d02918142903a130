"""Which reviews say what a product is: attention over its reviews' texts, learned without labels. Imports torch.

A review with unit vector v weighs a(v) = exp(q·v), bounded, beside what the flood guard leaves of it. q is found by
InfoNCE: the pooled texts of a product are to lie nearer to that product's own text than to any other's. a(v) depends on
the review alone, so that sums over reviews can be kept up to date one review at a time (freshet.domain.reviews).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from freshet.representation.preprocessing import ATTENTION_MOST
from freshet.representation.tensors import unit

LEAST_PRODUCTS = 60
"""With texts and two reviews that have words; of fewer nothing is learned."""
MOST_PRODUCTS, MOST_REVIEWS = 1_000, 10_000
"""So many are learned from."""
STEPS = 60
LEARNING_RATE = 0.1
WEIGHT = 0.003
"""Of the squared length of q."""
TEMPERATURE = 0.07
_HELD_OUT = 5
"""Every so-manieth product judges whether there is a gain."""


def learned(
    vectors: NDArray[np.float32], products: NDArray[np.int64], texts: NDArray[np.float32], seed: int
) -> NDArray[np.float32] | None:
    """q, (size,); None where it brings no gain on products held out, or there is too little to learn from.

    `vectors` (reviews, size) are unit or zero rows, `products` (reviews,) the product of each; `texts` (products, size)
    say what products are.
    """
    generator = np.random.default_rng(seed)
    said = np.flatnonzero(np.linalg.norm(vectors, axis=1) > 0.0)
    counts = np.bincount(products[said], minlength=len(texts))
    judged = np.flatnonzero((counts > 1) & (np.linalg.norm(texts, axis=1) > 0.0))
    if len(judged) < LEAST_PRODUCTS:
        return None
    judged = np.sort(generator.permutation(judged)[:MOST_PRODUCTS])
    said = generator.permutation(said[np.isin(products[said], judged)])[:MOST_REVIEWS]
    place = np.full(len(texts), -1, np.int64)
    place[judged] = np.arange(len(judged))
    pool = _Pool(
        torch.from_numpy(vectors[said]), torch.from_numpy(place[products[said]]), torch.from_numpy(texts[judged])
    )
    held = torch.arange(len(judged)) % _HELD_OUT == 0
    query = _descend(pool, ~held)
    with torch.no_grad():
        if pool.loss(query, held) >= pool.loss(torch.zeros_like(query), held):
            return None
    found: NDArray[np.float32] = _descend(pool, torch.ones_like(held)).numpy()
    return found


class _Pool:
    """Reviews (reviews, size) of products, each with a text (products, size)."""

    def __init__(self, vectors: Tensor, products: Tensor, texts: Tensor) -> None:
        self.vectors, self._products = vectors, products
        self._texts = unit(texts)
        # Products that say the same are no mistakes for one another.
        self._same = (self._texts @ self._texts.T > 1.0 - 1e-4).float()

    def loss(self, query: Tensor, which: Tensor) -> Tensor:
        """Mean cross-entropy of finding a product's own text among those of `which`."""
        attention = torch.exp((self.vectors @ query).clamp(-ATTENTION_MOST, ATTENTION_MOST))
        pooled = torch.zeros_like(self._texts).index_add(0, self._products, self.vectors * attention[:, None])
        scores = unit(pooled[which]) @ self._texts[which].T / TEMPERATURE
        same = self._same[which][:, which]
        return -(same * torch.log_softmax(scores, dim=1)).sum(dim=1).div(same.sum(dim=1)).mean()


def _descend(pool: _Pool, which: Tensor) -> Tensor:
    query = nn.Parameter(torch.zeros(pool.vectors.shape[1]))
    optimiser = torch.optim.Adam([query], lr=LEARNING_RATE)
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss = pool.loss(query, which) + WEIGHT * (query @ query)
        torch.autograd.backward(loss)
        optimiser.step()
    return query.detach()
