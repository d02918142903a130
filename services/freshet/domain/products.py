"""A product as the catalogue knows it, and the algebra that merges its changes in any order of arrival. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import repeat
from operator import attrgetter
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
_values = attrgetter(*FIELDS)


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


class Stamped(NamedTuple):
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


BEFORE_ALL = Version(0, -1)
"""Older than every change: event times and offsets start at 0."""


def merge(state: ProductState, change: Change, version: Version) -> ProductState:
    """The state after one more change. Order of arrival and repeats do not matter, for each register keeps its newest.

    No two changes of one product share a version, so that there are no ties to break: a product's records are in
    one partition, where an offset is given once. Raises ValueError when the change is of another product.
    """
    product_id = change.product_id if isinstance(change, Removal) else change.product.product_id
    if product_id != state.product_id:
        raise ValueError(f"a change of product {product_id!r} cannot be merged into {state.product_id!r}")
    match change:
        case Removal():
            return replace(state, removed=_newer(state.removed, version))
        case Upsert(product):
            upserted = _newer(state.upserted, version)
            return replace(state, fields=_stamp(state.fields, product, FIELDS, version), upserted=upserted)
        case Patch(product, paths):
            return replace(state, fields=_stamp(state.fields, product, paths, version))


def live(state: ProductState) -> bool:
    """Whether the shop has the product: it was upserted, and not removed since."""
    return state.upserted is not None and (state.removed is None or state.upserted > state.removed)


def product(state: ProductState) -> Product:
    """The facts as they stand. What was said before the product was last removed no longer counts."""
    values = {
        name: stamped.value
        for name, stamped in state.fields.items()
        if state.removed is None or stamped.version > state.removed
    }
    return Product(state.product_id, **values)


def newest(state: ProductState) -> Version:
    """The version of the newest change merged so far; BEFORE_ALL when there was none."""
    versions = [stamped.version for stamped in state.fields.values()]
    versions += [version for version in (state.upserted, state.removed) if version is not None]
    return max(versions, default=BEFORE_ALL)


def _newer(known: Version | None, version: Version) -> Version:
    return version if known is None else max(known, version)


def _stamp(
    fields: Mapping[str, Stamped], product: Product, names: Iterable[str], version: Version
) -> Mapping[str, Stamped]:
    if not fields and names is FIELDS:
        # A product's first upsert, which most are that come by the thousand.
        return dict(zip(FIELDS, map(Stamped, _values(product), repeat(version)), strict=True))
    stamped = dict(fields)
    for name in names:
        if name not in fields or version > fields[name].version:
            stamped[name] = Stamped(getattr(product, name), version)
    return stamped
