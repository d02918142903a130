"""Rank metrics and the baselines that every run is compared with. NumPy and SciPy only.

One target a user, full ranking. Ties count against the ranking under test.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Scores: TypeAlias = Callable[[int, int], NDArray[np.float64]]
"""Scores of users [begin, end) for every item, shape (end - begin, items)."""
_USERS_AT_ONCE = 512


class Quality(NamedTuple):
    hr_at_10: float
    ndcg_at_10: float


def mean_quality(qualities: Sequence[Quality]) -> dict[str, float]:
    """Means by metric's name, and the standard deviation (`…_sd`) where there is more than one."""
    means = np.mean(qualities, axis=0)
    found = {name: round(float(mean), 5) for name, mean in zip(Quality._fields, means, strict=True)}
    if len(qualities) > 1:
        spreads = np.std(qualities, axis=0, ddof=1)
        found |= {f"{name}_sd": round(float(spread), 5) for name, spread in zip(Quality._fields, spreads, strict=True)}
    return found


def from_ranks(ranks: NDArray[np.int64], cutoff: int = 10) -> Quality:
    """`ranks` holds the 0-based place of each user's target; beyond the cutoff (or -1, absent) it counts nothing."""
    hit = (ranks >= 0) & (ranks < cutoff)
    return Quality(float(hit.mean()), float((hit / np.log2(np.where(hit, ranks, 0) + 2)).mean()))


def from_lists(lists: Sequence[Sequence[tuple[str, float]]], targets: Sequence[str], cutoff: int = 10) -> Quality:
    """`lists` are (product, score), best first. A target that ties with others stands behind all of them."""
    ranks = np.full(len(targets), -1, np.int64)
    for user, (shown, target) in enumerate(zip(lists, targets, strict=True)):
        score = next((score for product, score in shown if product == target), None)
        if score is not None:
            ranks[user] = sum(other >= score for _, other in shown) - 1
    return from_ranks(ranks, cutoff)


def from_scores(scores: Scores, targets: NDArray[np.integer], seen: Any) -> Quality:
    """`seen` is a sparse (users, items) matrix of what is left out of every ranking."""
    ranks = np.empty(len(targets), np.int64)
    for begin in range(0, len(targets), _USERS_AT_ONCE):
        end = min(begin + _USERS_AT_ONCE, len(targets))
        block = np.array(scores(begin, end), dtype=np.float64)
        hidden = seen[begin:end].tocoo()
        block[hidden.row, hidden.col] = -np.inf
        target = block[np.arange(end - begin), targets[begin:end]]
        ranks[begin:end] = (block >= target[:, None]).sum(1) - 1
    return from_ranks(ranks)


def recall_and_ndcg(scores: Scores, targets: Any, seen: Any, cutoff: int = 20) -> tuple[float, float]:
    """Means over users with targets, of sparse (users, items) `targets`; an item that ties stands behind the others.

    Recall is the share of a user's targets among the first `cutoff`; NDCG's ideal has all of them at the top.
    """
    discounts = 1.0 / np.log2(np.arange(cutoff) + 2.0)
    ideal = np.cumsum(discounts)
    judged = np.flatnonzero(np.diff(targets.indptr))
    recall = ndcg = 0.0
    for begin in range(0, targets.shape[0], _USERS_AT_ONCE):
        end = min(begin + _USERS_AT_ONCE, targets.shape[0])
        block = np.array(scores(begin, end), dtype=np.float64)
        hidden = seen[begin:end].tocoo()
        block[hidden.row, hidden.col] = -np.inf
        for user in judged[(judged >= begin) & (judged < end)].tolist():
            wanted = targets.indices[targets.indptr[user] : targets.indptr[user + 1]]
            row = block[user - begin]
            places = (row[None, :] >= row[wanted][:, None]).sum(1) - 1
            found = places[np.isfinite(row[wanted]) & (places < cutoff)]
            recall += len(found) / len(wanted)
            ndcg += float(discounts[found].sum() / ideal[min(len(wanted), cutoff) - 1])
    return recall / max(len(judged), 1), ndcg / max(len(judged), 1)


def popularity(train: Any) -> Scores:
    """The number of train interactions of each item, the same for everyone."""
    counts = np.asarray(train.sum(0), dtype=np.float64).ravel()
    return lambda begin, end: np.broadcast_to(counts, (end - begin, len(counts)))


def tf_idf(train: Any, texts: Sequence[str]) -> Scores:
    """Cosine between a user's summed TF-IDF vectors and each item's."""
    terms = tf_idf_rows(texts)
    return lambda begin, end: np.asarray((train[begin:end] @ terms @ terms.T).toarray())


def tf_idf_rows(texts: Sequence[str]) -> Any:
    """Sparse (texts, words): 1 + log tf, smoothed idf, L2-normalised."""
    counted = [Counter(re.findall(r"\w\w+", text.lower())) for text in texts]
    words = {word: column for column, word in enumerate(sorted({word for row in counted for word in row}))}
    rows, columns, values = [], [], []
    for row, counts in enumerate(counted):
        for word, count in counts.items():
            rows.append(row)
            columns.append(words[word])
            values.append(1.0 + np.log(count))
    terms = sparse.csr_matrix((values, (rows, columns)), shape=(len(texts), len(words)))
    document_counts = np.bincount(terms.indices, minlength=len(words))
    terms = terms @ sparse.diags(np.log((1 + len(texts)) / (1 + document_counts)) + 1)
    lengths = np.sqrt(np.asarray(terms.multiply(terms).sum(1)).ravel())
    return (sparse.diags(1 / np.maximum(lengths, 1e-12)) @ terms).tocsr()


def ease(train: Any, regularisation: float = 100.0, asked: Any = None, alike: Any = None) -> Scores:
    """EASE (Steck 2019, "Embarrassingly shallow autoencoders for sparse data"): closed form, zero diagonal.

    `asked` (users, items) is what is known of the users when they ask; without it, what was learned from. `alike`
    (items, items) is added to the co-counts: with a multiple of content cosines this is content-EASE.
    """
    # Single precision for large catalogues: 18,000 items take 1.3 GB instead of 2.6, and half the time.
    precision = np.float64 if train.shape[1] <= 8_000 else np.float32
    gram: NDArray[Any] = (train.T @ train).toarray().astype(precision)
    if alike is not None:
        gram += alike
    gram[np.diag_indices_from(gram)] += regularisation
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    known = train if asked is None else asked
    return lambda begin, end: np.asarray(known[begin:end] @ weights)
