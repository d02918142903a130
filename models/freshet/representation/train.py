"""Trains the first model: word vectors, a small CNN, price and reviews encoders, and their deep fusion.

Deterministic for the same data, seed, budget of steps and number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from freshet.domain.reviews import ReviewSummary, StoredReview, summarise
from freshet.errors import ConfigurationError, ImageRejected
from freshet.representation import preprocessing as pre
from freshet.representation.data import TrainingData
from freshet.representation.encoders.image import image_encoder
from freshet.representation.encoders.price import PriceEncoder
from freshet.representation.encoders.reviews import ReviewsEncoder
from freshet.representation.encoders.sentiment import SentimentModel
from freshet.representation.encoders.text import TextEncoder
from freshet.representation.fusion import FUSIONS, WholeVector
from freshet.representation.losses import LOSSES, Step
from freshet.representation.options import BATCH, MODALITY_DROPOUT, TrainingOptions
from freshet.representation.sentiment import fit, rated
from freshet.representation.tensors import unit
from freshet.representation.words import text_table

T = TypeVar("T")
SAME_WORDS = 0.99
"""Cosine of two texts from which on they say the same."""


@dataclass(frozen=True)
class Inputs:
    """Everything the encoders take, for all products, and which modality each product has (products, 4)."""

    tokens: Tensor
    pixels: Tensor
    price: Tensor
    ratings: Tensor
    review_text: Tensor
    present: Tensor


@dataclass(frozen=True)
class Trained:
    text: TextEncoder
    image: nn.Module
    price: PriceEncoder
    reviews: ReviewsEncoder
    fusion: WholeVector
    sentiment: SentimentModel
    caption: nn.Linear
    """From a text's learned part, unit length, to where its picture should lie."""
    typical_prices: Mapping[str, float]
    losses: Sequence[float]
    """Mean loss per epoch."""
    inputs: Inputs

    def vectors(self) -> NDArray[np.float32]:
        """The whole vectors of all products trained on, (products, dimension)."""
        chunks = []
        with torch.no_grad():
            for start in range(0, len(self.inputs.tokens), 256):
                rows = slice(start, start + 256)
                parts = (
                    self.text(self.inputs.tokens[rows]),
                    self.image(self.inputs.pixels[rows]),
                    self.price(self.inputs.price[rows]),
                    self.reviews(self.inputs.ratings[rows], self.inputs.review_text[rows]),
                )
                chunks.append(self.fusion(*parts, self.inputs.present[rows]))
        vectors: NDArray[np.float32] = torch.cat(chunks).numpy()
        return vectors


def typical_prices(data: TrainingData) -> dict[str, float]:
    """Median log price per category, and under "" that of all."""
    by_category: dict[str, list[float]] = {"": []}
    for product in data.products:
        if product.price is not None:
            for name in ("", *product.categories):
                by_category.setdefault(name, []).append(float(pre.log_price(np.array(product.price))))
    return {name: round(float(np.median(logs)), 6) for name, logs in sorted(by_category.items()) if logs}


def prepare(data: TrainingData, text: TextEncoder, tokens: NDArray[np.int32], typical: Mapping[str, float]) -> Inputs:
    """The preprocessed catalogue. A picture that cannot be read counts as absent."""
    count = len(data.products)
    present = np.ones((count, 4), dtype=np.float32)
    present[:, 0] = tokens.any(axis=1)
    pixels = np.full((count, pre.PIXELS, pre.PIXELS, 3), 255, dtype=np.uint8)
    for i, content in enumerate(data.pictures):
        try:
            if content is None:
                raise ImageRejected("image", "is absent")
            pixels[i] = pre.image_pixels([content])["pixels"][0]
        except ImageRejected:
            present[i, 1] = 0.0
    present[:, 2] = [product.price is not None for product in data.products]
    price = pre.price_features(
        [product.price or 0.0 for product in data.products], [product.categories for product in data.products], typical
    )["price"]
    summaries = _summaries(data, text)
    present[:, 3] = [summary.count > 0 for summary in summaries]
    reviews = pre.review_features(summaries, text.size)
    return Inputs(
        torch.from_numpy(tokens),
        torch.from_numpy(pixels),
        torch.from_numpy(price),
        torch.from_numpy(reviews["ratings"]),
        torch.from_numpy(reviews["text"]),
        torch.from_numpy(present),
    )


def _summaries(data: TrainingData, text: TextEncoder) -> list[ReviewSummary]:
    by_product: dict[str, list[StoredReview]] = {product.product_id: [] for product in data.products}
    for start in range(0, len(data.reviews), 1_024):
        chunk = data.reviews[start : start + 1_024]
        encoded = text(torch.from_numpy(pre.text_tokens([review.text for review in chunk])["tokens"])).numpy()
        vectors = pre.review_vectors(encoded, text.size)
        for each, vector in zip(chunk, vectors, strict=True):
            said = vector if each.text.strip() else None
            stored = StoredReview(each.review_id, each.product_id, each.rating, said, each.version, each.text)
            by_product[each.product_id].append(stored)
    return [summarise(by_product[product.product_id], "") for product in data.products]


def pairs_of(data: TrainingData, generator: np.random.Generator, most: int) -> NDArray[np.int64]:
    """(pairs, 2) of products that one shopper touched; without interactions, each product with itself."""
    order = np.argsort(data.users, kind="stable")
    users, items = data.users[order], data.items[order].astype(np.int64)
    if len(items) < 2:
        everyone = np.arange(len(data.products), dtype=np.int64)
        return np.stack([everyone, everyone], axis=1)
    starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
    lengths = np.diff(np.r_[starts, len(users)])
    # Each interaction is paired with another of the same shopper, chosen at random.
    first = np.repeat(starts, lengths)
    length = np.repeat(lengths, lengths)
    shift = 1 + (generator.random(len(items)) * np.maximum(length - 1, 1)).astype(np.int64)
    other = first + (np.arange(len(items)) - first + shift) % length
    pairs = np.stack([items, items[other]], axis=1)[length > 1]
    if not len(pairs):
        return np.stack([items, items], axis=1)[:most]
    return pairs[generator.permutation(len(pairs))[:most]]


def train(
    data: TrainingData, options: TrainingOptions, advanced: Callable[[str, float], None] = lambda _stage, _share: None
) -> Trained:
    """Train on everything in `data`. `advanced` hears of the stage and of the share done, 0 to 1."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    generator = np.random.default_rng(options.seed)
    sizes = options.sizes
    started = time.monotonic()
    advanced("text", 0.0)
    tokens = pre.text_tokens([pre.product_text(product) for product in data.products])["tokens"]
    table = text_table(tokens, sizes.text, sizes.terms, options.seed, data.users, data.items)
    text = TextEncoder(table, sizes.text).eval()
    typical = typical_prices(data)
    advanced("pictures", 0.0)
    inputs = prepare(data, text, tokens, typical)
    modules = _Learned(options)
    optimiser = torch.optim.AdamW(modules.parameters(), lr=2e-3, weight_decay=0.02)
    with torch.no_grad():
        encoded = [text(inputs.tokens[i : i + 1_024])[:, : sizes.text] for i in range(0, len(tokens), 1_024)]
        texts = unit(torch.cat(encoded))
    losses: list[float] = []
    for epoch in range(options.epochs):
        pairs = torch.from_numpy(pairs_of(data, generator, 16 * BATCH))

        def within(share: float, epoch: int = epoch) -> None:
            advanced("fusion", (epoch + share) / options.epochs)

        losses.append(_epoch(modules, options.losses, inputs, texts, pairs, optimiser, within))
        if time.monotonic() - started > options.seconds:
            break
    modules.eval()
    for parameter in modules.parameters():
        parameter.requires_grad_(False)
    whole = WholeVector(modules.fusion, sizes.text).eval()
    return Trained(
        text,
        modules.image,
        modules.price,
        modules.reviews,
        whole,
        SentimentModel(fit(*rated(data.reviews))).eval(),
        modules.caption,
        typical,
        losses,
        inputs,
    )


class _Learned(nn.Module):
    """The networks that steps change."""

    def __init__(self, options: TrainingOptions) -> None:
        super().__init__()
        sizes = options.sizes
        self.image = image_encoder(options.image, sizes.image)
        self.price = PriceEncoder(sizes.price)
        self.reviews = ReviewsEncoder(sizes.reviews, sizes.text)
        self.fusion = _named(FUSIONS, "fusion", options.fusion)(sizes)
        self.caption = nn.Linear(sizes.text, sizes.image, bias=False)

    def step(self, inputs: Inputs, texts: Tensor, batch: Tensor) -> Step:
        """`batch` int64 (B, 2) are pairs of products; `texts` float32 (products, text) of unit length."""
        rows = batch.T.reshape(-1)
        pictures, present = self.image(inputs.pixels[rows]), inputs.present[rows]
        # Any subset of modalities must give a usable vector; at least one stays.
        kept = (torch.rand_like(present) > MODALITY_DROPOUT).float() * present
        kept = torch.where(kept.any(dim=1, keepdim=True), kept, present)
        joint = self.fusion(
            texts[rows],
            pictures,
            self.price(inputs.price[rows]),
            self.reviews(inputs.ratings[rows], inputs.review_text[rows]),
            kept,
        )
        first, second = batch.T
        off_diagonal = ~torch.eye(len(batch), dtype=torch.bool)
        same = ((first[:, None] == first[None]) | (second[:, None] == second[None])) & off_diagonal
        same |= (_alike(texts[first]) | _alike(texts[second])) & off_diagonal
        return Step(joint, pictures, unit(self.caption(texts[rows])), present[:, 1].bool(), same)


def _alike(texts: Tensor) -> Tensor:
    """bool (B, B): of two products with the same words neither is a negative for the other."""
    return texts @ texts.T > SAME_WORDS


def _named(known: Mapping[str, T], what: str, name: str) -> T:
    if name not in known:
        raise ConfigurationError(f"{what} is {name!r}; one of {', '.join(sorted(known))} is needed")
    return known[name]


def _epoch(
    modules: _Learned,
    weights: Mapping[str, float],
    inputs: Inputs,
    texts: Tensor,
    pairs: Tensor,
    optimiser: torch.optim.Optimizer,
    advanced: Callable[[float], None],
) -> float:
    modules.train()
    losses = [(weight, _named(LOSSES, "a loss", name)) for name, weight in weights.items()]
    total, batches = 0.0, [batch for batch in torch.split(pairs, BATCH) if len(batch) > 1]
    for done, batch in enumerate(batches):
        step = modules.step(inputs, texts, batch)
        loss = torch.stack([weight * judged(step) for weight, judged in losses]).sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
        optimiser.step()
        total += loss.item()
        advanced((done + 1) / len(batches))
    return total / max(len(batches), 1)
