"""Item-to-item tables in closed form: what follows what, and what is like what. NumPy and SciPy; no torch.

    A_ij = Σ_u n_u^-user_power · [ decay^(t-s-1) where i at place s comes before j at t; backward · the same after ]
    B_ij = A_ij · (1 + content_boost · max(0, cos(content_i, content_j)))
    T    = D^-row_power B with D the sums of B's rows;  W = the `kept` largest of each row of T + second_step · T T
    C    = the content_kept largest of max(0, cos)^content_sharpness · popularity^content_popularity, rows sum to one
    score(history) ∝ behaviour_weight · Σ_i recency^age_i W_i  +  content_weight · Σ_i recency^age_i C_i

With `even` the rows of W sum to one too: an item that many chose does not drown the rest of a history.

Dense content may be taught what shoppers chose together: beside the features X stand those whose inner products are
X (X'X + ridge)⁻¹ X'SX (X'X + ridge)⁻¹ X', with S the shrunk cosines of items over shoppers. Histories longer than
`longest` are no shopper's, and are left out of what is learned.

Only the few largest entries of a row are kept, so that both tables are updated product by product. Popularity decides
between equal scores. Sources: item-to-item transitions as in SLIST (Choi et al., WWW 2021), walks of two steps as in
RP3β (Paudel et al., TiiS 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

_ROWS = 1_000
_PAIRS = 200_000
_TINY = 1e-9
_TIE = 1e-6
_SHRINKAGE = 20.0


@dataclass(frozen=True, slots=True)
class NeighbourRules:
    """What the module's formulas name. The defaults are for histories in order of time."""

    user_power: float = 0.0
    decay: float = 0.85
    backward: float = 0.1
    content_boost: float = 2.0
    row_power: float = 0.4
    smoothing: float = 0.5
    second_step: float = 0.0
    kept: int = 200
    content_kept: int = 100
    even: bool = False
    content_popularity: float = 0.5
    content_sharpness: float = 1.0
    behaviour_weight: float = 1.0
    content_weight: float = 0.2
    recency: float = 0.65
    remembered: int = 50
    """So many of a history's last items count."""
    longest: int = 10**6
    taught: float = 0.0
    """The share of taught features in the content's cosine."""
    ridge: float = 3.0

    @property
    def ordered(self) -> bool:
        return self.decay < 1.0 or self.backward != 1.0


UNORDERED = NeighbourRules(
    user_power=1.5,
    decay=1.0,
    backward=1.0,
    content_boost=1.0,
    row_power=0.5,
    smoothing=0.05,
    second_step=3.0,
    kept=300,
    content_kept=60,
    even=True,
    content_popularity=0.0,
    content_sharpness=4.0,
    content_weight=0.2,
    recency=1.0,
    remembered=10**6,
    longest=100,
    taught=0.6,
)
"""For histories without an order. Chosen on TikTok's validation split and on choices hidden from its train split."""


@dataclass(frozen=True)
class NeighbourTables:
    """`behaviour` and `content` are sparse (items, items); `popularity` counts interactions, (items,)."""

    behaviour: Any
    content: Any
    popularity: NDArray[np.float32]
    rules: NeighbourRules

    def scores(self, histories: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """(histories, items)."""
        rules = self.rules
        asked = _weighted(histories, len(self.popularity), rules.recency, rules.remembered)
        found = rules.behaviour_weight * _shares((asked @ self.behaviour).toarray())
        found += rules.content_weight * _shares((asked @ self.content).toarray())
        found += _TIE * self.popularity / max(float(self.popularity.max()), 1.0)
        return found


def fit(histories: Sequence[NDArray[np.int64]], items: int, content: Any, rules: NeighbourRules) -> NeighbourTables:
    """Tables of everything that shoppers touched. `content`: unit rows, (items, features), dense or sparse."""
    histories = [history for history in histories if len(history) <= rules.longest]
    popularity = np.bincount(np.concatenate(histories), minlength=items).astype(np.float32)
    if rules.taught and not sparse.issparse(content):
        learned = unit_rows(_taught(content, _weighted(histories, items, 1.0, rules.remembered), rules.ridge))
        content = np.hstack([np.sqrt(1.0 - rules.taught) * content, np.sqrt(rules.taught) * learned])
    together = _ordered_pairs(histories, items, rules) if rules.ordered else _pairs(histories, items, rules)
    if rules.content_boost:
        together.data *= 1.0 + rules.content_boost * _cosines(content, together)
    behaviour = _strongest_steps(_scaled(together, rules.row_power, rules.smoothing), rules)
    return NeighbourTables(
        _scaled(behaviour, 1.0, _TINY) if rules.even else behaviour,
        _nearest(content, popularity, rules),
        popularity,
        rules,
    )


def unit_rows(features: Any, *, whiten: bool = False) -> Any:
    """Rows of unit length. `whiten` first centres dense features and makes their directions count alike."""
    if sparse.issparse(features):
        weights = np.log((features.shape[0] + 1.0) / (np.asarray((features > 0).sum(axis=0)).ravel() + 1.0))
        weighted = features @ sparse.diags(weights.astype(np.float32))
        lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
        return sparse.csr_matrix(sparse.diags(1.0 / (lengths + _TINY)) @ weighted)
    dense = np.asarray(features, np.float32)
    if whiten:
        dense = dense - dense.mean(axis=0)
        values, vectors = np.linalg.eigh(dense.T @ dense / len(dense))
        dense = dense @ vectors / np.sqrt(values + 1e-3 * values.max())
    return dense / (np.linalg.norm(dense, axis=1, keepdims=True) + _TINY)


def _taught(content: NDArray[np.float32], touched: Any, ridge: float) -> NDArray[np.float32]:
    """Features whose inner products come nearest to the items' cosines over shoppers, (items, n)."""
    people = np.asarray(touched.sum(axis=0)).ravel() + _SHRINKAGE
    cosines = sparse.diags(people**-0.5) @ (touched.T @ touched) @ sparse.diags(people**-0.5)
    cosines = _apart(cosines)
    inverse = np.linalg.inv(content.T @ content + ridge * np.eye(content.shape[1]))
    mapped = inverse @ (content.T @ (cosines @ content)) @ inverse
    values, vectors = np.linalg.eigh((mapped + mapped.T) / 2.0)
    positive = values > _TINY
    return np.asarray(content @ (vectors[:, positive] * np.sqrt(values[positive])), np.float32)


def _ordered_pairs(histories: Sequence[NDArray[np.int64]], items: int, rules: NeighbourRules) -> Any:
    rows, columns, weights = [], [], []
    for history in histories:
        last = history[-rules.remembered :]
        if len(last) < 2:
            continue
        earlier, later = np.triu_indices(len(last), 1)
        rows.append(last[earlier])
        columns.append(last[later])
        weights.append(rules.decay ** (later - earlier - 1.0) * float(len(last)) ** -rules.user_power)
    before = _table(np.concatenate(rows), np.concatenate(columns), np.concatenate(weights), items)
    return _apart(before + rules.backward * before.T)


def _pairs(histories: Sequence[NDArray[np.int64]], items: int, rules: NeighbourRules) -> Any:
    touched = _weighted(histories, items, 1.0, rules.remembered)
    each = np.array([float(max(len(history), 1)) ** -rules.user_power for history in histories], np.float32)
    return _apart(touched.T @ sparse.diags(each) @ touched)


def _strongest_steps(steps: Any, rules: NeighbourRules) -> Any:
    """The largest of each row of one step and, where they count, two."""
    blocks = []
    dense = steps.toarray() if rules.second_step else None
    for begin in range(0, steps.shape[0], _ROWS):
        block = steps[begin : begin + _ROWS].toarray()
        if dense is not None:
            block += rules.second_step * (steps[begin : begin + _ROWS] @ dense)
            block[np.arange(len(block)), begin + np.arange(len(block))] = 0.0
        blocks.append(_largest(block, rules.kept))
    return sparse.vstack(blocks).tocsr()


def _nearest(content: Any, popularity: NDArray[np.float32], rules: NeighbourRules) -> Any:
    wanted = (popularity + 0.5) ** rules.content_popularity
    blocks = []
    for begin in range(0, content.shape[0], _ROWS):
        alike = content[begin : begin + _ROWS] @ content.T
        block = np.maximum(alike.toarray() if sparse.issparse(alike) else alike, 0.0)
        block = (block**rules.content_sharpness if rules.content_sharpness != 1.0 else block) * wanted
        block[np.arange(len(block)), begin + np.arange(len(block))] = 0.0
        blocks.append(_largest(block, rules.content_kept))
    return _scaled(sparse.vstack(blocks).tocsr(), 1.0, _TINY)


def _cosines(content: Any, pairs: Any) -> NDArray[np.float32]:
    """Cosines of the content of the matrix's pairs, none below zero, in the order of its data."""
    placed = pairs.tocoo()
    found = np.empty(placed.nnz, np.float32)
    for begin in range(0, placed.nnz, _PAIRS):
        part = slice(begin, begin + _PAIRS)
        first, second = content[placed.row[part]], content[placed.col[part]]
        if sparse.issparse(content):
            found[part] = np.asarray(first.multiply(second).sum(axis=1)).ravel()
        else:
            found[part] = np.einsum("ij,ij->i", first, second)
    return np.maximum(found, 0.0)


def _weighted(histories: Sequence[NDArray[np.int64]], items: int, recency: float, remembered: int) -> Any:
    lasts = [history[-remembered:] for history in histories]
    rows = np.repeat(np.arange(len(lasts)), [len(last) for last in lasts])
    ages = np.concatenate([np.arange(len(last))[::-1] for last in lasts])
    values = np.float32(recency) ** ages.astype(np.float32)
    return sparse.csr_matrix((values, (rows, np.concatenate(lasts))), (len(lasts), items), dtype=np.float32)


def _table(rows: NDArray[np.int64], columns: NDArray[np.int64], values: NDArray[np.float64], items: int) -> Any:
    return sparse.csr_matrix((values.astype(np.float32), (rows, columns)), (items, items))


def _apart(table: Any) -> Any:
    """Without the pairs of an item with itself."""
    table = sparse.csr_matrix(table)
    table.setdiag(0.0)
    table.eliminate_zeros()
    table.sort_indices()
    return table


def _scaled(table: Any, power: float, smoothing: float) -> Any:
    sums = np.asarray(table.sum(axis=1)).ravel() + smoothing
    return sparse.csr_matrix(sparse.diags((sums**-power).astype(np.float32)) @ table)


def _largest(block: NDArray[np.float32], most: int) -> Any:
    """The `most` largest entries of each row, sparse."""
    most = min(most, block.shape[1] - 1)
    columns = np.argpartition(-block, most, axis=1)[:, :most]
    rows = np.repeat(np.arange(len(block)), most)
    kept = sparse.csr_matrix((np.take_along_axis(block, columns, 1).ravel(), (rows, columns.ravel())), block.shape)
    kept.eliminate_zeros()
    return kept


def _shares(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    shares: NDArray[np.float32] = scores / (scores.sum(axis=1, keepdims=True) + np.float32(_TINY))
    return shares
