"""Vectors of many products at once are what they are one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from freshet.domain.representations import Layout, Modality, Segment, pack, pack_all

LAYOUT = Layout("m1", (Segment(Modality.TEXT, 3), Segment(Modality.IMAGE, 1), Segment(Modality.PRICE, 2)))
VECTORS = st.lists(
    st.lists(st.floats(-1.0, 1.0, width=16) | st.just(0.0), min_size=6, max_size=6).map(
        lambda values: np.array(values, np.float32)
    ),
    max_size=5,
)


@given(VECTORS)
def test_segments_are_present_where_they_are_not_all_zero(vectors: list[np.ndarray]) -> None:
    expected = [
        sum(1 << i for i, segment in enumerate(LAYOUT.segments) if vector[LAYOUT.slices[segment.name]].any())
        for vector in vectors
    ]
    assert LAYOUT.present(vectors) == expected


@given(st.lists(VECTORS, max_size=4))
def test_packing_together_is_packing_each(groups: list[list[np.ndarray]]) -> None:
    assert pack_all(groups) == [b"".join(map(pack, group)) for group in groups]
