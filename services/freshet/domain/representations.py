"""Product vectors: their layout in named segments, and how a vector is assembled. NumPy only; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float32]
"""One product's whole vector, shape (dimension,)."""
Matrix: TypeAlias = NDArray[np.float32]
"""Vectors of several products, shape (products, dimension)."""


class Modality(StrEnum):
    """The segments a content vector can have.

    `TEXT` is what the words say, as learned from shoppers; `TERMS` the words themselves, so that an inner product is
    the TF-IDF cosine; `JOINT` the learned fusion of all the others.
    """

    TEXT = "text"
    IMAGE = "image"
    PRICE = "price"
    REVIEWS = "reviews"
    JOINT = "joint"
    TERMS = "terms"


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of a vector's dimensions that one encoder fills."""

    name: Modality
    size: int


@dataclass(frozen=True)
class Layout:
    """Which segments a model's vectors have, in order. Travels with the model as part of model.json."""

    model_version: str
    segments: tuple[Segment, ...]

    @cached_property
    def dimension(self) -> int:
        return sum(segment.size for segment in self.segments)

    @cached_property
    def searched(self) -> int:
        """How many leading dimensions an index holds: terms, where they stand at the end, speak in affinities alone."""
        last = self.segments[-1]
        return self.dimension - (last.size if last.name is Modality.TERMS else 0)

    @cached_property
    def slices(self) -> dict[Modality, slice]:
        slices, start = {}, 0
        for segment in self.segments:
            slices[segment.name] = slice(start, start + segment.size)
            start += segment.size
        return slices

    @cached_property
    def starts(self) -> NDArray[np.intp]:
        """First dimension of each segment, shape (segments,): what `np.add.reduceat` takes."""
        return np.array([self.slices[segment.name].start for segment in self.segments], dtype=np.intp)

    @cached_property
    def owners(self) -> NDArray[np.intp]:
        """For each dimension the index of its segment, shape (dimension,)."""
        return np.repeat(np.arange(len(self.segments)), [segment.size for segment in self.segments])

    def assemble(self, parts: Mapping[Modality, Vector]) -> Vector:
        """One product's vector from its segments: each L2-normalised, all zero where the modality is absent.

        Raises ValueError when a part has another size than its segment.
        """
        vector = np.zeros(self.dimension, dtype=np.float32)
        for name, part in parts.items():
            norm = float(np.linalg.norm(part))
            if norm > 0.0:
                vector[self.slices[name]] = part / norm
        return vector

    def present(self, vectors: Sequence[Vector]) -> list[int]:
        """Of each vector a bit per segment, the first is bit 0: set where the segment is not all zero."""
        if not vectors:
            return []
        filled = np.logical_or.reduceat(np.stack(vectors) != 0.0, self.starts, axis=1)
        bits: list[int] = (filled @ (1 << np.arange(len(self.segments)))).tolist()
        return bits

    def weighted(self, vectors: Matrix, weights: Mapping[Modality, float]) -> Matrix:
        """Queries whose inner product with a product's vector is the weighted sum of the segments' similarities."""
        scale = np.array([weights.get(segment.name, 1.0) for segment in self.segments], dtype=np.float32)
        return vectors * scale[self.owners]


def used_dimensions(queries: Matrix) -> int:
    """How many leading dimensions these queries read: what weighs nothing at the end stays unread."""
    return int(np.flatnonzero(queries.any(axis=0)).max(initial=-1)) + 1


def pack(vector: Vector) -> bytes:
    """Little-endian float16: how vectors are stored and sent."""
    return vector.astype("<f2").tobytes()


def pack_all(groups: Sequence[Sequence[Vector]]) -> list[bytes]:
    """Of each group its vectors one after the other, as `pack` writes them; converted together."""
    listed = [vector for group in groups for vector in group]
    if not listed:
        return [b""] * len(groups)
    data = np.concatenate(listed).astype("<f2").tobytes()
    packed, start = [], 0
    for group in groups:
        end = start + 2 * sum(map(len, group))
        packed.append(data[start:end])
        start = end
    return packed


def unpack(data: bytes) -> Vector:
    """The inverse of `pack`, as float32."""
    return np.frombuffer(data, dtype="<f2").astype(np.float32)
