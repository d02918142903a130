"""A shop's own data, in the folder that `freshet train --data` reads: what shoppers chose last, and who finds it.

Imports `models` and this room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from freshet.domain.affinity import affinity_rules
from freshet.domain.scoring import RankingWeights, ranking_weights
from freshet.errors import ConfigurationError
from freshet.evaluate.metrics import Quality, Scores, ease, from_scores, mean_quality, popularity, tf_idf, tf_idf_rows
from freshet.representation import preprocessing as pre
from freshet.representation.commands import CATALOGUE, CATALOGUE_CHOICES, weigh_trained
from freshet.representation.data import TrainingData, held_out_last, read_folder, without_targets
from freshet.representation.evaluation import Held, known
from freshet.representation.evaluation import scores as ranking_scores
from freshet.representation.options import TrainingOptions
from freshet.representation.train import train

PROTOCOL = (
    "the last product of shoppers who chose three or more, found among all that they have not chosen; everything is "
    "learned from the rest, ranking weights from the last but one; ties count against"
)
JUDGED = 10_000
"""Shoppers at most."""
SOLVED = 20_000
"""Products up to which EASE, a dense matrix over pairs of them, is among the models."""
Report = Callable[[str], None]


def run(directory: Path, report: Report, seeds: int) -> list[tuple[str, dict[str, float]]]:
    """(model, metrics) of popularity, the linear models, and what `freshet train` gives, as means over `seeds`.

    Raises ConfigurationError that names file and line, also where nobody has chosen three products.
    """
    data = read_folder(directory)
    held = held_out_last(data, JUDGED)
    if held is None:
        raise ConfigurationError(
            f"{directory}: no shopper in its interactions has chosen three products; there is nothing to judge by"
        )
    found = [(model, mean_quality([quality])) for model, quality in _linear(data, held, report).items()]
    reached: dict[str, list[Quality]] = {}
    for seed in range(seeds):
        report(f"seed {seed}: training")
        for model, quality in _trained(without_targets(data, held), held, seed).items():
            reached.setdefault(model, []).append(quality)
    return found + [(model, mean_quality(qualities)) for model, qualities in reached.items()]


def _linear(data: TrainingData, held: Held, report: Report) -> dict[str, Quality]:
    train, asked = _seen(data, held), held.target_users
    texts = [pre.product_text(product) for product in data.products]
    models: dict[str, Callable[[], Scores]] = {
        "popularity": lambda: popularity(train),
        "tf_idf": lambda: tf_idf(train[asked], texts),
    }
    if len(data.products) <= SOLVED:
        models["ease"] = lambda: ease(train, asked=train[asked])
        models["content_ease"] = lambda: ease(train, 30.0, train[asked], _alike(texts))
    found = {}
    for model, scores in models.items():
        report(f"judging {model}")
        found[model] = from_scores(scores(), held.targets, train[asked])
    return found


def _trained(data: TrainingData, held: Held, seed: int) -> dict[str, Quality]:
    """As `freshet train --data` trains: its ranking weights are looked for on choices that the networks never saw."""
    options, inner = TrainingOptions(seed=seed), held_out_last(data)
    trained = train(data if inner is None else without_targets(data, inner), options)
    ranking = CATALOGUE if inner is None else weigh_trained(trained, options, inner, CATALOGUE, CATALOGUE_CHOICES)[0]
    catalogue = known(options.sizes.layout("suite"), trained.vectors(), held.users, held.items, affinity_rules(ranking))
    seen, asked = _seen(data, held)[held.target_users], held.target_users
    whole = ranking_weights(ranking)

    def judged(weights: RankingWeights) -> Quality:
        return from_scores(lambda begin, end: ranking_scores(catalogue, weights, asked[begin:end]), held.targets, seen)

    return {
        "freshet, by content alone": judged(replace(whole, behaviour=0.0, trending=0.0)),
        "freshet": judged(whole),
    }


def _seen(data: TrainingData, held: Held) -> sparse.csr_matrix:
    """What is known of every shopper, (shoppers, products)."""
    shape = (len(data.shoppers), len(data.products))
    return sparse.csr_matrix((np.ones(len(held.users)), (held.users, held.items)), shape)


def _alike(texts: list[str]) -> NDArray[np.float64]:
    terms = tf_idf_rows(texts)
    alike: NDArray[np.float64] = 10.0 * (terms @ terms.T).toarray()
    return alike
