"""A product as the catalogue knows it, and the algebra that merges its changes in any order of arrival. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias


class Version(NamedTuple):
    """Decides which of two changes is newer: event time, then offset. Invariant 3."""

    event_time_us: int
    offset: int


@dataclass(frozen=True, slots=True)
class Image:
    """Where a picture is: the encoded file itself, or an address. One of the two is set."""

    uri: str = ""
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Product:
    """The facts of one product. `None` and empty mean unknown; `available` is true unless the shop says otherwise."""

    product_id: str
    title: str = ""
    description: str = ""
    brand: str = ""
    categories: tuple[str, ...] = ()
    price: float | None = None
    currency: str = ""
    available: bool = True
    image: Image | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


FIELDS: tuple[str, ...] = (
    "title", "description", "brand", "categories", "price", "currency", "available", "image", "attributes",
)  # fmt: skip
"""What a change can set: Product's fields without its key. The names an update_mask may hold."""


@dataclass(frozen=True, slots=True)
class Upsert:
    """The whole product: fields absent in `product` become unknown."""

    product: Product


@dataclass(frozen=True, slots=True)
class Patch:
    """Sets or clears the fields that `paths` names, each one of FIELDS."""

    product: Product
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Removal:
    product_id: str


Change: TypeAlias = Upsert | Patch | Removal


@dataclass(frozen=True, slots=True)
class Stamped:
    """A field's value and the version that set it."""

    value: Any
    version: Version


@dataclass(frozen=True, slots=True)
class ProductState:
    """Everything known of one product: a last-writer-wins register per field, so that changes commute.

    `upserted` and `removed` are the newest versions of those kinds. A product is live when it was upserted
    after it was last removed; patches that came before their product wait in `fields`.
    """

    product_id: str
    fields: Mapping[str, Stamped] = field(default_factory=dict)
    upserted: Version | None = None
    removed: Version | None = None
