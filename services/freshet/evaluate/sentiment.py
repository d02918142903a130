"""The suite `sentiment`: praise told from complaint in published reviews, at home and in another shop.

Imports `models` and this room's metrics. Reviews of 4 and 5 stars are praise, of 1 and 2 complaint, of 3 left out.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from freshet.domain.products import Version
from freshet.domain.reviews import Review
from freshet.errors import ConfigurationError
from freshet.representation import sentiment

SEEDS = (0, 1, 2)
CLOTHING = "womens_clothing_reviews.csv.zip"
BEAUTY = "All_Beauty_5.json.gz"
ABROAD = 4_000
PEER_CHOICES = ((10.0, 0.0), (10.0, 1.0))
"""(C, whether both kinds weigh alike) among which the peer takes what is best on validation."""
PROTOCOL = (
    "4-5 stars praise, 1-2 complain, 3 left out; a text counts once; 70/10/20 by product (clothing) or text (beauty), "
    "three seeds; across: fitted on one shop, judged on up to 4,000 texts of the other; the peer tuned on validation"
)


@dataclass(frozen=True)
class Texts:
    """Reviews that are told apart: texts (n,), whether each praises, and which product it is of."""

    texts: Sequence[str]
    praise: NDArray[np.bool_]
    products: Sequence[str]

    def part(self, rows: NDArray[np.intp]) -> Texts:
        return Texts([self.texts[i] for i in rows], self.praise[rows], [self.products[i] for i in rows])


def read_clothing(directory: Path) -> Texts:
    with zipfile.ZipFile(_there(directory / CLOTHING)) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".csv"))
        with archive.open(name) as file:
            rows = list(csv.DictReader(io.TextIOWrapper(file, "utf-8")))
    return _told([(row["Review Text"], float(row["Rating"]), row["Clothing ID"]) for row in rows])


def read_beauty(directory: Path) -> Texts:
    with gzip.open(_there(directory / BEAUTY), "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return _told([(row.get("reviewText", ""), float(row["overall"]), row["asin"]) for row in rows])


def split(data: Texts, seed: int, by_product: bool) -> tuple[Texts, Texts, Texts]:
    """Train, validation and test: 70, 10 and 20 of 100; with `by_product` no product is in two of them."""
    units = np.array(data.products) if by_product else np.arange(len(data.texts))
    names, unit = np.unique(units, return_inverse=True)
    place = np.random.default_rng(seed).permutation(len(names))[unit] / len(names)
    bounds = ((0.0, 0.7), (0.7, 0.8), (0.8, 1.0))
    train, valid, test = (data.part(np.flatnonzero((place >= low) & (place < high))) for low, high in bounds)
    return train, valid, test


Scorer = Callable[[Sequence[str]], NDArray[np.float64]]
"""From texts to log odds of praise."""


def peer(train: Texts, valid: Texts) -> Scorer:
    """TF-IDF of words and pairs, L2-normalised, with logistic regression; what is best on validation by macro-F1."""
    vectors = _tf_idf(train.texts)
    known, judged = vectors(train.texts), vectors(valid.texts)
    share = float(train.praise.mean())
    best: tuple[float, NDArray[np.float64]] | None = None
    for spread, balance in PEER_CHOICES:
        weights = np.where(train.praise, (0.5 / share) ** balance, (0.5 / (1.0 - share)) ** balance)
        strength = np.r_[np.full(known.shape[1] - 1, 1.0 / spread), 0.0]
        found = sentiment.logistic_regression(known, train.praise, weights, np.zeros(known.shape[1]), strength)
        reached = quality(judged @ found, valid.praise)["macro_f1"]
        if best is None or reached > best[0]:
            best = reached, found
    assert best is not None
    chosen = best[1]
    return lambda texts: np.asarray(vectors(texts) @ chosen)


def freshet(train: Texts, _valid: Texts) -> Scorer:
    """What `freshet train` fits, as it fits it."""
    return sentiment.fit(train.texts, train.praise).scores


def lexicon(_train: Texts, _valid: Texts) -> Scorer:
    """What a shop without reviews has."""
    return sentiment.untaught().scores


def majority(train: Texts, _valid: Texts) -> Scorer:
    most = 1.0 if train.praise.mean() >= 0.5 else -1.0
    return lambda texts: np.full(len(texts), most)


MODELS: dict[str, Callable[[Texts, Texts], Scorer]] = {
    "majority": majority,
    "tf_idf_logistic_regression": peer,
    "freshet, lexicon alone": lexicon,
    "freshet": freshet,
}


def quality(scores: NDArray[np.float64], praise: NDArray[np.bool_]) -> dict[str, float]:
    """Accuracy, and the mean of both kinds' F1."""
    said = scores > 0.0
    f1 = []
    for kind in (True, False):
        right = int(((said == kind) & (praise == kind)).sum())
        f1.append(2.0 * right / max(int((said == kind).sum()) + int((praise == kind).sum()), 1))
    return {"accuracy": float((said == praise).mean()), "macro_f1": sum(f1) / 2.0}


def run(directory: Path, report: Callable[[str], None]) -> list[tuple[str, dict[str, float]]]:
    """(model and shops, metrics): means over the seeds, and their standard deviations."""
    shops = {"clothing": read_clothing(directory), "beauty": read_beauty(directory)}
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for home, data in shops.items():
        abroad = next(name for name in shops if name != home)
        for seed in SEEDS:
            train, valid, test = split(data, seed, by_product=home == "clothing")
            for model, learn in MODELS.items():
                report(f"{home}, seed {seed}: {model}")
                scorer = learn(train, valid)
                for where, judged in ((home, test), (f"{home} to {abroad}", _sample(shops[abroad], seed))):
                    reached = quality(scorer(judged.texts), judged.praise)
                    found.setdefault((where, model), []).append(reached)
    return [(f"{model}: {where}", _spread(runs)) for (where, model), runs in sorted(found.items(), key=_place)]


def _sample(data: Texts, seed: int) -> Texts:
    return data.part(np.sort(np.random.default_rng(seed).permutation(len(data.texts))[:ABROAD]))


def _place(entry: tuple[tuple[str, str], Any]) -> tuple[str, int]:
    (where, model), _ = entry
    return where, list(MODELS).index(model)


def _spread(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name in runs[0]:
        values = [run[name] for run in runs]
        metrics[name] = round(float(np.mean(values)), 5)
        metrics[f"{name}_deviation"] = round(float(np.std(values)), 5)
    return metrics


def _told(rows: Sequence[tuple[str, float, str]]) -> Texts:
    reviews = [
        Review(str(i), product, rating, text.strip(), Version(0, i)) for i, (text, rating, product) in enumerate(rows)
    ]
    product_of = {review.text: review.product_id for review in reviews}
    texts, praise = sentiment.rated(reviews)
    return Texts(texts, praise, [product_of[text] for text in texts])


def _there(path: Path) -> Path:
    if not path.is_file():
        raise ConfigurationError(f"{path} is not there")
    return path


def _tf_idf(train: Sequence[str]) -> Callable[[Sequence[str]], Any]:
    """Vectors (n, words and pairs of `train`, and a column of ones): 1 + log tf, smoothed idf, L2-normalised."""

    def counted(text: str) -> Counter[str]:
        words = re.findall(r"\w\w+", text.lower())
        return Counter([*words, *(f"{first} {second}" for first, second in pairwise(words))])

    frequency = Counter(term for text in train for term in counted(text))
    columns = {term: column for column, term in enumerate(sorted(frequency))}
    inverse = np.log((1.0 + len(train)) / (1.0 + np.array([frequency[term] for term in columns]))) + 1.0

    def vectors(texts: Sequence[str]) -> Any:
        rows, places, values = list[int](), list[int](), list[float]()
        for row, text in enumerate(texts):
            for term, count in counted(text).items():
                if term in columns:
                    rows.append(row)
                    places.append(columns[term])
                    values.append((1.0 + np.log(count)) * inverse[columns[term]])
        terms = sparse.csr_matrix((values, (rows, places)), (len(texts), len(columns)))
        lengths = np.sqrt(np.asarray(terms.multiply(terms).sum(axis=1)).ravel())
        return sparse.hstack([sparse.diags(1.0 / np.maximum(lengths, 1e-12)) @ terms, np.ones((len(texts), 1))]).tocsr()

    return vectors
