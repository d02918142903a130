"""The preprocessed catalogue: everything that the encoders take, for all products. Imports preprocessing and data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from freshet.domain.reviews import ReviewSummary, StoredReview, shrunk_rating, summarise
from freshet.errors import ImageRejected
from freshet.representation import preprocessing as pre
from freshet.representation.data import TrainingData
from freshet.representation.encoders.text import TextEncoder


@dataclass(frozen=True)
class Inputs:
    """Everything the encoders take, for all products, and which modality each product has (products, 4)."""

    tokens: Tensor
    texts: Tensor
    """What the text encoder, which no step changes, gives of them: float32 (products, size + terms)."""
    pixels: Tensor
    price: Tensor
    ratings: Tensor
    review_text: Tensor
    present: Tensor
    stars: Tensor
    """float32 (products,): the shrunk mean rating from 1 to 5; NaN where nobody rated."""
    dearness: Tensor
    """float32 (products,): log price less that of the category; NaN without a price."""

    def to(self, device: torch.device) -> Inputs:
        """The same on another device."""
        return Inputs(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def typical_prices(data: TrainingData) -> dict[str, float]:
    """Median log price per category, and under "" that of all."""
    by_category: dict[str, list[float]] = {"": []}
    for product in data.products:
        if product.price is not None:
            for name in ("", *product.categories):
                by_category.setdefault(name, []).append(float(pre.log_price(np.array(product.price))))
    return {name: round(float(np.median(logs)), 6) for name, logs in sorted(by_category.items()) if logs}


def prepare(
    data: TrainingData,
    tokens: NDArray[np.int32],
    texts: Tensor,
    reviews: NDArray[np.float32],
    typical: Mapping[str, float],
) -> Inputs:
    """The preprocessed catalogue. A picture that cannot be read counts as absent.

    `tokens` and `texts` are of the products, `reviews` what `preprocessing.review_vectors` gives of the reviews.
    """
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
    summaries = _summaries(data, reviews)
    present[:, 3] = [summary.count > 0 for summary in summaries]
    said = pre.review_features(summaries, reviews.shape[1] - 1)
    stars = [rating if (rating := shrunk_rating(summary)) is not None else np.nan for summary in summaries]
    logs = pre.log_price(np.array([product.price or 0.0 for product in data.products], dtype=np.float64))
    dearness = logs - pre.typical_log_prices([product.categories for product in data.products], typical)
    dearness[present[:, 2] == 0.0] = np.nan
    return Inputs(
        torch.from_numpy(tokens),
        texts,
        torch.from_numpy(pixels),
        torch.from_numpy(price),
        torch.from_numpy(said["ratings"]),
        torch.from_numpy(said["text"]),
        torch.from_numpy(present),
        torch.tensor(stars, dtype=torch.float32),
        torch.from_numpy(dearness.astype(np.float32)),
    )


def encoded_reviews(data: TrainingData, text: TextEncoder) -> NDArray[np.float32]:
    """What the text encoder gives of the reviews' texts, (reviews, size + terms)."""
    chunks = [
        text.encode(text.reader([review.text for review in data.reviews[start : start + 1_024]])["tokens"]).numpy()
        for start in range(0, len(data.reviews), 1_024)
    ]
    return np.concatenate(chunks) if chunks else np.zeros((0, text.size), np.float32)


def _summaries(data: TrainingData, vectors: NDArray[np.float32]) -> list[ReviewSummary]:
    by_product: dict[str, list[StoredReview]] = {product.product_id: [] for product in data.products}
    for each, vector in zip(data.reviews, vectors, strict=True):
        said = vector if each.text.strip() else None
        stored = StoredReview(each.review_id, each.product_id, each.rating, said, each.version, each.text)
        by_product[each.product_id].append(stored)
    return [summarise(by_product[product.product_id], "") for product in data.products]
