"""What shoppers do, as values. No I/O."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Kind(IntEnum):
    """The kinds of interaction; numbers are those of freshet.v1.Interaction.Kind."""

    VIEW = 1
    CLICK = 2
    ADD_TO_CART = 3
    PURCHASE = 4
    RATING = 5
    LIKE = 6
    DISLIKE = 7
    HIDE = 8


class Interaction(NamedTuple):
    """One valid interaction. A NamedTuple because the profile worker makes tens of thousands a second."""

    event_id: str
    user_id: str
    product_id: str
    kind: int
    value: float | None
    event_time_us: int
    session_id: str = ""
    attribution_token: str = ""
