"""Suites over published data: the split that the published figures use, the models, and what each reaches on test.

All tuning was done on validation, for TikTok also on choices hidden from train (docs/decisions/0022). Every row of a
suite is computed in the same run. Imports `models` and this room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from freshet.domain.affinity import affinity_rules
from freshet.domain.representations import Layout, Modality, Segment
from freshet.domain.scoring import RankingWeights
from freshet.evaluate import sentiment
from freshet.evaluate.datasets import Sequences, Split, flattened, read_sequences, read_user_items
from freshet.evaluate.held_out import read_held_out
from freshet.evaluate.metrics import Scores, ease, from_scores, popularity, recall_and_ndcg, tf_idf, tf_idf_rows
from freshet.evaluate.multimodal import trained_models
from freshet.evaluate.served import as_served
from freshet.ingest import hm
from freshet.representation import neighbours
from freshet.representation import preprocessing as pre
from freshet.representation.commands import RANKING
from freshet.representation.evaluation import Known, known
from freshet.representation.evaluation import scores as ranking_scores
from freshet.representation.neighbours import UNORDERED, NeighbourRules, NeighbourTables
from freshet.representation.words import text_table

Report = Callable[[str], None]
SERVED = "freshet, the service's formula"


@dataclass(frozen=True)
class Row:
    """One model and what it reached."""

    model: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Suite:
    """`question` is what it asks, in a line; `folder` the data set's name; `published` are figures from elsewhere,
    with where they stand."""

    question: str
    folder: str
    protocol: str
    published: tuple[Row, ...]
    run: Callable[[Path, Report], list[Row]]
    trained: Callable[[Path, Report, int], list[tuple[str, dict[str, float]]]] | None = None
    """Further models with what they reached, where networks are trained at random: means over so many seeds."""

    def rows(self, directory: Path, report: Report, seeds: int) -> list[Row]:
        """Every model; those that are trained at random only for `seeds` above 0."""
        rows = self.run(directory, report)
        if self.trained is not None and seeds:
            rows += [Row(model, metrics) for model, metrics in self.trained(directory, report, seeds)]
        return rows


def user_items(name: str, regularisation: float) -> Callable[[Path, Report], list[Row]]:
    def run(directory: Path, report: Report) -> list[Row]:
        valid, test = read_user_items(directory, name)
        histories = _histories(test.known)
        features = [neighbours.unit_rows(values, whiten=True) for values in test.features.values()]
        items = test.known.shape[1]
        content = np.hstack(features) / np.sqrt(len(features)) if features else np.zeros((items, 1), np.float32)
        report("fitting the neighbour tables")
        tables = neighbours.fit([each for each in histories if len(each)], items, content, UNORDERED)
        learned = [each if len(each) <= UNORDERED.longest else each[:0] for each in histories]
        report("fitting EASE")
        models: dict[str, Scores] = {
            "popularity": popularity(test.known),
            "ease": ease(test.known, regularisation),
            "freshet, what is chosen together": _scores(tables, histories, content_weight=0.0),
            "freshet, what is alike": _scores(tables, histories, behaviour_weight=0.0),
            "freshet": _scores(tables, histories),
            SERVED: as_served(learned, valid.targets, histories, content, ordered=False, report=report),
        }
        return [Row(model, _judged(scores, test, 20, "recall", report, model)) for model, scores in models.items()]

    return run


def _scores(tables: NeighbourTables, histories: Sequence[NDArray[np.int64]], **weights: float) -> Scores:
    weighed = replace(tables, rules=replace(tables.rules, **weights))  # type: ignore[arg-type]
    return lambda begin, end: weighed.scores(histories[begin:end]).astype(np.float64)


def sequences(name: str) -> Callable[[Path, Report], list[Row]]:
    def run(directory: Path, report: Report) -> list[Row]:
        data = read_sequences(directory, name)
        # What is learned from is what was there before both held-out items; the validation item is known at test time.
        learned, asked = data.history(-2), data.history(-1)
        report("fitting the neighbour tables")
        content = neighbours.unit_rows(data.attributes)
        tables = neighbours.fit(learned, data.items, content, NeighbourRules())
        test = _next_item(data, asked)
        train = _matrix(learned, data.items)
        report("fitting EASE")
        weights = ease(train, 200.0, asked=test.known)
        models: dict[str, Scores] = {
            "popularity": popularity(train),
            "ease": weights,
            "freshet": lambda begin, end: tables.scores(asked[begin:end]).astype(np.float64),
            SERVED: as_served(learned, _targets(data, -2), asked, content, ordered=True, report=report),
        }
        return [Row(model, _judged(scores, test, 10, "hr", report, model)) for model, scores in models.items()]

    return run


def hm_week(directory: Path, report: Report) -> list[Row]:
    """Words alone, and words with co-visits, by the very formula that the service ranks with."""
    data = read_held_out(directory)
    products = list(hm.read_products(directory, images=False))
    terms = tf_idf_rows(data.texts)
    report("learning word vectors")
    pairs = data.train.tocoo()
    tokens = pre.text_tokens([pre.product_text(product) for product in products])["tokens"]
    facts = pre.text_tokens([pre.facts_text(product) for product in products])["tokens"]
    users, items = pairs.row.astype(np.int32), pairs.col.astype(np.int32)
    layout = Layout("suite", (Segment(Modality.TEXT, 256), Segment(Modality.TERMS, 256)))
    table = text_table(tokens, 256, 256, 0, users, items, facts=facts)
    vectors = np.stack([table[row].sum(axis=0) for row in tokens])
    vectors[:, 256:] = neighbours.unit_rows(vectors[:, 256:])
    report("solving affinities")
    catalogue = known(layout, vectors, users, items, affinity_rules(RANKING))
    words = RankingWeights({Modality.TEXT: 1.0, Modality.TERMS: 0.0}, behaviour=0.0, trending=0.0)
    report("fitting EASE")
    models: dict[str, Scores] = {
        "popularity": popularity(data.train),
        "tf_idf": tf_idf(data.train, data.texts),
        "ease": ease(data.train),
        "content_ease": ease(data.train, 30.0, alike=10.0 * (terms @ terms.T).toarray()),
        "freshet, words alone": _ranked(catalogue, words),
        "freshet, words and affinities": _ranked(catalogue, replace(words, behaviour=RANKING["behaviour"])),
    }
    rows = []
    for model, scores in models.items():
        report(f"judging {model}")
        quality = from_scores(scores, data.targets, data.seen)
        rows.append(Row(model, {"hr_at_10": round(quality.hr_at_10, 5), "ndcg_at_10": round(quality.ndcg_at_10, 5)}))
    return rows


def _pictures(directory: Path, report: Report) -> list[Row]:
    # Loads torch, for it encodes texts by what training solves.
    from freshet.evaluate.pictures import untrained_models

    return untrained_models(directory, report)


def _trained_pictures(directory: Path, report: Report, seeds: int) -> list[tuple[str, dict[str, float]]]:
    from freshet.evaluate import pictures

    return pictures.trained_models(directory, report, seeds)


def _ranked(catalogue: Known, weights: RankingWeights) -> Scores:
    """The service's scores: every product beside what the user has in train."""
    return lambda begin, end: ranking_scores(catalogue, weights, np.arange(begin, end))


def _judged(scores: Scores, test: Split, cutoff: int, name: str, report: Report, model: str) -> dict[str, float]:
    report(f"judging {model}")
    recall, ndcg = recall_and_ndcg(scores, test.targets, test.seen, cutoff)
    return {f"{name}_at_{cutoff}": round(recall, 5), f"ndcg_at_{cutoff}": round(ndcg, 5)}


def _histories(known: Any) -> list[NDArray[np.int64]]:
    return [
        known.indices[known.indptr[user] : known.indptr[user + 1]].astype(np.int64) for user in range(known.shape[0])
    ]


def _next_item(data: Sequences, asked: Sequence[NDArray[np.int64]]) -> Split:
    known = _matrix(asked, data.items)
    return Split("test", known, known, _targets(data, -1))


def _targets(data: Sequences, cut: int) -> Any:
    return _matrix([np.array([item]) for item in data.targets(cut)], data.items)


def _matrix(histories: Sequence[NDArray[np.int64]], items: int) -> Any:
    rows, columns = flattened(histories)
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(histories), items))


def reviews(directory: Path, report: Report) -> list[Row]:
    return [Row(model, metrics) for model, metrics in sentiment.run(directory, report)]


_S3REC = "leave-one-out: the last item is found among all, what came before is left out; fitted without the last two"

SUITES: dict[str, Suite] = {
    "hm": Suite(
        "H&M: the next purchase, by modality and fusion.",
        "hm_week5core",
        "P1: fitted on train; train and valid left out of every ranking; one test purchase a user; ties count against",
        (),
        hm_week,
        trained_models,
    ),
    "pictures": Suite(
        "Pictures of one class near each other; words near theirs.",
        "grocery",
        "one catalogue of hm_week5core and grocery's val photographs is trained on; judged on what no training saw: "
        "a fifth of hm's designs, grocery's test and iconic pictures, clothing_cc0_test. Precision is of the same "
        "class by picture (grocery: at most .7), recall of the own picture or words",
        (),
        _pictures,
        _trained_pictures,
    ),
    "tiktok": Suite(
        "TikTok's products: held-out choices, DiffMM's split.",
        "diffmm_baby_tiktok",
        "fitted on trn; all items ranked for users of tst, trn left out; ties count against",
        (Row("DiffMM (published)", {"recall_at_20": 0.1129, "ndcg_at_20": 0.0456}),),
        user_items("tiktok", 100.0),
    ),
    **{
        suite: Suite(
            f"Amazon {suite.capitalize()}: the last product, S3-Rec's protocol.",
            "amazon_seq_s3rec",
            _S3REC,
            (Row("S3-Rec (published)", {"hr_at_10": hit, "ndcg_at_10": gain}),),
            sequences(name),
        )
        for suite, name, hit, gain in (
            ("beauty", "Beauty", 0.0647, 0.0327),
            ("sports", "Sports_and_Outdoors", 0.0385, 0.0204),
            ("toys", "Toys_and_Games", 0.0700, 0.0376),
        )
    },
    "sentiment": Suite("Whether a review praises or complains.", "reviews", sentiment.PROTOCOL, (), reviews),
}
