"""A shopper's profile: recent products with decayed weights, everything seen, and what was counted already.

A profile holds interactions, not vectors: interests are made at read time from the products' current vectors. So a
product that is not known yet takes effect when its vector arrives, and no profile belongs to a model version.
Pure; no I/O, no clock.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from math import exp2, log2
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from freshet.domain.covisits import Visit
from freshet.domain.interactions import Kind
from freshet.errors import InvalidInput

_VERSION = 1
_HEAD = struct.Struct("<BqHHI")
REMEMBERED_EVENTS = 64
"""A repeated event_id is counted once while it is among this many of the user's latest."""
_SLACK = 16
"""Recent products kept beyond the limit before the weakest are dropped all at once."""
_SEEN = frozenset({Kind.VIEW, Kind.CLICK, Kind.PURCHASE, Kind.RATING, Kind.DISLIKE, Kind.HIDE})
_RATING = int(Kind.RATING)
_PURCHASE = int(Kind.PURCHASE)


class Touch(NamedTuple):
    """What a shopper feels for a product: `weight` as of `time_us`, the newest interaction; `kind` is that one's."""

    weight: float
    time_us: int
    kind: int


Numbered: TypeAlias = tuple[int, int, float | None, int, int]
"""(product number, kind, value, time in microseconds, hash of the event id or 0 when it has none): one interaction.

A plain tuple: the profile worker makes tens of thousands a second."""


@dataclass(frozen=True, slots=True)
class ProfileRules:
    """How interactions count. `weights` is indexed by Kind; index 0 is unused."""

    weights: tuple[float, ...]
    rating_weight_per_star: float
    half_life_us: int
    recent_products: int
    covisit_window: int


@dataclass(slots=True)
class Profile:
    """One shopper. `touches` is ordered by arrival, latest last; `event_time_us` is the newest interaction's."""

    touches: dict[int, Touch] = field(default_factory=dict)
    seen: BitMap = field(default_factory=BitMap)
    event_hashes: dict[int, None] = field(default_factory=dict)
    event_time_us: int = 0


def encode(profile: Profile) -> bytes:
    """Little-endian: version, time, counts; numbers u32, weights f64, times i64, kinds u8; hashes u64; a bitmap."""
    touches, hashes = profile.touches, profile.event_hashes
    seen = profile.seen.serialize()
    columns = zip(*touches.values(), strict=True) if touches else ((), (), ())
    weights, times, kinds = columns
    return b"".join(
        (
            _HEAD.pack(_VERSION, profile.event_time_us, len(touches), len(hashes), len(seen)),
            array("I", touches).tobytes(),
            array("d", weights).tobytes(),
            array("q", times).tobytes(),
            bytes(kinds),
            array("Q", hashes).tobytes(),
            seen,
        )
    )


def decode(data: bytes) -> Profile:
    """The inverse of `encode`. Raises InvalidInput when the bytes are of another format."""
    try:
        version, time_us, count, hash_count, seen_bytes = _HEAD.unpack_from(data)
    except struct.error as error:
        raise InvalidInput("profile", "is cut short; rebuild the database from the log") from error
    if version != _VERSION or len(data) != _HEAD.size + 21 * count + 8 * hash_count + seen_bytes:
        raise InvalidInput("profile", f"has format {version}, {_VERSION} is read; rebuild the database from the log")
    at = _HEAD.size
    numbers, weights, times, hashes = array("I"), array("d"), array("q"), array("Q")
    for column, size in ((numbers, 4), (weights, 8), (times, 8)):
        column.frombytes(data[at : at + size * count])
        at += size * count
    kinds = data[at : at + count]
    at += count
    hashes.frombytes(data[at : at + 8 * hash_count])
    at += 8 * hash_count
    touches = dict(zip(numbers, map(Touch, weights, times, kinds), strict=True))
    return Profile(touches, BitMap.deserialize(data[at:]), dict.fromkeys(hashes), time_us)


def update(profile: Profile, interactions: Iterable[Numbered], rules: ProfileRules) -> list[Visit]:
    """Count interactions into `profile`, in place, and return what they say about products.

    A sum of decayed weights does not depend on the order of arrival. Applying a then b is the same as applying a + b.
    """
    touches, hashes, seen = profile.touches, profile.event_hashes, profile.seen
    half_life = rules.half_life_us
    visits = []
    for number, kind, value, time_us, event_hash in interactions:
        if event_hash:
            if event_hash in hashes:
                continue
            hashes[event_hash] = None
            if len(hashes) > REMEMBERED_EVENTS:
                del hashes[next(iter(hashes))]
        if time_us > profile.event_time_us:
            profile.event_time_us = time_us
        if kind in _SEEN:
            seen.add(number)
        weight = rules.weights[kind]
        if kind == _RATING and value is not None:
            weight += (value - 3.0) * rules.rating_weight_per_star
        if not weight:
            continue
        old = touches.pop(number, None)
        if weight > 0.0:
            earlier = _earlier(touches, rules.covisit_window) if old is None else ()
            visits.append(Visit(number, time_us, weight, old is None, earlier))
        if old is None:
            touches[number] = Touch(weight, time_us, kind)
            if len(touches) > rules.recent_products + _SLACK:
                profile.touches = touches = _heaviest(touches, rules)
        elif time_us >= old.time_us:
            decayed_weight = old.weight * exp2((old.time_us - time_us) / half_life)
            newest = kind if time_us > old.time_us else max(kind, old.kind)
            touches[number] = Touch(decayed_weight + weight, time_us, newest)
        else:
            late = weight * exp2((time_us - old.time_us) / half_life)
            touches[number] = Touch(old.weight + late, old.time_us, old.kind)
    return visits


def decayed(
    profile: Profile, now_us: int, half_life_us: int
) -> tuple[NDArray[np.uint32], NDArray[np.float32], NDArray[np.uint8]]:
    """Numbers, weights as of `now_us` and kinds, newest first, each of shape (touches,).

    Weights are negative for what is disliked or hidden.
    """
    touches = profile.touches
    count = len(touches)
    numbers = np.fromiter(touches, np.uint32, count)
    columns = np.array(list(touches.values()), dtype=np.float64).reshape(count, 3)
    # At one moment, what arrived later is newer.
    order = np.argsort(columns[:, 1], kind="stable")[::-1]
    # An event from the future (clocks differ) counts as one of now.
    ages = np.maximum(now_us - columns[:, 1], 0.0)
    weights = columns[:, 0] * np.exp2(-ages / half_life_us)
    return numbers[order], weights[order].astype(np.float32), columns[order, 2].astype(np.uint8)


def _earlier(touches: dict[int, Touch], window: int) -> tuple[int, ...]:
    """Those of the last products that are liked, latest first."""
    return tuple([number for number in islice(reversed(touches), window) if touches[number][0] > 0.0])


def _heaviest(touches: dict[int, Touch], rules: ProfileRules) -> dict[int, Touch]:
    """The limit's worth of products with the largest absolute weight now, in their old order.

    Of equal ones the latest stay: a replay of the log must find the same, whatever numbers products have there.
    """
    half_life = rules.half_life_us

    def strength(number: int) -> float:
        touch = touches[number]
        return log2(abs(touch.weight) + 1e-300) + touch.time_us / half_life

    latest_first = list(reversed(touches))
    kept = set(sorted(latest_first, key=strength, reverse=True)[: rules.recent_products])
    return {number: touch for number, touch in touches.items() if number in kept}
