"""The suite `search`: how often a search finds the product that its words or its picture were taken from.

Queries are drawn from the catalogue itself: two or three words of a title, or of anything a product's text says, and
the product's picture cut at its edges and compressed again. Every third product is asked for; weights were chosen on
others. Imports `models` and this room.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import sparse

from freshet.domain.products import Product
from freshet.domain.representations import Layout, Matrix
from freshet.domain.searching import PARTS, QueryVectors, SearchWeights, contributions
from freshet.evaluate.suites import Report, Row
from freshet.recommend.lexicon import Lexicon, distinct
from freshet.representation import preprocessing as pre
from freshet.representation.data import TrainingData, read_hm
from freshet.representation.encoders.caption import CaptionEncoder
from freshet.representation.options import TrainingOptions
from freshet.representation.train import Trained, train

BEST = 10
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """One query: `words` or a `picture` or both, taken from the product at index `target`."""

    target: int
    words: str = ""
    picture: bytes = b""


@dataclass(frozen=True)
class Catalogue:
    """A catalogue as the service sees it, with the model that reads queries."""

    products: Sequence[Product]
    pictures: Sequence[bytes | None]
    layout: Layout
    vectors: Matrix
    lexicon: Lexicon
    trained: Trained

    @classmethod
    def of(cls, data: TrainingData, trained: Trained, options: TrainingOptions) -> Catalogue:
        layout = options.sizes.layout("suite")
        lexicon = Lexicon()
        for row, product in enumerate(data.products):
            lexicon.change(row, pre.word_hashes(pre.product_text(product)), len(pre.word_hashes(product.title)))
        return cls(data.products, data.pictures, layout, trained.vectors(), lexicon, trained)

    def query(self, asked: Asked) -> QueryVectors:
        """As the service reads it (freshet.recommend.query)."""
        text = caption = image = None
        with torch.no_grad():
            if asked.words:
                tokens = torch.from_numpy(self.trained.text.reader([asked.words])["tokens"])
                learned = self.trained.text(tokens)[:, : self.trained.text.size]
                text = _unit(learned.numpy()[0])
                caption = CaptionEncoder(self.trained.caption)(learned).numpy()[0]
            if asked.picture:
                image = self.trained.image(torch.from_numpy(pre.image_pixels([asked.picture])["pixels"])).numpy()[0]
        return QueryVectors(text, caption, image)

    def parts(self, asked: Asked) -> Scores:
        """What each part of a score would be if its weight were one, (products, parts)."""
        words = self.lexicon.shares(distinct(asked.words), len(self.products))
        ones = SearchWeights(**dict.fromkeys(PARTS, 1.0))
        return contributions(self.layout, self.query(asked), ones, self.vectors, words, np.zeros(len(self.products)))

    def scores(self, weights: SearchWeights) -> Callable[[Asked], Scores]:
        multipliers = np.array([getattr(weights, name) for name in PARTS])
        return lambda asked: self.parts(asked) @ multipliers


def queries(data: TrainingData, kind: str, seed: int, every: int = 3, first: int = 0) -> list[Asked]:
    """Of every so manieth product one query: "title", "text", "picture" or "both"."""
    dice, found = random.Random(f"{kind}-{seed}"), []
    for target in range(first, len(data.products), every):
        product, picture = data.products[target], data.pictures[target]
        named = pre.words(product.title if kind in ("title", "both") else pre.product_text(product), pre.TEXT_WORDS)
        named = list(dict.fromkeys(word for word in named if len(word) > 2))
        words = " ".join(dice.sample(named, min(dice.choice((2, 3)), len(named)))) if kind != "picture" else ""
        if kind in ("picture", "both") and picture is None:
            continue
        if words or kind == "picture":
            found.append(Asked(target, words, cut(picture) if kind in ("picture", "both") and picture else b""))
    return found


def cut(picture: bytes) -> bytes:
    """The picture without its outer tenth, as a JPEG of its own."""
    with Image.open(io.BytesIO(picture)) as opened:
        width, height = opened.size
        inner = opened.convert("RGB").crop((width // 10, height // 10, width - width // 10, height - height // 10))
    out = io.BytesIO()
    inner.save(out, "JPEG", quality=70)
    return out.getvalue()


def judged(model: str, scores: Callable[[Asked], Scores], asked: Sequence[Asked]) -> Row:
    """Equal scores count against; recall is the share of targets among the first ten, or first."""
    ranks = []
    for query in asked:
        found = scores(query)
        ranks.append(int((found >= found[query.target]).sum()))
    places = np.array(ranks)
    measured = {"recall_at_10": places <= BEST, "recall_at_1": places <= 1, "reciprocal_rank": 1.0 / places}
    return Row(model, {name: round(float(values.mean()), 4) for name, values in measured.items()})


def bm25(products: Sequence[Product]) -> Callable[[Asked], Scores]:
    """Okapi BM25 over whole texts, k₁ = 1.2, b = 0.75 (Robertson & Zaragoza, 2009)."""
    read = [pre.words(pre.product_text(product)) for product in products]
    number = {word: i for i, word in enumerate(sorted({word for text in read for word in text}))}
    lengths = np.array([len(text) for text in read], dtype=np.float64)
    rows = np.repeat(np.arange(len(read)), lengths.astype(np.int64))
    columns = np.array([number[word] for text in read for word in text])
    counts = sparse.csc_matrix((np.ones(len(rows)), (rows, columns)), (len(read), len(number)))
    having = np.diff(counts.indptr)
    inverse = np.log1p((len(read) - having + 0.5) / (having + 0.5))
    saturation = 1.2 * (0.25 + 0.75 * lengths / lengths.mean())

    def scores(asked: Asked) -> Scores:
        found = np.zeros(len(read))
        for word in distinct(asked.words):
            if (column := number.get(word)) is not None:
                begin, end = counts.indptr[column], counts.indptr[column + 1]
                at, often = counts.indices[begin:end], counts.data[begin:end]
                found[at] += inverse[column] * often * 2.2 / (often + saturation[at])
        return found

    return scores


def histograms(pictures: Sequence[bytes | None]) -> Callable[[Asked], Scores]:
    """Colour histograms of 4 × 4 × 4 bins, compared by their intersection (Swain & Ballard, 1991)."""

    def histogram(picture: bytes) -> NDArray[np.float64]:
        pixels = pre.image_pixels([picture])["pixels"][0].reshape(-1, 3) // 64
        bins: Scores = np.bincount(pixels @ np.array([16, 4, 1]), minlength=64) / len(pixels)
        return bins

    known = np.stack([histogram(picture) if picture else np.zeros(64) for picture in pictures])

    def scores(asked: Asked) -> Scores:
        found: Scores = np.minimum(known, histogram(asked.picture)).sum(axis=1)
        return found

    return scores


def run(directory: Path, report: Report) -> list[Row]:
    data, options = read_hm(directory), TrainingOptions()
    trained = train(data, options, lambda stage, share: report(f"training: {stage} {share:.0%}"))
    return measure(Catalogue.of(data, trained, options), data, report)


def measure(catalogue: Catalogue, data: TrainingData, report: Report) -> list[Row]:
    """Every kind of query with the default weights, beside what needs no learning and each part alone."""
    ours, okapi = catalogue.scores(SearchWeights()), bm25(data.products)
    nothing = dict.fromkeys(PARTS, 0.0)
    alone = {name: catalogue.scores(SearchWeights(**{**nothing, name: 1.0})) for name in ("terms", "text", "caption")}
    rows = []
    for kind in ("title", "text"):
        report(f"searching by words of the {kind}")
        asked = queries(data, kind, 1)
        models = {"freshet": ours, "bm25": okapi, **{f"freshet, {name} alone": each for name, each in alone.items()}}
        rows += [judged(f"{kind}: {model}", scores, asked) for model, scores in models.items()]
    report("searching by pictures")
    asked = queries(data, "picture", 1)
    rows += [judged("picture: freshet", ours, asked), judged("picture: colours", histograms(data.pictures), asked)]
    rows.append(judged("title and picture: freshet", ours, queries(data, "both", 1)))
    return rows


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return found
