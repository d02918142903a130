"""The rows of trained models: every modality, every fusion, and products that nobody has chosen."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freshet.domain.affinity import AffinityRules
from freshet.domain.representations import Layout, Modality, Segment
from freshet.domain.scoring import RankingWeights
from freshet.evaluate.commands import _shown
from freshet.evaluate.multimodal import trained_models
from freshet.evaluate.suites import Row, Suite
from freshet.representation import evaluation
from freshet.representation.fusion import FUSIONS

KINDS = ("coat", "scarf", "boot", "hat")


@pytest.fixture
def week(tmp_path: Path) -> Path:
    """Twenty articles of four kinds, and twelve shoppers who each buy of one kind."""
    articles = tmp_path / "articles.csv"
    with articles.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["article_id", "prod_name", "product_type_name", "colour_group_name", "detail_desc"])
        for i in range(20):
            rows.writerow([f"{i + 1:010}", f"{KINDS[i % 4]} {i}", KINDS[i % 4], "Black", f"a {KINDS[i % 4]}"])
    (tmp_path / "images").mkdir()
    for i in range(19):
        picture = Image.new("RGB", (20, 30), (60 * (i % 4), 10 * i, 90))
        picture.save(tmp_path / "images" / f"{i + 1:010}.jpg")
    lines = ["t_dat,customer_id,article_id,price,sales_channel_id,split"]
    for user in range(12):
        splits = ("train", "train", "train", "valid", "test")
        lines += [
            f"2020-09-2{n},u{user},{4 * ((user + n) % 5) + user % 4 + 1:010},0.0{n + 1},2,{split}"
            for n, split in enumerate(splits)
        ]
    content = io.BytesIO()
    with gzip.GzipFile(fileobj=content, mode="wb") as file:
        file.write("\n".join(lines).encode())
    (tmp_path / "purchases_split.csv.gz").write_bytes(content.getvalue())
    return tmp_path


def test_every_modality_and_fusion_has_a_row_with_its_spread_over_seeds(week: Path) -> None:
    found = dict(trained_models(week, lambda _: None, seeds=2))
    for name in FUSIONS:
        assert {f"fusion {name}: joint alone", f"fusion {name}: joint and text"} <= found.keys()
    for name in ("text", "image", "price"):
        assert {
            f"trained: {name} alone",
            f"trained: all but {name}, no behaviour",
            f"trained: joint without {name}",
        } <= found.keys()
    assert "trained: reviews alone" not in found, "nobody reviewed anything"
    assert {"new products: tf_idf", "new products: trained", "a fifth new, all shoppers: trained"} <= found.keys()
    for metrics in found.values():
        assert metrics.keys() == {"hr_at_10", "ndcg_at_10", "hr_at_10_sd", "ndcg_at_10_sd"}
        assert 0.0 <= metrics["ndcg_at_10"] <= metrics["hr_at_10"] <= 1.0
    # Ten of twenty products are always shown; a kind's words, and its pictures' colour, lead to the last of it, which a
    # price says nothing of.
    for told in ("text alone", "all modalities, no behaviour"):
        assert found[f"trained: {told}"]["ndcg_at_10"] > found["trained: price alone"]["ndcg_at_10"] + 0.2


def test_seeds_are_for_models_that_are_trained() -> None:
    asked: list[int] = []

    def trained(_: Path, __: object, seeds: int) -> list[tuple[str, dict[str, float]]]:
        asked.append(seeds)
        return [("trained", {"hr_at_10": 0.5, "hr_at_10_sd": 0.25})]

    suite = Suite("", "folder", "", (), lambda _, __: [Row("linear", {"hr_at_10": 0.25})], trained)
    assert [row.model for row in suite.rows(Path(), lambda _: None, 0)] == ["linear"]
    rows = suite.rows(Path(), lambda _: None, 4)
    assert [_shown(row.metrics, "hr_at_10") for row in rows] == ["0.2500", "0.5000 ± 0.2500"]
    assert asked == [4]


def test_weights_of_untried_products_move_no_product_that_was_chosen() -> None:
    layout = Layout("m", (Segment(Modality.TEXT, 2), Segment(Modality.TERMS, 2)))
    half = np.sqrt(0.5, dtype=np.float32)
    vectors = np.array([[1, 0, 1, 0], [half, half, half, half], [half, half, half, half], [0, 1, 0, 1]], np.float32)
    users, items = np.array([0, 0, 1], np.int32), np.array([0, 1, 1], np.int32)
    catalogue = evaluation.known(layout, vectors, users, items, AffinityRules(words=2.0, ridge=1.0), people=3)
    assert catalogue.tried.tolist() == [True, True, False, False]
    weights = RankingWeights({Modality.TEXT: 1.0, Modality.TERMS: 0.0}, trending=0.0)
    plain = evaluation.scores(catalogue, weights, np.array([0, 2]))
    more = RankingWeights(weights.modalities, trending=0.0, untried=3.0, untried_affinity=3.0)
    moved = evaluation.scores(catalogue, more, np.array([0, 2]))
    assert np.array_equal(moved[:, :2], plain[:, :2])
    assert np.allclose(moved[0, 2:], 3.0 * plain[0, 2:])
    assert not plain[1].any(), "who has no history is known, and wants nothing in particular"
