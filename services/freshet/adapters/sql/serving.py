"""What an answer reads from SQL (port ServingStore): few rows, by key. Imports this package, domain and ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, select

from freshet.adapters.sql.engine import Database
from freshet.adapters.sql.progress import read_progress, read_published
from freshet.adapters.sql.tables import BEHAVIOUR, PRODUCT_NUMBERS, PROFILES
from freshet.domain.covisits import summed_trends
from freshet.domain.progress import Progress, Published

_TRENDING = (
    select(BEHAVIOUR.c.number, BEHAVIOUR.c.trend)
    .order_by(BEHAVIOUR.c.trend.desc(), BEHAVIOUR.c.number)
    .limit(bindparam("most"))
)
_CHOSEN = (
    select(BEHAVIOUR.c.number)
    .distinct()
    .where(BEHAVIOUR.c.number > bindparam("after"))
    .order_by(BEHAVIOUR.c.number)
    .limit(bindparam("most"))
)


class SqlServingStore:
    """Reads only, each seeing the newest commit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.embedded = database.embedded

    def change_counter(self) -> int:
        return self._database.change_counter()

    def progress(self, worker: str) -> Mapping[tuple[str, int], Progress]:
        return read_progress(self._database, worker)

    def published(self) -> Mapping[tuple[str, int], Published]:
        with self._database.reading() as connection:
            return read_published(connection)

    def profile(self, user_id: str) -> bytes | None:
        columns = PROFILES.c
        with self._database.reading() as connection:
            rows = self._database.select(connection, [columns.data], columns.user_id, [user_id])
        return rows[0][0] if rows else None

    def numbered(self, numbers: Sequence[int]) -> dict[int, str]:
        columns = PRODUCT_NUMBERS.c
        with self._database.reading() as connection:
            rows = self._database.select(connection, [columns.number, columns.product_id], columns.number, numbers)
        return dict(rows)

    def behaviour(self, numbers: Sequence[int]) -> dict[int, list[bytes]]:
        columns = BEHAVIOUR.c
        with self._database.reading() as connection:
            rows = self._database.select(connection, [columns.number, columns.data], columns.number, numbers)
        parts: dict[int, list[bytes]] = {}
        for number, data in rows:
            parts.setdefault(number, []).append(data)
        return parts

    def trending(self, limit: int) -> list[tuple[int, float]]:
        # A product's parts are not far apart in height: what the second half of these rows adds is enough.
        with self._database.reading() as connection:
            rows = connection.execute(_TRENDING, {"most": 2 * limit}).fetchall()
        return summed_trends([(row[0], row[1]) for row in rows], limit)

    def chosen(self, after: int, limit: int) -> NDArray[np.int64]:
        with self._database.reading() as connection:
            return np.array(connection.scalars(_CHOSEN, {"after": after, "most": limit}).all(), dtype=np.int64)

    def close(self) -> None:
        self._database.close()
