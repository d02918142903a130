"""Word vectors of a catalogue: what they say by what shoppers choose together, and the words themselves.

**Learned.** With interactions, the likeness of two texts is learned in closed form. K is the TF-IDF cosine, S the
shrunk cosine of products over shoppers, scaled to the same mass. Kernel ridge regression carries what K does not know,
D = S − β K, from products to their texts, F = K W D W K + β K with W = (K + λ)⁻¹, so that a product nobody has touched
is placed by its words. The vectors are those whose sums have the inner products of F's best approximation of their
size. Their length says how far a product's reach goes, and is kept (docs/decisions/0008, 0010).

**Terms.** A random vector per word, weighted by inverse document frequency, those of a product's facts once and a half
(docs/decisions/0024): the sum over a text, scaled to unit length, has the cosine of the weighted words as its inner
product but for the noise of a random projection (Johnson & Lindenstrauss, 1984).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse.linalg import svds

from freshet.representation.preprocessing import TEXT_BUCKETS

RIDGE = 0.3
"""λ. With `KEPT`, chosen on the validation split of H&M's week (docs/decisions/0009)."""
KEPT = 0.1
"""β."""
SHRINKAGE = 20.0
MASS = 0.94
"""Sum of |S| per product: about what TF-IDF cosines sum to."""
BASIS = 3_200
"""So many products, those touched most, decide: the time grows with the cube of it."""
LEAST_PAIRS = 500
"""With fewer pairs of products that a shopper touched both, their cosines are noise."""
FACTS = 1.5
"""Words of categories and attributes count so many times in terms: facts are common, and yet say what goes together."""
SENTENCES = 0.35
"""Share of the kernel that sentences have, where there are any; words have the rest."""
UNKNOWN = 0.3
"""Length of the vector of a word that the catalogue lacks, beside that of a typical known one."""
_TINY = 1e-6


def text_table(
    tokens: NDArray[np.int32],
    size: int,
    terms: int,
    seed: int,
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    sentences: NDArray[np.float32] | None = None,
    facts: NDArray[np.int32] | None = None,
) -> NDArray[np.float32]:
    """Word vectors, (TEXT_BUCKETS + 1, size + terms): learned ones, then terms; row 0 is padding and zero.

    `tokens` (products, TEXT_LENGTH) are the catalogue's; `users`, `items` (interactions,) index shoppers and products.
    `facts` are tokens of facts, of any shape.
    With `sentences` (products, n), unit vectors of whole texts, there are n rows more: what each of their dimensions
    adds, and no terms. Inverse document frequencies are folded in. The mean squared length of the catalogue's learned
    sums is one. A word that the catalogue lacks gets a short random vector, so that two texts that share it are alike.
    """
    rows, columns = np.nonzero(tokens)
    buckets = tokens[rows, columns]
    frequency = np.bincount(buckets, minlength=TEXT_BUCKETS + 1)
    inverse = np.log(len(tokens) / np.maximum(frequency, 1)) + 1.0
    weighted = sparse.csr_matrix((inverse[buckets], (rows, buckets)), (len(tokens), TEXT_BUCKETS + 1))
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    texts = sparse.csr_matrix(sparse.diags(1.0 / np.maximum(lengths, _TINY)) @ weighted)
    scale, known = inverse, np.flatnonzero(frequency)
    if sentences is not None:
        texts = sparse.hstack([texts * (1.0 - SENTENCES) ** 0.5, sentences * SENTENCES**0.5], format="csr")
        # The words of a text are summed as they are, its sentence is of unit length: here as long as is typical.
        longer = np.full(sentences.shape[1], SENTENCES**0.5 * float(np.median(lengths)))
        known = np.append(known, len(scale) + np.arange(len(longer)))
        scale = np.concatenate([inverse * (1.0 - SENTENCES) ** 0.5, longer])
    generator = np.random.default_rng(seed)
    table = (generator.standard_normal((len(scale), size)) / np.sqrt(size)).astype(np.float32)
    rank = min(size, len(tokens) - 1)
    if rank >= 1:
        together = _together(users, items, len(tokens))
        directions = _semantic(texts, rank, generator) if together is None else _learned(texts, together, rank)
        found = (_signed(directions) * scale[:, None])[known]
        typical = float(np.median(np.linalg.norm(found, axis=1))) or 1.0
        table *= UNKNOWN * typical
        table[known] = 0.0
        table[known, : found.shape[1]] = found
    table[0] = 0.0
    sums = sparse.csr_matrix((np.ones(len(rows)), (rows, buckets)), weighted.shape) @ table[: TEXT_BUCKETS + 1]
    if sentences is not None:
        sums += sentences @ table[TEXT_BUCKETS + 1 :]
    table /= float(np.sqrt(np.square(sums).sum(axis=1).mean())) or 1.0
    words = np.zeros((len(table), terms), np.float32)
    stressed = inverse.copy()
    if facts is not None:
        stressed[np.unique(facts)] *= FACTS
    words[: len(inverse)] = generator.standard_normal((len(inverse), terms)) * stressed[:, None] / np.sqrt(terms)
    words[0] = 0.0
    return np.concatenate([table, words], axis=1)


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


def _learned(texts: Any, together: Any, rank: int) -> NDArray[np.float64]:
    """The learned vectors of the buckets, (buckets, at most rank)."""
    basis = np.sort(np.argsort(-together.diagonal(), kind="stable")[:BASIS])
    texts, counts = texts[basis], together[basis][:, basis].toarray()
    people = np.diag(counts).copy() + SHRINKAGE
    chosen = counts / np.sqrt(np.outer(people, people))
    np.fill_diagonal(chosen, 0.0)
    chosen *= MASS * len(basis) / max(float(chosen.sum()), _TINY)
    alike = (texts @ texts.T).toarray()
    residual = chosen - KEPT * alike
    np.fill_diagonal(residual, 0.0)
    ridge = linalg.cho_factor(alike + RIDGE * np.eye(len(basis)))
    spread = linalg.cho_solve(ridge, linalg.cho_solve(ridge, residual).T)
    spread = (spread + spread.T) / 2.0
    whole = alike @ spread @ alike + KEPT * alike
    values, vectors = _highest(whole, rank)
    positive = values[::-1] > 1e-9
    values, vectors = values[::-1][positive], vectors[:, ::-1][:, positive] / np.sqrt(values[::-1][positive])
    mixed = spread @ (alike @ vectors) + KEPT * vectors
    found: NDArray[np.float64] = np.asarray(texts.T @ mixed)
    return found


def _highest(symmetric: NDArray[np.float64], rank: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The `rank` highest eigenvalues, ascending, and their vectors as columns."""
    last = len(symmetric) - 1
    first = max(last - rank + 1, 0)
    try:
        values, vectors = linalg.eigh(symmetric, subset_by_index=[first, last])
    except linalg.LinAlgError:
        # LAPACK's relatively robust representations give up on some matrices with many equal eigenvalues; the slower
        # divide and conquer does not.
        values, vectors = linalg.eigh(symmetric, driver="evd")
        values, vectors = values[first:], vectors[:, first:]
    return values, vectors


def _signed(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each column with its largest entry positive: the sign is otherwise the solver's whim."""
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
    signed: NDArray[np.float64] = directions * signs
    return signed
