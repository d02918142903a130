"""What people did with products: decayed counts of users and of pairs, and demand now. Pure; no I/O, no clock.

A count decays by half every half-life. It is kept in forward form: an event at time t adds 2^(t / half-life - epoch),
so that adding touches nothing else; `epoch` moves in whole half-lives, and rescaling by a power of two is exact.
Source: Cormode et al., Forward Decay (ICDE 2009).

The similarity of two products is the shrunk cosine c_ij / sqrt((n_i + s)(n_j + s)): c_ij is the co-count, n the
products' distinct users, and s users of shrinkage keep rare pairs from looking certain. n_j is in the neighbour's own
behaviour, so a reader loads those rows too, and takes `users_at` of each at one moment.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from math import exp2, inf, log2, sqrt
from typing import NamedTuple

from freshet.errors import InvalidInput

_VERSION = 1
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
    """One product. `users` and the co-counts in `neighbours` are in units of 2^-epoch; see `users_at`, `counts_at`.

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
    try:
        version, epoch, users, trend, time_us, count = _HEAD.unpack_from(data)
    except struct.error as error:
        raise InvalidInput("behaviour", "is cut short; rebuild the database from the log") from error
    if version != _VERSION or len(data) != _HEAD.size + 12 * count:
        raise InvalidInput("behaviour", f"has format {version}, {_VERSION} is read; rebuild the database from the log")
    numbers, counts = array("I"), array("d")
    numbers.frombytes(data[_HEAD.size : _HEAD.size + 4 * count])
    counts.frombytes(data[_HEAD.size + 4 * count :])
    return Behaviour(epoch, users, trend, time_us, dict(zip(numbers, counts, strict=True)))


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


def users_at(behaviour: Behaviour, time_us: int, half_life_us: int) -> float:
    """Distinct users, each counted 2^(-age / half-life)."""
    return behaviour.users * exp2(behaviour.epoch - time_us / half_life_us)


def counts_at(behaviour: Behaviour, time_us: int, half_life_us: int) -> dict[int, float]:
    """Decayed co-counts by neighbour."""
    scale = exp2(behaviour.epoch - time_us / half_life_us)
    return {number: count * scale for number, count in behaviour.neighbours.items()}


def cosine(
    behaviour: Behaviour,
    users_of_neighbours: Mapping[int, float],
    time_us: int,
    half_life_us: int,
    shrinkage: float = 20.0,
) -> dict[int, float]:
    """Shrunk cosine with each neighbour named in `users_of_neighbours`, whose values are `users_at` the same time."""
    scale = exp2(behaviour.epoch - time_us / half_life_us)
    mine = behaviour.users * scale + shrinkage
    counts = behaviour.neighbours
    return {
        number: counts[number] * scale / sqrt(mine * (users + shrinkage))
        for number, users in users_of_neighbours.items()
        if number in counts
    }


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
