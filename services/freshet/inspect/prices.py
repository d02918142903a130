"""Prices that words and pictures do not let expect: a point in the wrong place, another currency. May import `scan`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from freshet.domain import products
from freshet.domain.products import Product
from freshet.inspect.scan import blocks
from freshet.ports import CatalogStore
from freshet.representation.pricing import Expected, PriceHead

OUT_OF_LINE = 4.0
"""Spreads from which a price is worth a look."""


@dataclass(frozen=True, slots=True)
class Priced:
    """A product beside what it may be expected to cost."""

    product: Product
    expected: Expected


def out_of_line(expected: Expected, least: float = OUT_OF_LINE) -> bool:
    return abs(expected.spreads) >= least


def price_line(expected: Expected) -> str:
    """In a sentence."""
    told = f"words and picture let expect {expected.price:,.2f}, {expected.low:,.2f} to {expected.high:,.2f}"
    if not out_of_line(expected):
        return f"{told}: in line"
    factor = expected.factor
    return (
        f"{told}: out of line, {factor:,.1f} times as dear"
        if factor > 1
        else (f"{told}: out of line, {1 / factor:,.1f} times as cheap")
    )


def strange(store: CatalogStore, head: PriceHead, least: float) -> Iterator[Priced]:
    """Live products whose price is at least so many spreads off, in order of id."""
    for ids, vectors in blocks(store):
        rows = store.load(ids)
        listed = [products.product(rows[product_id].state) for product_id in ids]
        for product, expected in zip(listed, head.expected(vectors, listed), strict=True):
            if expected is not None and out_of_line(expected, least):
                yield Priced(product, expected)
