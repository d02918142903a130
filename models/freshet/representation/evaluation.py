"""Offline quality of a ranking, by the very formula that the service uses, and the search for its default weights.

May import the domain. NumPy and SciPy; no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from freshet.domain import scoring
from freshet.domain.affinity import AffinityRules, affinities, affinity_rules
from freshet.domain.representations import Layout, Matrix, Modality

LOOKED_AT = 100
"""Places of a list by which ranking weights are told apart."""


@dataclass(frozen=True)
class Held:
    """What a ranking is judged by: shoppers' products known to it, and one product of each that is not.

    `users`, `items` int32 (interactions,) are known, each shopper's in order of time; `target_users`, `targets`
    (shoppers judged,) are held out.
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
    """The catalogue as a ranking sees it: `vectors` (products, dimension), what people did, and demand.

    `places` (shoppers, products) holds at each product of a shopper how many they touched since, plus one; `affinity`
    (products, products) says in row i how much product i speaks for the others.
    """

    layout: Layout
    vectors: Matrix
    places: sparse.csr_matrix
    affinity: sparse.csr_matrix
    trends: NDArray[np.float32]
    tried: NDArray[np.bool_]
    """Which products anybody has chosen."""

    def histories(self, shoppers: NDArray[np.integer], recency: float) -> sparse.csr_matrix:
        """What each product counts in these shoppers' taste, as shares of one, (shoppers, products)."""
        found = self.places[shoppers]
        found.data = np.float32(recency) ** (found.data - 1.0)
        total = np.maximum(np.asarray(found.sum(axis=1)).ravel(), 1e-12)
        return sparse.csr_matrix(sparse.diags(1.0 / total) @ found)


def known(
    layout: Layout,
    vectors: Matrix,
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    rules: AffinityRules,
    people: int = 0,
) -> Known:
    """Affinities and demand counted over the given interactions alone, of at least so many `people`.

    `users` and `items` are in order of time.
    """
    people = max(people, int(users.max(initial=-1)) + 1)
    places = latest_places(users, items, (people, len(vectors)))
    seen = sparse.csr_matrix((np.ones_like(places.data), places.indices, places.indptr), places.shape)
    wanted = np.asarray(seen.sum(axis=0), dtype=np.float32).ravel()
    name = Modality.TERMS if Modality.TERMS in layout.slices else layout.segments[0].name
    affinity = affinity_table(sparse.csr_matrix(seen.T @ seen), vectors[:, layout.slices[name]], rules)
    return Known(layout, vectors, places, affinity, wanted / max(float(wanted.max(initial=0.0)), 1.0), wanted > 0.0)


def latest_places(users: NDArray[np.int32], items: NDArray[np.int32], shape: tuple[int, int]) -> sparse.csr_matrix:
    """At each pair that is there: 1 for the product that the shopper touched last, 2 for the one before it, and so on.

    A product touched more than once stands where it was touched last.
    """
    newest_first = np.stack([users, items], axis=1)[::-1]
    _, last = np.unique(newest_first, axis=0, return_index=True)
    users, items = newest_first[np.sort(last)].T
    by_user = np.argsort(users, kind="stable")
    users, items = users[by_user], items[by_user]
    first = np.searchsorted(users, users)
    return sparse.csr_matrix((np.arange(1.0, len(users) + 1.0, dtype=np.float32) - first, (users, items)), shape)


def affinity_table(together: sparse.csr_matrix, terms: Matrix, rules: AffinityRules) -> sparse.csr_matrix:
    """Row i: the affinities of product i for its neighbours. `together` counts shoppers, its diagonal each product's.

    `terms` (products, n) are vectors whose cosine says how alike two products' words are.
    """
    count = len(terms)
    lengths = np.linalg.norm(terms, axis=1)
    terms = terms / np.maximum(lengths, 1e-12)[:, None]
    people = together.diagonal().astype(np.float64)
    rows, columns, values = [], [], []
    for begin in range(0, count, 256):
        block = slice(begin, min(begin + 256, count))
        strengths = rules.strength(together[block].toarray().astype(np.float64), terms[block] @ terms.T)
        for i, strength in enumerate(strengths, begin):
            strength[i] = -np.inf
            near = rules.nearest(strength)
            near = near[(near != i) & (strength[near] > 0.0)]
            if not len(near):
                continue
            among = together[near][:, np.append(i, near)].toarray().astype(np.float64)
            words = terms[np.append(i, near)]
            rows.append(np.full(len(near), i))
            columns.append(near)
            both = affinities(rules, people[i], among[:, 0], people[near], among[:, 1:].copy(), words @ words.T)
            values.append(np.where(people[near] > 0.0, both.sum(axis=1), both[:, 1]))
    if not rows:
        return sparse.csr_matrix((count, count), dtype=np.float32)
    return sparse.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (count, count))


def scores(catalogue: Known, weights: scoring.RankingWeights, shoppers: NDArray[np.integer]) -> NDArray[np.float64]:
    """Scores of every product for these shoppers, (shoppers, products), as freshet.domain.scoring defines them."""
    histories = catalogue.histories(shoppers, weights.recency)
    wanted = catalogue.layout.weighted(histories @ catalogue.vectors, weights.modalities)
    found: NDArray[np.float64] = (wanted @ catalogue.vectors.T).astype(np.float64)
    affinity = weights.behaviour * (histories @ catalogue.affinity).toarray()
    found[:, ~catalogue.tried] *= weights.untried
    affinity[:, ~catalogue.tried] *= weights.untried_affinity
    found += affinity
    found += weights.trending * catalogue.trends
    return found


def quality(catalogue: Known, weights: scoring.RankingWeights, held: Held, best: int = 10) -> Quality:
    """Full ranking of every product the shopper does not have yet. Equal scores count against us."""
    gains = np.zeros(len(held.targets))
    for begin in range(0, len(held.targets), 500):
        block = slice(begin, begin + 500)
        users, targets = held.target_users[block], held.targets[block]
        found = scores(catalogue, weights, users)
        mine = catalogue.places[users].nonzero()
        found[mine] = -np.inf
        of_targets = found[np.arange(len(targets)), targets]
        ranks = (found >= of_targets[:, None]).sum(axis=1) - 1
        hit = (ranks < best) & np.isfinite(of_targets)
        gains[block][hit] = 1.0 / np.log2(ranks[hit] + 2.0)
    return Quality(float((gains > 0.0).mean()), float(gains.mean()))


def weigh(
    layout: Layout,
    vectors: Matrix,
    held: Held,
    ranking: Mapping[str, float],
    choices: Mapping[str, Sequence[float]],
) -> tuple[dict[str, float], Quality]:
    """The best ranking weights of `choices`, beginning with `ranking`, and what they reach on what is held out.

    Looked for by the gain among the best `LOOKED_AT`: often few targets are among the best ten, and which weights have
    one more of them there is chance.
    """

    @cache
    def catalogue(rules: AffinityRules) -> Known:
        return known(layout, vectors, held.users, held.items, rules)

    def judge(values: Mapping[str, float], best: int = LOOKED_AT) -> Quality:
        return quality(catalogue(affinity_rules(values)), scoring.ranking_weights(values), held, best)

    best, _ = search(judge, ranking, choices)
    return best, judge(best, 10)


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
