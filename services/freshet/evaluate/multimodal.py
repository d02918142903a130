"""What each modality, each fusion, and behaviour add on H&M's week, and how products are found that nobody has chosen.

Every seed trains the networks anew, and holds out other products. Imports `models` and this room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from freshet.domain.affinity import affinity_rules
from freshet.domain.representations import Modality
from freshet.domain.scoring import RankingWeights, ranking_weights
from freshet.evaluate.held_out import HeldOut, read_held_out
from freshet.evaluate.metrics import Quality, Scores, from_scores, mean_quality, tf_idf
from freshet.representation.commands import JUDGED, RANKING
from freshet.representation.data import TrainingData, held_out_hm, read_hm
from freshet.representation.evaluation import Held, Known, known, quality, search
from freshet.representation.evaluation import Quality as ValidQuality
from freshet.representation.evaluation import scores as ranking_scores
from freshet.representation.fusion import FUSIONS
from freshet.representation.manifest import ENCODED
from freshet.representation.options import TrainingOptions
from freshet.representation.start import Start
from freshet.representation.train import Prepared, Trained, prepared, train

SHARES = (0.01, 0.03, 0.1, 0.3)
"""What other modalities are tried to count beside the first."""
COLD = 0.2
"""Share of the products whose every interaction is held out."""
Report = Callable[[str], None]
Found = tuple[str, dict[str, float]]
NOTHING = {**{modality.value: 0.0 for modality in Modality}, "behaviour": 0.0, "trending": 0.0}


@dataclass(frozen=True)
class _Week:
    held: HeldOut
    data: TrainingData
    ready: Prepared
    valid: Held


def trained_models(directory: Path, report: Report, seeds: int) -> list[Found]:
    """Means over seeds, with the standard deviation over them where there is more than one (`…_sd`)."""
    held = read_held_out(directory)
    pairs = held.train.tocoo()
    data = replace(
        read_hm(directory),
        users=pairs.row.astype(np.int32),
        items=pairs.col.astype(np.int32),
        shoppers=held.users,
    )
    report("reading pictures")
    ready = prepared(data, TrainingOptions(seconds=1e9))
    week = _Week(held, data, ready, held_out_hm(directory, data).sample(JUDGED, 0))
    reached: dict[str, list[Quality]] = {}
    for seed in range(seeds):
        for rows in (_warm, _cold):
            for model, reached_by in rows(week, seed, lambda what, seed=seed: report(f"seed {seed}: {what}")):  # type: ignore[misc]
                reached.setdefault(model, []).append(reached_by)
    return [(model, mean_quality(qualities)) for model, qualities in reached.items()]


def _warm(week: _Week, seed: int, report: Report) -> Iterator[tuple[str, Quality]]:
    """All of train is known: modalities, fusions, and behaviour."""
    options = TrainingOptions(seed=seed, seconds=1e9)
    report("training encoders and fusion")
    trained = train(week.data, options, ready=week.ready)
    catalogue = _known(week, trained.vectors(), week.data)

    def judged(weights: RankingWeights, vectors: NDArray[np.float32] | None = None) -> Quality:
        seen = catalogue if vectors is None else replace(catalogue, vectors=vectors)
        return _quality(week, seen, weights)

    report("judging modalities")
    content = _chosen(week, catalogue, Modality.TEXT, Modality.IMAGE, Modality.PRICE, Modality.JOINT)
    yield "trained: all modalities, no behaviour", judged(content)
    yield "trained: all modalities and affinities", judged(ranking_weights(RANKING))
    yield "trained: joint alone", judged(_only(Modality.JOINT))
    for column, modality in enumerate(ENCODED):
        if bool(week.ready.inputs.present[:, column].any()):
            yield f"trained: {modality.value} alone", judged(_only(modality))
            lacking = trained.vectors(column)
            yield f"trained: all but {modality.value}, no behaviour", judged(content, lacking)
            yield f"trained: joint without {modality.value}", judged(_only(Modality.JOINT), lacking)
    base = trained.networks.state()
    for name in FUSIONS:
        report(f"training fusion {name}")
        # The same encoders for all of them, so that the fusions alone differ.
        frozen = options.model_copy(update={"fusion": name, "freeze": ("image", "price", "reviews", "caption")})
        encoders = {key: value for key, value in base.items() if not key.startswith("fusion.")}
        vectors = train(week.data, frozen, start=Start(encoders, None), ready=week.ready).vectors()
        yield f"fusion {name}: joint alone", judged(_only(Modality.JOINT), vectors)
        both = _chosen(week, replace(catalogue, vectors=vectors), Modality.TEXT, Modality.JOINT)
        yield f"fusion {name}: joint and text", judged(both, vectors)


def _cold(week: _Week, seed: int, report: Report) -> Iterator[tuple[str, Quality]]:
    """A random fifth of the products loses every interaction; then those who bought one of them look for it."""
    generator = np.random.default_rng(seed)
    products = len(week.data.products)
    cold = np.zeros(products, np.bool_)
    cold[generator.choice(products, round(COLD * products), replace=False)] = True
    left = ~cold[week.data.items]
    data = replace(week.data, users=week.data.users[left], items=week.data.items[left])
    options = TrainingOptions(seed=seed, seconds=1e9)
    report("learning without a fifth of the products")
    trained: Trained = train(data, options, ready=week.ready.learned_again(data, options))
    catalogue = _known(week, trained.vectors(), data)
    ours = ranking_weights(RANKING)
    as_others = replace(ours, untried=1.0, untried_affinity=1.0)
    new = np.flatnonzero(cold[week.held.targets])
    train_left = week.held.train @ sparse.diags((~cold).astype(np.float64))
    report("judging new products")
    yield "new products: tf_idf", _judged(week, tf_idf(train_left[new], week.held.texts), new)
    yield "new products: trained, counted like others", _quality(week, catalogue, as_others, new)
    yield "new products: trained", _quality(week, catalogue, ours, new)
    yield (
        "a fifth new, all shoppers: tf_idf",
        _judged(week, tf_idf(train_left, week.held.texts), np.arange(len(week.held.targets))),
    )
    yield "a fifth new, all shoppers: trained, counted like others", _quality(week, catalogue, as_others)
    yield "a fifth new, all shoppers: trained", _quality(week, catalogue, ours)


def _known(week: _Week, vectors: NDArray[np.float32], data: TrainingData) -> Known:
    return known(
        TrainingOptions().sizes.layout("suite"),
        vectors,
        data.users,
        data.items,
        affinity_rules(RANKING),
        len(week.held.targets),
    )


def _only(modality: Modality) -> RankingWeights:
    return ranking_weights({**NOTHING, modality.value: 1.0})


def _chosen(week: _Week, catalogue: Known, *modalities: Modality) -> RankingWeights:
    """The first counts 1, the others what is best on validation purchases, without behaviour."""

    def judge(values: Mapping[str, float]) -> ValidQuality:
        return quality(catalogue, ranking_weights(values), week.valid)

    choices = {modality.value: SHARES for modality in modalities[1:]}
    best, _ = search(judge, {**NOTHING, modalities[0].value: 1.0}, choices)
    return ranking_weights(best)


def _quality(
    week: _Week, catalogue: Known, weights: RankingWeights, users: NDArray[np.integer] | None = None
) -> Quality:
    asked = np.arange(len(week.held.targets)) if users is None else users
    return _judged(week, lambda begin, end: ranking_scores(catalogue, weights, asked[begin:end]), asked)


def _judged(week: _Week, scores: Scores, users: NDArray[np.integer]) -> Quality:
    """`scores` are of these users, in this order."""
    return from_scores(scores, week.held.targets[users], week.held.seen[users])
