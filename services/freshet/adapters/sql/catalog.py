"""The catalogue worker's state in SQL (port CatalogStore). Imports this package, domain and ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy import bindparam, select, tuple_

from freshet.adapters.sql import documents
from freshet.adapters.sql.engine import Database
from freshet.adapters.sql.progress import SqlStore, advance, write_published
from freshet.adapters.sql.tables import ENCODINGS, PRODUCTS, REVIEWS
from freshet.domain.progress import Advance, Published
from freshet.domain.representations import Matrix, unpack
from freshet.domain.reviews import WINDOW_US, StoredReview, Window
from freshet.ports import CatalogRow, Encoding

_PAGE = (
    select(PRODUCTS.c.product_id)
    .where(PRODUCTS.c.product_id > bindparam("after"))
    .order_by(PRODUCTS.c.product_id)
    .limit(bindparam("most"))
)

_VECTORS = (
    select(ENCODINGS.c.product_id, ENCODINGS.c.vector)
    .join(PRODUCTS, PRODUCTS.c.product_id == ENCODINGS.c.product_id)
    .where(
        ENCODINGS.c.model_version == bindparam("version"), ENCODINGS.c.product_id > bindparam("after"), PRODUCTS.c.live
    )
    .order_by(ENCODINGS.c.product_id)
    .limit(bindparam("most"))
)


_WINDOW = (
    select(*REVIEWS.c)
    .where(REVIEWS.c.product_id == bindparam("product_id"))
    .where(REVIEWS.c.event_time_us >= bindparam("begin"))
    .where(REVIEWS.c.event_time_us < bindparam("end"))
    .order_by(REVIEWS.c.review_id)
    .limit(bindparam("most"))
)
_REVIEWS_OF = (
    select(*REVIEWS.c)
    .where(REVIEWS.c.product_id == bindparam("of"))
    .where(tuple_(REVIEWS.c.event_time_us, REVIEWS.c.review_id) > tuple_(bindparam("time"), bindparam("id")))
    .order_by(REVIEWS.c.event_time_us, REVIEWS.c.review_id)
    .limit(bindparam("most"))
)


class SqlCatalogStore(SqlStore):
    """Products, their encodings by `model_version`, and reviews."""

    def __init__(self, database: Database, model_version: str) -> None:
        super().__init__(database)
        self._model_version = model_version

    def load(self, product_ids: Sequence[str]) -> dict[str, CatalogRow]:
        with self._database.reading() as connection:
            encoded = self._database.select(connection, [*ENCODINGS.c], ENCODINGS.c.product_id, product_ids)
            rows = self._database.select(connection, [*PRODUCTS.c], PRODUCTS.c.product_id, product_ids)
        encodings = {row[0]: documents.encoding(row) for row in encoded if row[1] == self._model_version}
        return {row[0]: documents.catalog_row(row, encodings.get(row[0])) for row in rows}

    def load_reviews(self, review_ids: Sequence[str]) -> dict[str, StoredReview]:
        with self._database.reading() as connection:
            rows = self._database.select(connection, [*REVIEWS.c], REVIEWS.c.review_id, review_ids)
        return {row[0]: documents.stored_review(row) for row in rows}

    def load_windows(self, windows: Sequence[Window], most: int) -> dict[Window, list[StoredReview]]:
        found = {}
        with self._database.reading() as connection:
            for window in windows:
                begin = window.day * WINDOW_US
                bound = {"product_id": window.product_id, "begin": begin, "end": begin + WINDOW_US, "most": most}
                found[window] = [documents.stored_review(row) for row in connection.execute(_WINDOW, bound)]
        return found

    def reviews_of(self, product_id: str, after: tuple[int, str], limit: int) -> list[StoredReview]:
        bound = {"of": product_id, "time": after[0], "id": after[1], "most": limit}
        with self._database.reading() as connection:
            return [documents.stored_review(row) for row in connection.execute(_REVIEWS_OF, bound)]

    def rewrite_reviews(self, reviews: Sequence[StoredReview]) -> None:
        with self._database.writing() as connection:
            self._database.upsert(connection, REVIEWS, [documents.review_row(review) for review in reviews])

    def apply(
        self,
        worker: str,
        rows: Sequence[CatalogRow],
        reviews: Sequence[StoredReview],
        advances: Sequence[Advance],
    ) -> None:
        """A row without an encoding leaves those that are stored; one with an encoding replaces its version's."""
        products = {row.product_id: documents.product_row(row) for row in rows}
        encodings = {
            (row.product_id, row.encoding.model_version): row.encoding for row in rows if row.encoding is not None
        }
        encoded = documents.encoding_rows([(product_id, each) for (product_id, _), each in encodings.items()])
        kept_reviews = {review.review_id: documents.review_row(review) for review in reviews}
        with self._database.writing() as connection:
            advance(connection, worker, advances)
            self._database.upsert(connection, PRODUCTS, list(products.values()))
            self._database.upsert(connection, ENCODINGS, encoded)
            self._database.upsert(connection, REVIEWS, list(kept_reviews.values()))

    def note_published(self, published: Mapping[tuple[str, int], Published]) -> None:
        write_published(self._database, published)

    def product_ids(self, after: str, limit: int) -> list[str]:
        with self._database.reading() as connection:
            return list(connection.scalars(_PAGE, {"after": after, "most": limit}))

    def vectors(self, after: str, limit: int) -> tuple[list[str], Matrix]:
        wanted = {"after": after, "most": limit, "version": self._model_version}
        with self._database.reading() as connection:
            rows = connection.execute(_VECTORS, wanted).fetchall()
        found = [unpack(row[1]) for row in rows]
        return [row[0] for row in rows], np.stack(found) if found else np.empty((0, 0), np.float32)

    def encodings(self, product_id: str) -> list[Encoding]:
        with self._database.reading() as connection:
            rows = self._database.select(connection, [*ENCODINGS.c], ENCODINGS.c.product_id, [product_id])
        return sorted(map(documents.encoding, rows), key=lambda encoding: encoding.model_version)
