"""What the console asks Kafka: ends of topics, groups, and when a record was written. Through aiokafka.

May import the Kafka adapter, domain and errors. Not librdkafka's administration client: see local.applications.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError

from freshet.adapters.kafka import bootstrap_servers
from freshet.console.lag import Member, Place, Topic
from freshet.errors import DependencyDown

TIMEOUT_SECONDS = 3.0
READ_SECONDS = 1.0
LATEST_SECONDS = 2.5
LATEST_EACH = 12


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group: its state in Kafka's words, what it committed, and who owns what."""

    state: str
    committed: Mapping[Place, int]
    owners: Mapping[Place, Member]


class Broker:
    """Three connections that last: one asks for ends, one reads a few records, one describes groups.

    Nothing is connected before the first call; after an error all is closed, and the next call connects anew.
    Every method raises DependencyDown.
    """

    def __init__(self, url: str) -> None:
        self._servers = bootstrap_servers(url)
        self._ends: Any = None
        self._reader: Any = None
        self._admin: Any = None
        self._partitions: dict[str, list[int]] = {}

    async def topics(self, names: Collection[str]) -> Topic:
        """First and end offset of every partition of these topics; those that are not there are left out."""
        async with self._asking():
            missing = [name for name in names if name not in self._partitions]
            if missing:
                for described in await self._admin.describe_topics(missing):
                    if not described["error_code"]:
                        numbers = sorted(part["partition"] for part in described["partitions"])
                        self._partitions[described["topic"]] = numbers
            places = [TopicPartition(name, number) for name in names for number in self._partitions.get(name, ())]
            if not places:
                return Topic({}, {})
            first = await self._ends.beginning_offsets(places)
            end = await self._ends.end_offsets(places)
            return Topic(
                {(place.topic, place.partition): offset for place, offset in first.items()},
                {(place.topic, place.partition): offset for place, offset in end.items()},
            )

    async def group(self, name: str) -> Group:
        async with self._asking():
            (answer,) = await self._admin.describe_consumer_groups([name])
            described: dict[str, Any] = answer.to_object()["groups"][0]
            offsets = await self._admin.list_consumer_group_offsets(name)
        owners = {
            place: Member(member["member_id"], member["client_host"].lstrip("/"))
            for member in described["members"]
            for place in _assigned(member["member_assignment"])
        }
        committed = {(place.topic, place.partition): entry.offset for place, entry in offsets.items()}
        return Group(described["state"], committed, owners)

    async def timestamps_ms(self, offsets: Mapping[Place, int]) -> dict[Place, int]:
        """When the records at (or next after) these offsets were written; one that does not come soon is left out."""
        if not offsets:
            return {}
        found: dict[Place, int] = {}
        async with self._asking():
            places = [TopicPartition(*place) for place in offsets]
            self._reader.assign(places)
            for place in places:
                self._reader.seek(place, offsets[place.topic, place.partition])
            waiting = set(places)
            with suppress(TimeoutError):
                async with asyncio.timeout(READ_SECONDS):
                    while waiting:
                        records = await self._reader.getmany(*waiting, timeout_ms=200, max_records=1)
                        for place, listed in records.items():
                            if listed:
                                found[place.topic, place.partition] = listed[0].timestamp
                                waiting.discard(place)
            self._reader.unsubscribe()
        return found

    async def latest_keys(self, topic: str, each: int = LATEST_EACH) -> list[bytes]:
        """Keys of the last records of every partition, the newest record first; those that come in LATEST_SECONDS."""
        found: list[tuple[int, int, bytes]] = []
        bounds = await self.topics([topic])
        begins = {
            TopicPartition(*place): max(first, bounds.end[place] - each)
            for place, first in bounds.first.items()
            if bounds.end[place] > first
        }
        if not begins:
            return []
        async with self._asking():
            self._reader.assign(list(begins))
            for place, offset in begins.items():
                self._reader.seek(place, offset)
            waiting = set(begins)
            with suppress(TimeoutError):
                async with asyncio.timeout(LATEST_SECONDS):
                    while waiting:
                        records = await self._reader.getmany(*waiting, timeout_ms=200)
                        for place, listed in records.items():
                            found += [(record.timestamp, record.offset, record.key) for record in listed if record.key]
                            if listed and listed[-1].offset + 1 >= bounds.end[place.topic, place.partition]:
                                waiting.discard(place)
            self._reader.unsubscribe()
        return [key for *_, key in sorted(found, reverse=True)]

    async def close(self) -> None:
        parts = (self._ends, self._reader, self._admin)
        self._ends = self._reader = self._admin = None
        self._partitions.clear()
        closing: Sequence[Any] = [
            part.stop() if isinstance(part, AIOKafkaConsumer) else part.close() for part in parts if part is not None
        ]
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await asyncio.gather(*closing, return_exceptions=True)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self._connect()
                yield
        except (KafkaError, OSError, TimeoutError, ValueError) as error:
            await self.close()
            detail = str(error) or f"no answer within {TIMEOUT_SECONDS:g} s"
            raise DependencyDown("kafka", f"{self._servers}: {detail}") from error

    async def _connect(self) -> None:
        if self._admin is not None:
            return
        options: dict[str, Any] = {
            "bootstrap_servers": self._servers,
            "client_id": "freshet-console",
            "request_timeout_ms": int(TIMEOUT_SECONDS * 1e3),
        }
        self._ends = AIOKafkaConsumer(**options, enable_auto_commit=False)
        # One record is wanted: the smallest fetch gives one batch all the same (KIP-74).
        self._reader = AIOKafkaConsumer(
            **options, enable_auto_commit=False, max_partition_fetch_bytes=1, fetch_max_wait_ms=50
        )
        self._admin = AIOKafkaAdminClient(**options)
        try:
            await self._ends.start()
            await self._reader.start()
            await self._admin.start()
        except BaseException:
            await self.close()
            raise


def _assigned(assignment: bytes) -> list[Place]:
    if not assignment:
        return []
    decoded = ConsumerProtocolMemberAssignment.decode(assignment)
    return [(topic, partition) for topic, partitions in decoded.assignment for partition in partitions]
