"""The demo's shoppers: each has a taste, and buys from it with noise and with an eye on what is popular. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from freshet.demo.catalogue import COLOURS, KINDS, PATTERNS, Item
from freshet.domain.interactions import Kind

HELD_OUT = 5
_DAY_US = 86_400_000_000
_NOISE = 0.12
"""Share of choices that follow popularity alone."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One interaction of the demo: `item` is the product's place in the catalogue."""

    user_id: str
    item: int
    kind: Kind
    time_us: int


@dataclass(frozen=True, slots=True)
class Shopper:
    """`history` is published; `held_out` comes from the same taste afterwards and is never published."""

    user_id: str
    likes: str
    history: tuple[Choice, ...]
    held_out: tuple[int, ...]


class Demand:
    """Who would choose what: softmax of taste, times appeal."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._kind = np.array([tuple(KINDS).index(item.kind) for item in items])
        self._colour = np.array([tuple(COLOURS).index(item.colour) for item in items])
        self._pattern = np.array([PATTERNS.index(item.pattern) for item in items])
        self._price = np.log([item.product.price or 1.0 for item in items])
        relative = self._price.copy()
        for kind in range(len(KINDS)):
            of_kind = self._kind == kind
            if of_kind.any():
                relative[of_kind] -= relative[of_kind].mean()
        self._level = relative
        self._log_appeal = np.log([item.appeal * (0.4 + item.quality) for item in items])

    def popularity(self) -> NDArray[np.float64]:
        chance = np.exp(self._log_appeal)
        return np.asarray(chance / chance.sum())

    def taste(self, dice: np.random.Generator) -> tuple[NDArray[np.float64], str]:
        """Probabilities over items of one shopper, and what they like in words."""
        kinds = dice.choice(len(KINDS), 3, replace=False)
        colours = dice.choice(len(COLOURS), 2, replace=False)
        patterns = dice.choice(len(PATTERNS), 2, replace=False)
        level = dice.normal(0.0, 0.25)
        liking = (
            2.4 * np.isin(self._kind, kinds)
            + 2.2 * np.isin(self._colour, colours)
            + 1.8 * np.isin(self._pattern, patterns)
            - 1.5 * np.abs(self._level - level)
            + 0.8 * self._log_appeal
        )
        chance = np.exp(liking - liking.max())
        chance = (1 - _NOISE) * chance / chance.sum() + _NOISE * self.popularity()
        words = (
            f"{' or '.join(tuple(COLOURS)[i] for i in colours)}, {' or '.join(PATTERNS[i] for i in patterns)}: "
            f"{', '.join(tuple(KINDS)[i] for i in kinds)}"
        )
        return chance, words


def make_shoppers(items: Sequence[Item], count: int, seed: int, now_us: int) -> list[Shopper]:
    """Shoppers with 6 to 20 interactions in the ten days before `now_us`, and HELD_OUT further choices."""
    dice = np.random.default_rng([seed, 7])
    demand = Demand(items)
    return [_shopper(f"shopper-{number:04d}", demand, dice, now_us) for number in range(count)]


def _shopper(user_id: str, demand: Demand, dice: np.random.Generator, now_us: int) -> Shopper:
    chance, words = demand.taste(dice)
    wanted = int(dice.integers(6, 21))
    chosen = dice.choice(len(chance), wanted + HELD_OUT, replace=False, p=chance)
    # Without replacement the early picks are the likelier ones: mix before splitting, or the future would be harder.
    chosen = dice.permutation(chosen)
    times = np.sort(now_us - dice.integers(60_000_000, 10 * _DAY_US, wanted))
    kinds = dice.choice([Kind.VIEW, Kind.CLICK, Kind.ADD_TO_CART, Kind.PURCHASE], wanted, p=[0.3, 0.35, 0.1, 0.25])
    history = tuple(
        Choice(user_id, int(item), Kind(int(kind)), int(time_us))
        for item, kind, time_us in zip(chosen[:wanted], kinds, times, strict=True)
    )
    return Shopper(user_id, words, history, tuple(int(item) for item in chosen[wanted:]))


def popularity_lists(shoppers: Sequence[Shopper], items: int, size: int) -> list[list[int]]:
    """The peer: the most interacted products, without those that the shopper knows."""
    counts = np.zeros(items)
    for shopper in shoppers:
        for choice in shopper.history:
            counts[choice.item] += 1
    order = np.argsort(-counts, kind="stable")
    lists = []
    for shopper in shoppers:
        known = {choice.item for choice in shopper.history}
        lists.append([int(item) for item in order[: size + len(known)] if int(item) not in known][:size])
    return lists


def hit_rate(lists: Sequence[Sequence[int]], shoppers: Sequence[Shopper]) -> float:
    """Share of shoppers of whose held-out choices at least one is in their list."""
    hits = sum(bool(set(shown) & set(shopper.held_out)) for shown, shopper in zip(lists, shoppers, strict=True))
    return hits / max(1, len(shoppers))
