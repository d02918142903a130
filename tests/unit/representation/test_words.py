"""Word vectors: what their eigenproblem gives, whichever solver answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import linalg

from freshet.representation import words


@pytest.mark.parametrize("gives_up", [False, True])
@pytest.mark.parametrize("rank", [1, 7, 40, 100])
def test_the_highest_directions_are_found_also_where_the_quick_solver_gives_up(
    rank: int, gives_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does on some processors, for matrices of low rank: that training ended with “Internal Error” there."""
    solve = linalg.eigh

    def eigh(matrix: Any, **options: Any) -> Any:
        if gives_up and "subset_by_index" in options:
            raise linalg.LinAlgError("Internal Error.")
        return solve(matrix, **options)

    monkeypatch.setattr(words.linalg, "eigh", eigh)
    factors = np.random.default_rng(3).standard_normal((40, 8))
    matrix = factors @ np.diag(np.arange(8, 0, -1.0)) @ factors.T
    values, vectors = words._highest(matrix, rank)
    count = min(rank, 40)
    assert values.shape == (count,)
    assert vectors.shape == (40, count)
    assert (np.diff(values) >= -1e-9).all(), "ascending"
    np.testing.assert_allclose(matrix @ vectors, vectors * values, atol=1e-8)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix)[40 - count :], atol=1e-8)
