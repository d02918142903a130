"""The data set of protocol P1 as matrices: fit on train, leave out train and valid, find the one test purchase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from freshet.domain.products import Product
from freshet.errors import ConfigurationError
from freshet.ingest import hm


@dataclass(frozen=True)
class HeldOut:
    """`train` and `seen` are sparse (users, items); `targets` has one item a user."""

    users: Sequence[str]
    items: Sequence[str]
    texts: Sequence[str]
    train: Any
    seen: Any
    targets: NDArray[np.int64]

    def seen_ids(self, user: int) -> list[str]:
        return [self.items[item] for item in self.seen.indices[self.seen.indptr[user] : self.seen.indptr[user + 1]]]


def read_held_out(directory: Path) -> HeldOut:
    """Raises ConfigurationError when the data set has no splits."""
    if not hm.has_splits(directory):
        raise ConfigurationError(f"{directory} has no purchases_split.csv.gz; a data set with a test split is needed")
    products = list(hm.read_products(directory, images=False))
    items = {product.product_id: number for number, product in enumerate(products)}
    test = [(p.customer_id, items[p.article_id]) for p in hm.read_purchases(directory, ("test",))]
    users = {user: number for number, user in enumerate(dict(test))}
    if not users or len(users) != len(test):
        raise ConfigurationError(f"{directory}: the test split must hold exactly one purchase for every user in it")
    train, valid = (_matrix(directory, split, users, items) for split in ("train", "valid"))
    return HeldOut(
        list(users),
        list(items),
        [_text(product) for product in products],
        train,
        ((train + valid) > 0).astype(np.float64).tocsr(),
        np.array([item for _, item in test], dtype=np.int64),
    )


def _matrix(directory: Path, split: str, users: dict[str, int], items: dict[str, int]) -> Any:
    pairs = {
        (users[p.customer_id], items[p.article_id])
        for p in hm.read_purchases(directory, (split,))
        if p.customer_id in users
    }
    rows, columns = zip(*sorted(pairs), strict=True) if pairs else ((), ())
    return sparse.csr_matrix((np.ones(len(pairs)), (rows, columns)), shape=(len(users), len(items)))


def _text(product: Product) -> str:
    facts = [value for name, value in product.attributes.items() if name != "product_code"]
    return " ".join([product.title, *product.categories, *facts, product.description])
