"""The profile worker: interactions become profiles, co-visits and demand, in one transaction with the offsets.

May import `codec`, `domain`, `ports` and this room.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import xxhash
from google.protobuf.message import DecodeError

from freshet.codec import wire
from freshet.codec.events import read_interaction
from freshet.domain import covisits, profiles
from freshet.domain.interactions import Interaction, Kind
from freshet.domain.progress import Advance, Progress
from freshet.errors import InvalidInput, TooLarge
from freshet.ports import BehaviourRow, ProfileRow, ProfileStore
from freshet.settings import ProfileSettings, Settings
from freshet.stream.batches import Record, Run
from freshet.stream.dead_letters import DeadLetters, reason_of
from freshet.stream.worker import Batch
from freshet.telemetry import FRESHNESS
from freshet.v1 import interaction_pb2

_DAY_US = 86_400_000_000
_INLINE_USERS = 32
"""Profiles of no more users are written where we stand: in an embedded store a thread costs more than the writing."""
_LANE = "(lane)"
"""Stands for a topic in the stored progress: how many batches were counted in a lane. Stepping it in every
transaction keeps a worker whose partitions moved on from writing over what their new owner counts."""
_PROTOBUF_HEADER = ("content-type", wire.PROTOBUF.encode())

_FRESHNESS = {int(kind): FRESHNESS.labels(kind.name.lower()) for kind in Kind}

K = TypeVar("K")
V = TypeVar("V")


def profile_rules(settings: ProfileSettings) -> profiles.ProfileRules:
    """The settings as the domain takes them."""
    return profiles.ProfileRules(
        weights=(0.0, *(settings.kind_weight(kind) for kind in Kind)),
        rating_weight_per_star=settings.rating_weight_per_star,
        half_life_us=int(settings.half_life_days * _DAY_US),
        recent_products=settings.recent_products,
        covisit_window=settings.covisit_window_products,
    )


def covisit_rules(settings: ProfileSettings) -> covisits.CovisitRules:
    return covisits.CovisitRules(
        half_life_us=int(settings.covisit_half_life_days * _DAY_US),
        trending_half_life_us=int(settings.trending_half_life_hours * _DAY_US / 24),
        neighbours=settings.covisit_neighbours,
    )


class Refused(NamedTuple):
    """A record that cannot be counted, and why."""

    run: Run
    record: Record
    error: InvalidInput


class _Recent(OrderedDict[K, V], Generic[K, V]):
    """The entries used last, at most `limit` of them after `trim`."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def take(self, keys: Iterable[K]) -> tuple[dict[K, V], list[K]]:
        """Those that are here, and the keys of the others."""
        found, missing = {}, []
        for key in keys:
            if key in self:
                self.move_to_end(key)
                found[key] = self[key]
            else:
                missing.append(key)
        return found, missing

    def trim(self) -> None:
        while len(self) > self._limit:
            self.popitem(last=False)


class ProfileWorker:
    """Counts interactions. One instance per process; `store` and `dead_letters` are the caller's to close."""

    name = "profiles"
    polls_per_batch = 4

    def __init__(
        self,
        store: ProfileStore,
        dead_letters: DeadLetters,
        settings: Settings,
        *,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self.topics: Sequence[str] = (settings.topics.interactions,)
        self._store, self._dead_letters, self._now_us = store, dead_letters, now_us
        self._record_bytes = settings.stream.record_bytes
        self._profile_rules = profile_rules(settings.profiles)
        self._covisit_rules = covisit_rules(settings.profiles)
        self._profiles: _Recent[str, profiles.Profile] = _Recent(settings.profiles.cached_users)
        self._behaviour: _Recent[int, covisits.Behaviour] = _Recent(settings.profiles.cached_products)
        self._numbers: _Recent[str, int] = _Recent(4 * settings.profiles.cached_products)
        self._reported: set[tuple[str, int, int]] = set()
        self._batches: dict[int, int] = {}
        self._lane = 0
        self._oldest_ms: dict[int, int] = {}
        """Of the batch in hand, by kind: when its first record came to Kafka."""

    def progress(self) -> Mapping[tuple[str, int], Progress]:
        """How far the store is. What is cached is forgotten: another worker may have had these users meanwhile."""
        self._profiles.clear()
        self._behaviour.clear()
        progress = self._store.progress(self.name)
        self._batches = {lane: step.next_offset for (topic, lane), step in progress.items() if topic == _LANE}
        return progress

    async def open(self) -> None:
        """Nothing: the store connects with `progress`."""

    async def apply(self, batch: Batch) -> None:
        """Count a batch. Raises DependencyDown (nothing was written; try again) and ProgressConflict."""
        by_user, products, event_times, refused = self._read(batch.runs)
        for run, record, error in refused:
            place = (run.topic, run.partition, record.offset)
            if place not in self._reported:
                await self._dead_letters.send(reason_of(error), str(error), record, run.topic, run.partition, self.name)
                self._reported.add(place)
        # Partitions are one worker's alone, and so is the lane named after the first of them.
        lane = min((partition for _, partition in batch.assigned), default=0)
        if lane != self._lane:
            self._behaviour.clear()
            self._lane = lane
        counted = self._batches.get(lane, 0)
        advances = [*batch.advances(event_times), Advance(_LANE, lane, counted, counted + 1, 0)]
        if self._store.embedded and len(by_user) <= _INLINE_USERS:
            self._write(by_user, products, advances)
        else:
            await asyncio.to_thread(self._write, by_user, products, advances)
        self._batches[lane] = counted + 1
        self._reported.clear()
        now_ms = self._now_us() / 1e3
        for kind, time_ms in self._oldest_ms.items():
            _FRESHNESS[kind].observe(max(0.0, now_ms - time_ms) / 1e3)

    async def close(self) -> None:
        await asyncio.to_thread(self._store.close)

    def _read(
        self, runs: Sequence[Run]
    ) -> tuple[dict[str, list[Interaction]], dict[str, None], dict[tuple[str, int], int], list[Refused]]:
        """Interactions by user, and products, in order of arrival; newest event time by partition; what is refused."""
        now_us = self._now_us()
        by_user: dict[str, list[Interaction]] = {}
        products: dict[str, None] = {}
        newest: dict[tuple[str, int], int] = {}
        refused: list[Refused] = []
        oldest_ms = self._oldest_ms = {}
        parse = interaction_pb2.Interaction.FromString
        for run in runs:
            latest = 0
            for record in run.records:
                try:
                    value, headers = record.value, record.headers
                    if value is not None and len(value) > self._record_bytes:
                        raise TooLarge("", f"the record has {len(value):,} bytes; {self._record_bytes:,} are allowed")
                    if value and (tuple(headers[0]) == _PROTOBUF_HEADER if headers else value[0] != 0x7B):
                        message = _parse(parse, value)
                        if headers and len(headers) > 1:
                            wire.complete(message, headers)
                    else:
                        message = wire.decode(value, headers, interaction_pb2.Interaction)
                    interaction = read_interaction(message, record.timestamp * 1_000, now_us)
                except InvalidInput as error:
                    refused.append(Refused(run, record, error))
                    continue
                if interaction.kind not in oldest_ms:
                    oldest_ms[interaction.kind] = record.timestamp
                time_us = interaction.event_time_us
                if time_us > latest:
                    latest = time_us
                products[interaction.product_id] = None
                mine = by_user.get(interaction.user_id)
                if mine is None:
                    by_user[interaction.user_id] = [interaction]
                else:
                    mine.append(interaction)
            newest[run.topic, run.partition] = latest
        return by_user, products, newest, refused

    def _write(
        self, by_user: Mapping[str, Sequence[Interaction]], products: Iterable[str], advances: Sequence[Advance]
    ) -> None:
        """Update and store. After a failure the caches forget what was touched: they are never ahead of the store."""
        behaviour: Mapping[int, covisits.Behaviour] = {}
        done = False
        try:
            known = self._load_profiles(by_user)
            visits = self._update(by_user, self._number(products), known)
            behaviour = self._load_behaviour(covisits.touched(visits))
            changed = self._record(visits, behaviour)
            rows = [ProfileRow(user, profiles.encode(known[user]), known[user].event_time_us) for user in by_user]
            self._store.apply(self.name, rows, changed, advances)
            done = True
        finally:
            if not done:
                for user in by_user:
                    self._profiles.pop(user, None)
                for number in behaviour:
                    self._behaviour.pop(number, None)
        self._profiles.trim()
        self._behaviour.trim()

    def _load_profiles(self, users: Iterable[str]) -> dict[str, profiles.Profile]:
        known, missing = self._profiles.take(users)
        if missing:
            stored = self._store.load_profiles(missing)
            for user in missing:
                data = stored.get(user)
                known[user] = self._profiles[user] = profiles.Profile() if data is None else profiles.decode(data)
        return known

    def _number(self, products: Iterable[str]) -> dict[str, int]:
        """Numbers of products, given in order of arrival: a replay of the same log numbers them alike."""
        numbers, missing = self._numbers.take(products)
        if missing:
            assigned = self._store.product_numbers(missing)
            numbers.update(assigned)
            self._numbers.update(assigned)
            self._numbers.trim()
        return numbers

    def _update(
        self,
        by_user: Mapping[str, Sequence[Interaction]],
        numbers: Mapping[str, int],
        known: Mapping[str, profiles.Profile],
    ) -> list[covisits.Visit]:
        event_hash = xxhash.xxh64_intdigest
        rules = self._profile_rules
        visits: list[covisits.Visit] = []
        for user, interactions in by_user.items():
            counted = [
                (numbers[product], kind, value, time_us, event_hash(event_id.encode()) if event_id else 0)
                for event_id, _user, product, kind, value, time_us, _session, _token in interactions
            ]
            visits += profiles.update(known[user], counted, rules)
        return visits

    def _load_behaviour(self, numbers: Iterable[int]) -> dict[int, covisits.Behaviour]:
        known, missing = self._behaviour.take(numbers)
        if missing:
            stored = self._store.load_behaviour(missing, self._lane)
            for number in missing:
                data = stored.get(number)
                value = covisits.Behaviour() if data is None else covisits.decode(data)
                known[number] = self._behaviour[number] = value
        return known

    def _record(self, visits: Sequence[covisits.Visit], behaviour: dict[int, covisits.Behaviour]) -> list[BehaviourRow]:
        rules = self._covisit_rules
        for visit in visits:
            covisits.record(behaviour, visit, rules)
        return [
            BehaviourRow(number, value.trend, covisits.encode(value), self._lane) for number, value in behaviour.items()
        ]


def _parse(parse: Callable[[bytes], interaction_pb2.Interaction], value: bytes) -> interaction_pb2.Interaction:
    try:
        return parse(value)
    except DecodeError:
        # Read again the slow way, which says what was wrong.
        return wire.decode(value, [("content-type", wire.PROTOBUF.encode())], interaction_pb2.Interaction)
