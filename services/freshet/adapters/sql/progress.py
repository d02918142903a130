"""What every worker's store shares: progress, product numbers. Imports engine, tables, domain and errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from operator import attrgetter
from threading import Lock

from sqlalchemy import Connection, bindparam, case, func, select, text, update

from freshet.adapters.sql.engine import Database
from freshet.adapters.sql.tables import APPLIED_OFFSETS, PRODUCT_NUMBERS, PUBLISHED_OFFSETS
from freshet.domain.progress import Advance, Progress, Published
from freshet.errors import ProgressConflict

REMEMBERED_NUMBERS = 200_000

_OF_WORKER = select(*APPLIED_OFFSETS.c["topic", "partition", "next_offset", "event_time_us"]).where(
    APPLIED_OFFSETS.c.worker == bindparam("worker")
)
_ADVANCE = (
    update(APPLIED_OFFSETS)
    .where(
        APPLIED_OFFSETS.c.worker == bindparam("of_worker"),
        APPLIED_OFFSETS.c.topic == bindparam("of_topic"),
        APPLIED_OFFSETS.c.partition == bindparam("of_partition"),
        APPLIED_OFFSETS.c.next_offset == bindparam("from_offset"),
    )
    .values(
        next_offset=bindparam("to_offset"),
        event_time_us=case(
            (APPLIED_OFFSETS.c.event_time_us > bindparam("time_us"), APPLIED_OFFSETS.c.event_time_us),
            else_=bindparam("time_us"),
        ),
    )
)
_PUBLISHED = select(*PUBLISHED_OFFSETS.c)
_BEGIN = text(
    "INSERT INTO applied_offsets (worker, topic, partition, next_offset, event_time_us)"
    " VALUES (:of_worker, :of_topic, :of_partition, :to_offset, :time_us) ON CONFLICT DO NOTHING"
)


def read_progress(database: Database, worker: str) -> dict[tuple[str, int], Progress]:
    with database.reading() as connection:
        rows = connection.execute(_OF_WORKER, {"worker": worker}).fetchall()
    return {(row[0], row[1]): Progress(*row) for row in rows}


def read_published(connection: Connection) -> dict[tuple[str, int], Published]:
    rows = connection.execute(_PUBLISHED).fetchall()
    return {
        (topic, partition): Published(next_offset, {int(place): end for place, end in json.loads(ends).items()})
        for topic, partition, next_offset, ends in rows
    }


def write_published(database: Database, published: Mapping[tuple[str, int], Published]) -> None:
    with database.writing() as connection:
        database.lock(connection, PUBLISHED_OFFSETS)
        known = read_published(connection)
        rows = []
        for place, new in published.items():
            joined = known[place].joined(new) if place in known else new
            rows.append((*place, joined.next_offset, json.dumps(joined.ends)))
        database.upsert(connection, PUBLISHED_OFFSETS, rows)


def advance(connection: Connection, worker: str, advances: Sequence[Advance]) -> None:
    """Compare and set, each. Comes first in a transaction: it also keeps two workers of a partition apart.

    Raises ProgressConflict. Sorted, so that two transactions cannot wait for each other.
    """
    for step in sorted(advances, key=attrgetter("topic", "partition", "from_offset")):
        values = {
            "of_worker": worker, "of_topic": step.topic, "of_partition": step.partition,
            "from_offset": step.from_offset, "to_offset": step.next_offset, "time_us": step.event_time_us,
        }  # fmt: skip
        if connection.execute(_ADVANCE, values).rowcount == 0:
            del values["from_offset"]
            if connection.execute(_BEGIN, values).rowcount == 0:
                raise ProgressConflict(
                    f"Worker {worker!r} wanted to go on at offset {step.from_offset} of {step.topic}/{step.partition}, "
                    "and the database is elsewhere: another process has applied records of this partition"
                )


class SqlStore:
    """The base of the workers' stores."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers: dict[str, int] = {}
        self._remembering = Lock()
        self.embedded = database.embedded

    def progress(self, worker: str) -> Mapping[tuple[str, int], Progress]:
        return read_progress(self._database, worker)

    def product_numbers(self, product_ids: Sequence[str]) -> dict[str, int]:
        """Numbers never change, so known ones are remembered here."""
        found = {id_: number for id_ in product_ids if (number := self._numbers.get(id_)) is not None}
        if missing := [id_ for id_ in dict.fromkeys(product_ids) if id_ not in found]:
            found |= self._look_up(missing)
            with self._remembering:
                if len(self._numbers) > REMEMBERED_NUMBERS:
                    self._numbers = {}
                self._numbers.update(found)
        return found

    def close(self) -> None:
        self._database.close()

    def _look_up(self, product_ids: Sequence[str]) -> dict[str, int]:
        with self._database.reading() as connection:
            known = self._known(connection, product_ids)
        unknown = [id_ for id_ in product_ids if id_ not in known]
        return known | self._assign(unknown) if unknown else known

    def _assign(self, product_ids: Sequence[str]) -> dict[str, int]:
        with self._database.writing() as connection:
            self._database.lock(connection, PRODUCT_NUMBERS)
            known = self._known(connection, product_ids)
            unknown = [id_ for id_ in product_ids if id_ not in known]
            last: int = connection.scalar(select(func.coalesce(func.max(PRODUCT_NUMBERS.c.number), 0))) or 0
            assigned = {id_: last + i for i, id_ in enumerate(unknown, start=1)}
            self._database.upsert(connection, PRODUCT_NUMBERS, list(assigned.items()))
        return known | assigned

    def _known(self, connection: Connection, product_ids: Sequence[str]) -> dict[str, int]:
        columns = PRODUCT_NUMBERS.c
        rows = self._database.select(connection, [columns.product_id, columns.number], columns.product_id, product_ids)
        return dict(rows)
