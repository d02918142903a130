"""What a product may be expected to cost, told from its words and its picture; and so, which price is out of line.

A ridge regression of the log price within its category on segments of the vector, in closed form. NumPy; no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from freshet.domain.products import Product
from freshet.domain.representations import Layout, Matrix, Modality
from freshet.representation import preprocessing as pre

FILE = "pricing.npz"
TOLD_FROM = (Modality.TEXT, Modality.TERMS, Modality.IMAGE)
LEAST_PRICED = 50
"""Products with a price below which nothing is said."""
LEAST_OF_CATEGORY = 8
FOLDS = 5
RIDGES = (0.1, 1.0, 10.0, 100.0, 1_000.0)
LEAST_SPREAD = 0.05
"""However well prices follow from the rest, what is off by less than a few times 5 % is nobody's error."""
_OUTLIER = 4.0
"""Spreads beyond which a price is not learned from: it may be the very error that is to be found."""


@dataclass(frozen=True)
class Expected:
    """`price` in the product's own currency; `spreads` is how far the asked price is above (or below) it."""

    price: float
    low: float
    high: float
    """Between these lie nineteen of twenty prices, were the errors those of a normal distribution."""
    spreads: float

    @property
    def factor(self) -> float:
        """The asked price as a multiple of the expected one."""
        return math.exp(self.spreads * math.log(self.high / self.low) / (2 * 1.96))


@dataclass(frozen=True)
class PriceHead:
    """One model's, for its `layout`. `typical` is the median log price by category, under "" that of all.

    `weights` float64 (dimension of TOLD_FROM,); `spread` is the robust deviation of log prices held out in turn.
    `error` and `error_of_category` are medians of how far off prices are that were held out, as a share (.25: a quarter
    dearer or cheaper), told by this head and by the category's median alone.
    """

    layout: Layout
    typical: Mapping[str, float]
    weights: NDArray[np.float64]
    bias: float
    spread: float
    error: float
    error_of_category: float

    def expected(self, vectors: Matrix, products: Sequence[Product]) -> list[Expected | None]:
        """One a product, from its whole vector (products, dimension); None where it has no price."""
        usual = pre.typical_log_prices([product.categories for product in products], self.typical)
        logs = usual + _features(self.layout, vectors) @ self.weights + self.bias
        reach = math.exp(1.96 * self.spread)
        found: list[Expected | None] = []
        for product, log in zip(products, logs.tolist(), strict=True):
            if product.price is None:
                found.append(None)
                continue
            price = math.exp(log)
            asked = float(pre.log_price(np.array([product.price]))[0])
            found.append(Expected(price, price / reach, price * reach, (asked - log) / self.spread))
        return found

    def save(self, folder: Path) -> None:
        """Write `folder`/pricing.npz."""
        told = np.array([self.bias, self.spread, self.error, self.error_of_category])
        np.savez(
            folder / FILE, weights=self.weights, told=told, names=list(self.typical), logs=[*self.typical.values()]
        )


def load(folder: Path, layout: Layout) -> PriceHead:
    """What `save` wrote for the model of this layout."""
    with np.load(folder / FILE) as arrays:
        typical = dict(zip(arrays["names"].tolist(), arrays["logs"].tolist(), strict=True))
        return PriceHead(layout, typical, arrays["weights"], *arrays["told"].tolist())


def fit(layout: Layout, vectors: Matrix, products: Sequence[Product], seed: int = 0) -> PriceHead | None:
    """`vectors` (products, dimension) are whole ones. None where fewer than LEAST_PRICED products have a price."""
    priced = np.array([i for i, product in enumerate(products) if product.price is not None], dtype=np.int64)
    if len(priced) < LEAST_PRICED:
        return None
    features = _features(layout, vectors[priced])
    asked = pre.log_price(np.array([products[i].price for i in priced], dtype=np.float64))
    categories = [products[i].categories for i in priced]
    typical = _typical(asked, categories)
    target = asked - pre.typical_log_prices(categories, typical)
    sound = np.abs(target - np.median(target)) <= _OUTLIER * max(_spread(target), LEAST_SPREAD)
    folds = np.random.default_rng(seed).permutation(len(priced)) % FOLDS
    ridge, left = min(
        ((ridge, _left(features, target, sound, folds, ridge)) for ridge in RIDGES),
        key=lambda tried: float(np.median(np.abs(tried[1]))),
    )
    # What was held out and missed by far is not learned from either.
    sound &= np.abs(left) <= _OUTLIER * max(_spread(left), LEAST_SPREAD)
    left = _left(features, target, sound, folds, ridge)
    weights, bias = _solved(features[sound], target[sound], ridge)
    return PriceHead(layout, typical, weights, bias, max(_spread(left), LEAST_SPREAD), _off(left), _off(target))


def _typical(logs: NDArray[np.float64], categories: Sequence[Sequence[str]]) -> dict[str, float]:
    """Median log price of all, and of each category that is large enough for one wrong price not to be its median."""
    members: dict[str, list[float]] = {}
    for log, names in zip(logs.tolist(), categories, strict=True):
        for name in set(names):
            members.setdefault(name, []).append(log)
    large = {name: listed for name, listed in sorted(members.items()) if len(listed) >= LEAST_OF_CATEGORY}
    return {"": float(np.median(logs)), **{name: float(np.median(listed)) for name, listed in large.items()}}


def _features(layout: Layout, vectors: Matrix) -> NDArray[np.float64]:
    columns = [vectors[:, layout.slices[name]] for name in TOLD_FROM if name in layout.slices]
    return np.concatenate(columns, axis=1, dtype=np.float64)


def _left(
    features: NDArray[np.float64],
    target: NDArray[np.float64],
    sound: NDArray[np.bool_],
    folds: NDArray[np.int64],
    ridge: float,
) -> NDArray[np.float64]:
    """What is left of each target when it is told by the products of the other folds."""
    left = np.empty_like(target)
    for fold in range(FOLDS):
        held = folds == fold
        weights, bias = _solved(features[~held & sound], target[~held & sound], ridge)
        left[held] = target[held] - features[held] @ weights - bias
    return left


def _solved(
    features: NDArray[np.float64], target: NDArray[np.float64], ridge: float
) -> tuple[NDArray[np.float64], float]:
    middle, mean = features.mean(axis=0), float(target.mean())
    centred = features - middle
    gram = centred.T @ centred
    gram[np.diag_indices_from(gram)] += ridge
    weights: NDArray[np.float64] = np.linalg.solve(gram, centred.T @ (target - mean))
    return weights, mean - float(middle @ weights)


def _spread(values: NDArray[np.float64]) -> float:
    """The standard deviation of the middle of these values, were they normal: outliers do not count."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _off(values: NDArray[np.float64]) -> float:
    return math.expm1(float(np.median(np.abs(values))))
