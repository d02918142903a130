"""Word vectors of a catalogue: latent semantic analysis, bent towards what shoppers choose together. NumPy, SciPy.

With interactions, the likeness of two texts is learned in closed form. S holds the partial correlations of products
over shoppers (what EASE, Steck 2019, is made of); kernel ridge regression carries it from products to their texts,
F = K (K + λ)⁻¹ S (K + λ)⁻¹ K with K the TF-IDF cosine, so that a product nobody has touched yet is placed by its words;
β of K itself keeps texts alike that shoppers said nothing about. The word vectors are those whose sums have the inner
products of F's best approximation of their size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse.linalg import svds

from freshet.representation.preprocessing import TEXT_BUCKETS

RIDGE = 1.0
"""λ. With `KEPT`, chosen on the validation split of H&M's week (docs/decisions/0008)."""
KEPT = 0.1
"""β, both matrices scaled to a largest eigenvalue of one."""
CORRELATION_RIDGE = 100.0
BASIS = 3_200
"""So many products, those touched most, decide: the time grows with the cube of it."""
LEAST_PAIRS = 500
"""With fewer pairs of products that a shopper touched both, their correlations are noise."""
UNKNOWN = 0.3
"""Length of the vector of a word that the catalogue lacks, beside that of a typical known one."""
_TINY = 1e-6


def text_table(
    tokens: NDArray[np.int32], size: int, seed: int, users: NDArray[np.int32], items: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Word vectors, (TEXT_BUCKETS + 1, size); row 0 is padding and zero.

    `tokens` (products, TEXT_LENGTH) are the catalogue's; `users`, `items` (interactions,) index shoppers and products.
    Inverse document frequencies are folded in. A word that the catalogue lacks gets a short random vector, so that two
    texts that share it are alike.
    """
    rows, columns = np.nonzero(tokens)
    buckets = tokens[rows, columns]
    frequency = np.bincount(buckets, minlength=TEXT_BUCKETS + 1)
    inverse = np.log(len(tokens) / np.maximum(frequency, 1)) + 1.0
    weighted = sparse.csr_matrix((inverse[buckets], (rows, buckets)), (len(tokens), TEXT_BUCKETS + 1))
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    texts = sparse.csr_matrix(sparse.diags(1.0 / np.maximum(lengths, _TINY)) @ weighted)
    generator = np.random.default_rng(seed)
    table: NDArray[np.float32] = (generator.standard_normal((TEXT_BUCKETS + 1, size)) / np.sqrt(size)).astype(
        np.float32
    )
    known = np.flatnonzero(frequency)
    rank = min(size, len(tokens) - 1)
    if rank >= 1:
        together = _together(users, items, len(tokens))
        directions = _semantic(texts, rank, generator) if together is None else _chosen_together(texts, together, rank)
        learned = (_signed(directions) * inverse[:, None])[known]
        typical = float(np.median(np.linalg.norm(learned, axis=1))) or 1.0
        table *= UNKNOWN * typical
        table[known] = 0.0
        table[known, : learned.shape[1]] = learned
    table[0] = 0.0
    return table


def _together(users: NDArray[np.int32], items: NDArray[np.int32], products: int) -> Any:
    """How many shoppers touched both of two products, sparse (products, products); None where that is too little."""
    if not len(users):
        return None
    touched = sparse.csr_matrix((np.ones(len(users)), (users, items)), (int(users.max()) + 1, products))
    touched.sum_duplicates()
    touched.data[:] = 1.0
    together = sparse.csr_matrix(touched.T @ touched)
    pairs = (float(together.sum()) - float(together.diagonal().sum())) / 2.0
    return together if pairs >= LEAST_PAIRS else None


def _semantic(texts: Any, rank: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Latent semantic analysis (Deerwester et al., 1990): the buckets' right singular vectors, (buckets, rank)."""
    _, _, directions = svds(texts, k=rank, v0=generator.standard_normal(min(texts.shape)))
    largest_first: NDArray[np.float64] = directions[::-1].T
    return largest_first


def _chosen_together(texts: Any, together: Any, rank: int) -> NDArray[np.float64]:
    """The learned vectors of the buckets, (buckets, at most rank)."""
    basis = np.sort(np.argsort(-together.diagonal(), kind="stable")[:BASIS])
    texts, counts = texts[basis], together[basis][:, basis].toarray()
    precision = np.linalg.inv(counts + CORRELATION_RIDGE * np.eye(len(basis)))
    deviation = np.sqrt(np.diag(precision))
    correlation = -precision / np.outer(deviation, deviation)
    np.fill_diagonal(correlation, 0.0)
    alike = (texts @ texts.T).toarray()
    ridge = linalg.cho_factor(alike + RIDGE * np.eye(len(basis)))
    spread = linalg.cho_solve(ridge, linalg.cho_solve(ridge, correlation).T)
    spread = (spread + spread.T) / 2.0
    learned = alike @ spread @ alike
    of_learned, of_alike = _largest(learned), _largest(alike)
    if of_learned <= 0.0:
        return _semantic(texts, min(rank, len(basis) - 1), np.random.default_rng(0))
    whole = learned / of_learned + KEPT * alike / of_alike
    last = len(basis) - 1
    values, vectors = linalg.eigh(whole, subset_by_index=[max(last - rank + 1, 0), last])
    positive = values[::-1] > 1e-9
    values, vectors = values[::-1][positive], vectors[:, ::-1][:, positive]
    mixed = (spread @ (alike @ vectors)) / of_learned + KEPT * vectors / of_alike
    found: NDArray[np.float64] = np.asarray(texts.T @ mixed) / np.sqrt(values)
    return found


def _largest(matrix: NDArray[np.float64]) -> float:
    """The largest eigenvalue of a symmetric matrix."""
    last = len(matrix) - 1
    return float(linalg.eigh(matrix, eigvals_only=True, subset_by_index=[last, last])[0])


def _signed(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each column with its largest entry positive: the sign is otherwise the solver's whim."""
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
    signed: NDArray[np.float64] = directions * signs
    return signed
