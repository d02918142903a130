"""Offline quality of a ranking, by the very formula that the service uses, and the search for its default weights.

May import the domain. NumPy and SciPy; no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from freshet.domain import scoring
from freshet.domain.representations import Layout, Matrix

SHRINKAGE = 20.0
"""Users added to either side of a co-visit cosine, as in freshet.domain.covisits."""


@dataclass(frozen=True)
class Held:
    """What a ranking is judged by: shoppers' products known to it, and one product of each that is not.

    `users`, `items` int32 (interactions,) are known; `target_users`, `targets` (shoppers judged,) are held out.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    target_users: NDArray[np.int32]
    targets: NDArray[np.int32]

    def sample(self, most: int, seed: int) -> Held:
        """The same with at most `most` shoppers judged."""
        if len(self.targets) <= most:
            return self
        chosen = np.sort(np.random.default_rng(seed).choice(len(self.targets), most, replace=False))
        return Held(self.users, self.items, self.target_users[chosen], self.targets[chosen])


@dataclass(frozen=True)
class Quality:
    """Means over shoppers: whether the target is among the best ten, and its discounted gain."""

    hit_rate: float
    ndcg: float


@dataclass(frozen=True)
class Known:
    """The catalogue as a ranking sees it: `vectors` (products, dimension), what people did, and demand."""

    layout: Layout
    vectors: Matrix
    covisits: sparse.csr_matrix
    trends: NDArray[np.float32]
    history: Mapping[int, NDArray[np.intp]]


def known(layout: Layout, vectors: Matrix, users: NDArray[np.int32], items: NDArray[np.int32]) -> Known:
    """Co-visit cosines and demand counted over the given interactions alone."""
    count = len(vectors)
    people = int(users.max(initial=-1)) + 1
    seen = sparse.csr_matrix((np.ones(len(users), np.float32), (users, items)), (people, count))
    seen.data[:] = 1.0
    together = (seen.T @ seen).tocoo()
    wanted = np.asarray(seen.sum(axis=0), dtype=np.float32).ravel()
    apart = together.row != together.col
    rows, columns = together.row[apart], together.col[apart]
    cosines = together.data[apart] / np.sqrt((wanted[rows] + SHRINKAGE) * (wanted[columns] + SHRINKAGE))
    covisits = sparse.csr_matrix((cosines.astype(np.float32), (rows, columns)), (count, count))
    history = {user: seen.indices[seen.indptr[user] : seen.indptr[user + 1]] for user in range(people)}
    return Known(layout, vectors, covisits, wanted / max(float(wanted.max(initial=0.0)), 1.0), history)


def quality(catalogue: Known, weights: scoring.RankingWeights, held: Held, best: int = 10) -> Quality:
    """Full ranking of every product the shopper does not have yet. Equal scores count against us."""
    gains = np.zeros(len(held.targets))
    for i, (user, target) in enumerate(zip(held.target_users.tolist(), held.targets.tolist(), strict=True)):
        mine = catalogue.history.get(user, np.empty(0, np.intp))
        liked = scoring.Touched(catalogue.vectors[mine], np.ones(len(mine), np.float32))
        nobody = scoring.Touched(catalogue.vectors[:0], np.ones(0, np.float32))
        covisits = catalogue.covisits[mine].toarray()
        totals = scoring.score(
            catalogue.layout, weights, catalogue.vectors, liked, nobody, covisits, catalogue.trends
        ).totals
        totals[mine] = -np.inf
        rank = int((totals >= totals[target]).sum()) - 1
        if rank < best and np.isfinite(totals[target]):
            gains[i] = 1.0 / np.log2(rank + 2.0)
    return Quality(float((gains > 0.0).mean()), float(gains.mean()))


def search(
    judge: Callable[[Mapping[str, float]], Quality],
    start: Mapping[str, float],
    choices: Mapping[str, Sequence[float]],
    rounds: int = 1,
) -> tuple[dict[str, float], Quality]:
    """One part after the other is set to the choice with the best NDCG. Judge on validation data only."""
    best = dict(start)
    reached = judge(best)
    for _ in range(rounds):
        for name, values in choices.items():
            for value in values:
                tried = {**best, name: value}
                if tried == best:
                    continue
                found = judge(tried)
                if found.ndcg > reached.ndcg:
                    best, reached = tried, found
    return best, reached
