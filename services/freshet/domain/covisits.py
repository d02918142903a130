"""What people did with products: decayed counts of users and of pairs, and demand now. Pure: no I/O, no clock.

A count decays by half every half-life. It is kept in forward form: an event at time t adds 2^(t / half-life - epoch),
so that adding touches nothing else; `epoch` moves in whole half-lives, and rescaling by a power of two is exact.
Source: Cormode et al., Forward Decay (ICDE 2009).

The similarity of two products is the shrunk cosine c_ij / sqrt((n_i + s)(n_j + s)): c_ij is the co-count, n the
products' distinct users, and s users of shrinkage keep rare pairs from looking certain. n_j is in the neighbour's own
behaviour, so a reader loads those rows too. What several workers counted of one product adds up: see `strongest`.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from math import exp2, inf, log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from freshet.errors import InvalidInput

_VERSION = 1
_LEAST_COUNT = 1e-300
_HEAD = struct.Struct("<Biddqi")


class Visit(NamedTuple):
    """A positive interaction with one product; `earlier` are the user's last products when this one was new to them."""

    number: int
    time_us: int
    weight: float
    is_new: bool
    earlier: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CovisitRules:
    """Half-lives in microseconds, and how many neighbours a product keeps."""

    half_life_us: int
    trending_half_life_us: int
    neighbours: int


@dataclass(slots=True)
class Behaviour:
    """One product. `users` and the co-counts in `neighbours` are in units of 2^-epoch.

    `trend` is log2(decayed weight) + time / trending half-life, -inf when nobody ever cared.
    """

    epoch: int = 0
    users: float = 0.0
    trend: float = -inf
    time_us: int = 0
    neighbours: dict[int, float] = field(default_factory=dict)


def encode(behaviour: Behaviour) -> bytes:
    """Little-endian: version, epoch, users, trend, time, count; then numbers (u32) and co-counts (f64)."""
    neighbours = behaviour.neighbours
    return b"".join(
        (
            _HEAD.pack(_VERSION, behaviour.epoch, behaviour.users, behaviour.trend, behaviour.time_us, len(neighbours)),
            array("I", neighbours).tobytes(),
            array("d", neighbours.values()).tobytes(),
        )
    )


def decode(data: bytes) -> Behaviour:
    """The inverse of `encode`. Raises InvalidInput when the bytes are of another format."""
    epoch, users, trend, time_us, count = _head(data)
    numbers, counts = array("I"), array("d")
    numbers.frombytes(data[_HEAD.size : _HEAD.size + 4 * count])
    counts.frombytes(data[_HEAD.size + 4 * count :])
    return Behaviour(epoch, users, trend, time_us, dict(zip(numbers, counts, strict=True)))


def _head(data: bytes) -> tuple[int, float, float, int, int]:
    try:
        version, epoch, users, trend, time_us, count = _HEAD.unpack_from(data)
    except struct.error as error:
        raise InvalidInput("behaviour", "is cut short; rebuild the database from the log") from error
    if version != _VERSION or len(data) != _HEAD.size + 12 * count:
        raise InvalidInput("behaviour", f"has format {version}, {_VERSION} is read; rebuild the database from the log")
    return epoch, users, trend, time_us, count


def record(behaviours: MutableMapping[int, Behaviour], visit: Visit, rules: CovisitRules) -> None:
    """Count one visit: demand always; the user, and the pairs both ways, when the product is new to the user.

    `behaviours` must hold the product and every one of `visit.earlier`.
    """
    number, time_us = visit.number, visit.time_us
    behaviour = behaviours[number]
    trend = log2(visit.weight) + time_us / rules.trending_half_life_us
    behaviour.trend = _log2_sum(behaviour.trend, trend)
    if time_us > behaviour.time_us:
        behaviour.time_us = time_us
    if not visit.is_new:
        return
    half_life = rules.half_life_us
    limit = 2 * rules.neighbours
    epoch = time_us // half_life
    fraction = exp2(time_us / half_life - epoch)
    if epoch != behaviour.epoch:
        _move_epoch(behaviour, epoch)
    weight = fraction if behaviour.epoch == epoch else fraction * exp2(epoch - behaviour.epoch)
    behaviour.users += weight
    mine = behaviour.neighbours
    for earlier in visit.earlier:
        mine[earlier] = mine.get(earlier, 0.0) + weight
        other = behaviours[earlier]
        if epoch != other.epoch:
            _move_epoch(other, epoch)
        theirs = other.neighbours
        other_weight = fraction if other.epoch == epoch else fraction * exp2(epoch - other.epoch)
        theirs[number] = theirs.get(number, 0.0) + other_weight
        if len(theirs) > limit:
            other.neighbours = _strongest(theirs, rules.neighbours)
    if len(mine) > limit:
        behaviour.neighbours = _strongest(mine, rules.neighbours)


@dataclass(frozen=True, slots=True)
class Strongest:
    """What a reader needs of one product: its users, and its strongest neighbours with their co-counts as columns.

    Levels are log2(count) + time / half-life, so that a count at time t is 2^(level - t / half-life): see `counts_at`.
    """

    users_level: float
    numbers: NDArray[np.int64]
    levels: NDArray[np.float64]


NOTHING = Strongest(-inf, np.empty(0, np.int64), np.empty(0, np.float64))


def strongest(parts: Sequence[bytes], limit: int) -> Strongest:
    """The sum of what `encode` wrote of one product in several places, with its `limit` strongest neighbours.

    Raises InvalidInput when the bytes are of another format.
    """
    read = [_columns(part) for part in parts]
    whole = read[0] if len(read) == 1 else _summed(read)
    if len(whole.levels) <= limit:
        return whole
    kept = np.argpartition(-whole.levels, limit - 1)[:limit]
    return Strongest(whole.users_level, whole.numbers[kept], whole.levels[kept])


def counts_at(levels: NDArray[np.float64], time_us: int, half_life_us: int) -> NDArray[np.float64]:
    """Counts as of a moment, each event weighing 2^(-age / half-life)."""
    counts: NDArray[np.float64] = np.exp2(levels - time_us / half_life_us)
    return counts


def cosines(
    co_counts: NDArray[np.float64],
    users: NDArray[np.float64],
    users_of_neighbours: NDArray[np.float64],
    shrinkage: float = 20.0,
) -> NDArray[np.float64]:
    """Shrunk cosines of pairs from their counts at one moment; all arguments broadcast."""
    similar: NDArray[np.float64] = co_counts / np.sqrt((users + shrinkage) * (users_of_neighbours + shrinkage))
    return similar


def summed_trends(rows: Sequence[tuple[int, float]], limit: int) -> list[tuple[int, float]]:
    """(number, trend) of the `limit` most wanted products, from rows where a product may have several parts."""
    total: dict[int, float] = {}
    for number, trend in rows:
        known = total.get(number)
        total[number] = trend if known is None else _log2_sum(known, trend)
    return sorted(total.items(), key=lambda row: (-row[1], row[0]))[:limit]


def _columns(data: bytes) -> Strongest:
    epoch, users, _, _, count = _head(data)
    at = _HEAD.size
    numbers = np.frombuffer(data, "<u4", count, at).astype(np.int64)
    counts = np.frombuffer(data, "<f8", count, at + 4 * count)
    return Strongest(
        log2(users) + epoch if users > 0.0 else -inf, numbers, np.log2(np.maximum(counts, _LEAST_COUNT)) + epoch
    )


def _summed(parts: Sequence[Strongest]) -> Strongest:
    users_level = -inf
    for part in parts:
        users_level = _log2_sum(users_level, part.users_level)
    levels = np.concatenate([part.levels for part in parts])
    numbers, places = np.unique(np.concatenate([part.numbers for part in parts]), return_inverse=True)
    if not len(numbers):
        return Strongest(users_level, numbers, levels)
    highest = levels.max()
    counts = np.bincount(places, np.exp2(levels - highest))
    return Strongest(users_level, numbers, np.log2(np.maximum(counts, _LEAST_COUNT)) + highest)


def touched(visits: Sequence[Visit]) -> set[int]:
    """The products whose behaviour these visits change."""
    numbers = {visit.number for visit in visits}
    for visit in visits:
        if visit.is_new:
            numbers.update(visit.earlier)
    return numbers


def _move_epoch(behaviour: Behaviour, epoch: int) -> None:
    """Express the counts relative to a later epoch; an earlier one changes nothing."""
    if epoch <= behaviour.epoch:
        return
    if behaviour.users or behaviour.neighbours:
        scale = exp2(max(behaviour.epoch - epoch, -1_000))
        behaviour.users *= scale
        behaviour.neighbours = {number: count * scale for number, count in behaviour.neighbours.items()}
    behaviour.epoch = epoch


def _strongest(counts: Mapping[int, float], limit: int) -> dict[int, float]:
    kept = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]
    return dict(kept)


def _log2_sum(a: float, b: float) -> float:
    if a < b:
        a, b = b, a
    return a + log2(1.0 + exp2(b - a)) if b != -inf else a
