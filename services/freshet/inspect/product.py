"""What is known of one product, and what the model makes of it. May import `bootstrap`'s ports, `domain`, this room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from freshet.domain import products
from freshet.domain.products import Product, Version
from freshet.domain.progress import Position
from freshet.domain.representations import Layout, Matrix, Modality
from freshet.errors import DependencyDown, NotFound
from freshet.inspect.duplicates import Thresholds
from freshet.inspect.scan import Neighbour, disagreement, neighbours
from freshet.ports import CatalogRow, CatalogStore, Encoding
from freshet.representation.manifest import ENCODED
from freshet.representation.pricing import Expected, PriceHead

SHOWN, COMPARED = 5, 10
"""Neighbours shown of each modality, and those by which modalities are compared."""


class Fusion(Protocol):
    """The part of the model that fuses; ports.Encoders is one."""

    async def fuse(self, parts: Mapping[Modality, Matrix], present: NDArray[np.bool_]) -> Matrix: ...


@dataclass(frozen=True, slots=True)
class Field:
    """One fact with the event that set it. `newest`: set by the product's newest change."""

    name: str
    value: str
    version: Version
    newest: bool


@dataclass(frozen=True, slots=True)
class Part:
    """One segment of the vector: how long it is, and the products nearest by it.

    `joint_without` is the cosine between the joint vector and what the fusion gives without this modality: 1 where it
    adds nothing. None for segments that the fusion does not take, and where it could not be asked.
    """

    modality: Modality
    length: float
    neighbours: Sequence[Neighbour]
    joint_without: float | None


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """Another model version's encoding that is stored, and the modalities it was made of another input."""

    model_version: str
    inputs_differ: Sequence[str]


@dataclass(frozen=True, slots=True)
class Inspection:
    """A product under the glass. `disagreements` are by pair of modalities; `missing` says what could not be had."""

    product: Product
    number: int
    live: bool
    fields: Sequence[Field]
    source: Position | None
    event_time_us: int
    review_stars: Sequence[int]
    model_version: str
    parts: Sequence[Part]
    disagreements: Mapping[tuple[Modality, Modality], float]
    duplicates: Sequence[Neighbour]
    price: Expected | None
    """What its words and picture let expect, beside what it costs; None where there is nothing to tell that from."""
    other_versions: Sequence[OtherVersion]
    missing: Sequence[str]


async def inspect(
    store: CatalogStore,
    layout: Layout,
    fusion: Fusion,
    product_id: str,
    thresholds: Thresholds,
    prices: PriceHead | None = None,
) -> Inspection:
    """Raises NotFound for a product that the catalogue has never heard of."""
    row = store.load([product_id]).get(product_id)
    if row is None:
        raise NotFound(f"product {product_id!r} is unknown; publish it first, or check the identifier")
    encoding, missing = row.encoding, []
    near: dict[Modality, list[Neighbour]] = {}
    without: dict[Modality, float] = {}
    if encoding is None:
        missing.append(f"the model {layout.model_version} has not encoded it (yet): see `freshet lag`")
    else:
        near = neighbours(store, layout, product_id, encoding.vector, COMPARED)
        try:
            without = await leave_one_out(fusion, layout, encoding)
        except DependencyDown as error:
            missing.append(f"{error}; what each modality adds to the joint vector is left out")
    about, price = products.product(row.state), None
    if prices is not None and encoding is not None:
        (price,) = prices.expected(encoding.vector[None], [about])
    stamps = sorted(row.state.fields.items(), key=lambda item: (item[1].version, item[0]), reverse=True)
    newest = stamps[0][1].version if stamps else None
    return Inspection(
        product=about,
        number=row.number,
        live=products.live(row.state),
        fields=[
            Field(name, _shown(stamped.value), stamped.version, stamped.version == newest) for name, stamped in stamps
        ],
        source=row.source,
        event_time_us=row.event_time_us,
        review_stars=row.reviews.stars,
        model_version=layout.model_version,
        parts=[_part(name, encoding, layout, near, without) for name in layout.slices] if encoding is not None else [],
        disagreements=_disagreements(near),
        duplicates=_duplicates(store, layout, row, near, thresholds),
        price=price,
        other_versions=[
            OtherVersion(other.model_version, _differing(encoding, other))
            for other in store.encodings(product_id)
            if other.model_version != layout.model_version
        ],
        missing=missing,
    )


async def leave_one_out(fusion: Fusion, layout: Layout, encoding: Encoding) -> dict[Modality, float]:
    """By modality, the cosine between the joint vector and the one made without it. Raises DependencyDown."""
    had = [name for name in ENCODED if name in encoding.parts]
    if len(had) < 2 or Modality.JOINT not in layout.slices:
        return {}
    present = np.array([[name in had and name is not left for name in ENCODED] for left in (None, *had)])
    parts = {name: np.repeat(encoding.parts[name][None].astype(np.float32), len(present), axis=0) for name in had}
    joint = (await fusion.fuse(parts, present))[:, layout.slices[Modality.JOINT]]
    lengths = np.maximum(np.linalg.norm(joint, axis=1), 1e-12)
    cosines = (joint @ joint[0]) / (lengths * lengths[0])
    return {name: float(cosine) for name, cosine in zip(had, cosines[1:], strict=True)}


def _part(
    name: Modality,
    encoding: Encoding,
    layout: Layout,
    near: Mapping[Modality, Sequence[Neighbour]],
    without: Mapping[Modality, float],
) -> Part:
    length = float(np.linalg.norm(encoding.vector[layout.slices[name]]))
    return Part(name, length, near.get(name, [])[:SHOWN], without.get(name))


def _disagreements(near: Mapping[Modality, Sequence[Neighbour]]) -> dict[tuple[Modality, Modality], float]:
    names = list(near)
    return {
        (one, other): disagreement(near[one], near[other]) for i, one in enumerate(names) for other in names[i + 1 :]
    }


def _duplicates(
    store: CatalogStore,
    layout: Layout,
    row: CatalogRow,
    near: Mapping[Modality, Sequence[Neighbour]],
    thresholds: Thresholds,
) -> list[Neighbour]:
    """Those near by words whose pictures agree, where both have one. At most COMPARED are seen."""
    close = [each for each in near.get(Modality.TERMS, ()) if each.cosine >= thresholds.words]
    rows = store.load([each.product_id for each in close])
    image = layout.slices.get(Modality.IMAGE)
    assert row.encoding is not None or not close
    found = []
    for each in close:
        other = rows[each.product_id].encoding
        if image is None or other is None or row.encoding is None:
            continue
        mine, theirs = row.encoding.vector[image], other.vector[image]
        lengths = float(np.linalg.norm(mine) * np.linalg.norm(theirs))
        if lengths == 0.0 or float(mine @ theirs) / lengths >= thresholds.picture:
            found.append(each)
    return found


def _differing(current: Encoding | None, other: Encoding) -> list[str]:
    inputs = current.inputs if current is not None else {}
    return [name.value for name in ENCODED if inputs.get(name) != other.inputs.get(name)]


def _shown(value: object) -> str:
    if isinstance(value, products.Image):
        return value.uri or f"{len(value.content):,} bytes"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {each}" for name, each in sorted(value.items()))
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
