"""Which products may be shown at all: available, within the request's filter, not seen, not excluded.

May import `mirror` and `domain`. Pure: masks over rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from freshet.recommend.mirror import Mirror


@dataclass(frozen=True, slots=True)
class ProductFilter:
    """What a request asks for, checked. Empty tuples and None let everything pass; bounds are inclusive."""

    categories: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    min_price: float | None = None
    max_price: float | None = None
    include_seen: bool = False
    excluded_product_ids: frozenset[str] = frozenset()

    @property
    def narrows(self) -> bool:
        """Whether it may leave only a small part of the catalogue."""
        return bool(self.categories or self.brands or self.min_price is not None or self.max_price is not None)


def allowed_rows(mirror: Mirror, wanted: ProductFilter, hidden: BitMap) -> NDArray[np.bool_]:
    """A mask over all rows, shape (mirror.count,). `hidden` holds product numbers that must not be shown."""
    mask = mirror.live[: mirror.count].copy()
    if wanted.categories:
        inside = np.zeros(mirror.count, np.bool_)
        inside[mirror.category_rows(wanted.categories)] = True
        mask &= inside
    if wanted.brands:
        mask &= np.isin(mirror.brands[: mirror.count], mirror.brand_codes(wanted.brands))
    # A comparison with NaN is false: a product without a price passes no bound.
    if wanted.min_price is not None:
        mask &= mirror.prices[: mirror.count] >= wanted.min_price
    if wanted.max_price is not None:
        mask &= mirror.prices[: mirror.count] <= wanted.max_price
    if wanted.excluded_product_ids:
        rows = [row for product_id in wanted.excluded_product_ids if (row := mirror.row_of(product_id)) is not None]
        mask[rows] = False
    if hidden:
        rows_hidden = mirror.rows_of(np.frombuffer(hidden.to_array(), dtype=np.uint32))
        mask[rows_hidden[rows_hidden >= 0]] = False
    return mask
