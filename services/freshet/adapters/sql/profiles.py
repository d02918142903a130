"""The profile worker's state in SQL (port ProfileStore). Imports this package, domain and ports."""

from __future__ import annotations

from collections.abc import Sequence

from freshet.adapters.sql.progress import SqlStore, advance
from freshet.adapters.sql.tables import BEHAVIOUR, PROFILES
from freshet.domain.progress import Advance
from freshet.ports import BehaviourRow, ProfileRow


class SqlProfileStore(SqlStore):
    """Profiles by shopper, behaviour by product number."""

    def load_profiles(self, user_ids: Sequence[str]) -> dict[str, bytes]:
        columns = PROFILES.c
        with self._database.reading() as connection:
            rows = self._database.select(connection, [columns.user_id, columns.data], columns.user_id, user_ids)
        return dict(rows)

    def load_behaviour(self, numbers: Sequence[int], lane: int = 0) -> dict[int, bytes]:
        columns = BEHAVIOUR.c
        wanted = [columns.number, columns.lane, columns.data]
        with self._database.reading() as connection:
            rows = self._database.select(connection, wanted, columns.number, numbers)
        return {number: data for number, of_lane, data in rows if of_lane == lane}

    def apply(
        self,
        worker: str,
        profiles: Sequence[ProfileRow],
        behaviour: Sequence[BehaviourRow],
        advances: Sequence[Advance],
    ) -> None:
        users = {row.user_id: (row.user_id, row.data, row.event_time_us) for row in profiles}
        products = {(row.number, row.lane): (row.number, row.lane, row.trend, row.data) for row in behaviour}
        with self._database.writing() as connection:
            advance(connection, worker, advances)
            self._database.upsert(connection, PROFILES, list(users.values()))
            # In order of number, two transactions cannot wait for each other.
            self._database.upsert(connection, BEHAVIOUR, sorted(products.values()))
