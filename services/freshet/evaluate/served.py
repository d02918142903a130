"""Sets of choices ranked by the very formula of the service: affinities by shoppers and by words, and recency.

Its weights are looked for on validation choices, as `freshet train` looks for them on a catalogue's own. NumPy and
SciPy; no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from freshet.domain.affinity import affinity_rules
from freshet.domain.representations import Layout, Modality, Segment
from freshet.domain.scoring import ranking_weights
from freshet.evaluate.datasets import flattened
from freshet.evaluate.metrics import Scores
from freshet.representation import evaluation
from freshet.representation.commands import CATALOGUE, CATALOGUE_CHOICES
from freshet.representation.evaluation import Held
from freshet.representation.neighbours import unit_rows

_SIZE = 256
"""Of the segment of terms, as models have it: wider content is projected at random, as words are."""
_JUDGED = 3_000
_LAYOUT = Layout("suite", (Segment(Modality.TERMS, _SIZE),))


def as_served(
    learned: Sequence[NDArray[np.int64]],
    valid: Any,
    asked: Sequence[NDArray[np.int64]],
    content: Any,
    *,
    ordered: bool,
    report: Callable[[str], None],
) -> Scores:
    """Scores for the histories `asked`, from the histories `learned`.

    `content`: unit rows (items, features) stand for words. Weights are looked for by the choices `valid`, sparse
    (users, items). Where histories have no order, none is looked for.
    """
    report("weighing the service's formula")
    terms = _terms(content)
    names = ("sharpness", "recency", "trending") if ordered else ("sharpness", "trending")
    choices = {name: CATALOGUE_CHOICES[name] for name in names}
    wanted = valid.tocoo()
    held = Held(*flattened(learned), wanted.row.astype(np.int32), wanted.col.astype(np.int32))
    ranking, _ = evaluation.weigh(_LAYOUT, terms, held.sample(_JUDGED, 0), CATALOGUE, choices)
    catalogue = evaluation.known(_LAYOUT, terms, held.users, held.items, affinity_rules(ranking), len(asked))
    places = evaluation.latest_places(*flattened(asked), (len(asked), len(terms)))
    catalogue, weights = replace(catalogue, places=places), ranking_weights(ranking)
    return lambda begin, end: evaluation.scores(catalogue, weights, np.arange(begin, end))


def _terms(content: Any) -> NDArray[np.float32]:
    """Content as the segment of terms holds it, (items, _SIZE)."""
    width = content.shape[1]
    if width > _SIZE:
        directions = np.random.default_rng(0).standard_normal((width, _SIZE), np.float32) / np.float32(_SIZE**0.5)
        content = unit_rows(np.asarray(content @ directions, np.float32))
    elif sparse.issparse(content):
        content = content.toarray()
    found: NDArray[np.float32] = np.pad(np.asarray(content, np.float32), ((0, 0), (0, max(0, _SIZE - width))))
    return found
