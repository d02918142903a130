"""Training on tiny catalogues, what the networks promise of their vectors, and what an exported folder is held to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from freshet.domain import scoring
from freshet.domain.affinity import AffinityRules
from freshet.domain.products import Product
from freshet.domain.representations import Layout, Modality, Segment
from freshet.errors import ConfigurationError, ModelMismatch
from freshet.representation import evaluation
from freshet.representation import manifest as card
from freshet.representation.commands import CATALOGUE, CATALOGUE_CHOICES
from freshet.representation.data import TrainingData, read_folder, training_data
from freshet.representation.export import export
from freshet.representation.manifest import Manifest
from freshet.representation.options import Sizes, TrainingOptions
from freshet.representation.preprocessing import PIXELS
from freshet.representation.train import Trained, pairs_of, train
from freshet.representation.variants import variant

LAYOUT = Layout("m", tuple(Segment(Modality(name), getattr(Sizes(), name)) for name in Modality))


def test_the_same_data_and_seed_give_the_same_model(
    shop: TrainingData, options: TrainingOptions, models: tuple[Path, Manifest], tmp_path: Path
) -> None:
    again = export(train(shop, options), shop, options, tmp_path, {"text": 1.0}, {"loss": 1.0})
    assert again.model_version == models[1].model_version
    assert again.training["data"] == models[1].training["data"]


def test_segments_but_text_are_unit_length_or_zero_and_agree_with_the_layout(trained: Trained) -> None:
    vectors = trained.vectors()
    present = trained.inputs.present.numpy().astype(bool)
    assert vectors.shape == (40, LAYOUT.dimension)
    for column, modality in enumerate(card.ENCODED):
        lengths = np.linalg.norm(vectors[:, LAYOUT.slices[modality]], axis=1)
        if modality is Modality.TEXT:
            assert ((lengths > 0.0) == present[:, column]).all()
            assert np.square(lengths).mean() == pytest.approx(1.0, rel=0.01)
            terms = np.linalg.norm(vectors[:, LAYOUT.slices[Modality.TERMS]], axis=1)
            assert np.allclose(terms, present[:, column], atol=1e-5)
        else:
            assert np.allclose(lengths, present[:, column], atol=1e-5)
    assert not present[9, 1]
    assert not present[9, 2]


def test_a_product_without_any_modality_is_all_zero(trained: Trained) -> None:
    sizes = Sizes()
    whole = trained.fusion(*(torch.randn(2, size) for size in sizes.encoded), torch.zeros(2, 4))
    assert not whole.any()
    assert not trained.text(torch.zeros(1, 160, dtype=torch.int32)).any()


def test_an_absent_modality_does_not_reach_the_joint_vector(trained: Trained) -> None:
    parts = [torch.randn(3, size) for size in Sizes().encoded]
    present = torch.tensor([[1.0, 0.0, 1.0, 0.0]]).repeat(3, 1)
    first = trained.fusion(*parts, present)
    parts[1], parts[3] = torch.randn_like(parts[1]), torch.randn_like(parts[3])
    assert torch.equal(first, trained.fusion(*parts, present))


def test_words_alone_tell_kinds_apart(trained: Trained) -> None:
    texts = trained.vectors()[:, LAYOUT.slices[Modality.TEXT]]
    kinds = np.arange(40) % 4
    alike = texts @ texts.T
    np.fill_diagonal(alike, -1.0)
    nearest = alike.argmax(axis=1)
    named = np.arange(40) != 7
    assert (kinds[nearest] == kinds)[named].mean() > 0.9


def test_two_products_without_pictures_prices_or_interactions_can_be_trained_on(tmp_path: Path) -> None:
    data = training_data([Product("a", "red coat"), Product("b", "blue boot")], [], [], tmp_path)
    vectors = train(data, TrainingOptions(epochs=1)).vectors()
    assert np.isfinite(vectors).all()
    with pytest.raises(ConfigurationError, match="at least 2"):
        training_data([Product("a", "red coat")], [], [], tmp_path)


def test_pairs_are_of_one_shopper(shop: TrainingData) -> None:
    pairs = pairs_of(shop, np.random.default_rng(0), 1_000)
    owner = dict(zip(shop.items.tolist(), shop.users.tolist(), strict=True))
    assert len(pairs) == 40
    assert all(owner[a] == owner[b] and a != b for a, b in pairs.tolist())


def test_a_folder_is_read_and_a_bad_line_is_named(tmp_path: Path) -> None:
    lines = [{"productId": "a", "title": "Coat", "price": 5}, {"productId": "b", "title": "Boot"}]
    (tmp_path / "products.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    (tmp_path / "interactions.csv").write_text("user_id,product_id,kind\nu,a,VIEW\nu,b,HIDE\nu,zzz,VIEW\n")
    data = read_folder(tmp_path)
    assert [product.product_id for product in data.products] == ["a", "b"]
    assert data.items.tolist() == [0]
    (tmp_path / "products.jsonl").write_text(json.dumps(lines[0]) + "\n{", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"products.jsonl:2: no JSON"):
        read_folder(tmp_path)


def test_an_exported_model_is_loaded_with_its_layout(models: tuple[Path, Manifest]) -> None:
    out, manifest = models
    loaded = card.load(out / "current")
    assert loaded == manifest
    assert loaded.layout.dimension == 672
    assert {path.name for path in (loaded.folder / card.TRITON).iterdir()} == {
        "text", "image", "price", "reviews", "fusion", "caption", "sentiment",
    }  # fmt: skip
    assert loaded.judges_sentiment
    assert loaded.golden()["fusion/vector"].shape[1] == 672
    assert loaded.golden()["caption/vector"].shape[1] == 64


def test_a_model_that_is_missing_cut_or_of_another_version_says_so(
    models: tuple[Path, Manifest], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="there is no model"):
        card.load(tmp_path)
    folder = tmp_path / "copy"
    shutil.copytree(models[1].folder, folder)
    network = folder / "triton/image/1/model.onnx"
    whole = network.read_bytes()
    network.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelMismatch, match=r"image/1/model.onnx is not the file"):
        card.load(folder)
    network.unlink()
    with pytest.raises(ModelMismatch, match=r"lacks triton/image/1/model.onnx"):
        card.load(folder)
    network.write_bytes(whole)
    values = json.loads((folder / card.FILE).read_text())
    (folder / card.FILE).write_text(json.dumps({**values, "format": 9}))
    with pytest.raises(ModelMismatch, match="format 9"):
        card.load(folder)
    assert values["preprocessing"]["picture_pixels"] == PIXELS
    other = {**values["preprocessing"], "picture_pixels": 2 * PIXELS}
    (folder / card.FILE).write_text(json.dumps({**values, "preprocessing": other}))
    with pytest.raises(ModelMismatch, match=f"trained with picture_pixels {2 * PIXELS}"):
        card.load(folder)
    (folder / card.FILE).write_text(json.dumps(values)[:200])
    with pytest.raises(ModelMismatch, match="cannot be read"):
        card.load(folder)


def test_eight_bits_are_refused_where_no_network_is_large(models: tuple[Path, Manifest], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="8 bits gain nothing"):
        variant(models[1].folder, tmp_path, "int8")
    assert not (tmp_path / "current").exists()


def test_a_ranking_is_judged_by_its_targets_and_ties_count_against_it() -> None:
    layout = Layout("m", (Segment(Modality.TEXT, 2),))
    vectors = np.zeros((30, 2), dtype=np.float32)
    vectors[:3] = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    users, items = np.array([0], np.int32), np.array([0], np.int32)
    catalogue = evaluation.known(layout, vectors, users, items, AffinityRules())
    weights = scoring.ranking_weights({"behaviour": 0.0, "trending": 0.0})

    def judged(target: int) -> evaluation.Quality:
        held = evaluation.Held(users, items, np.array([0], np.int32), np.array([target], np.int32))
        return evaluation.quality(catalogue, weights, held)

    assert judged(1) == evaluation.Quality(1.0, 1.0)
    assert judged(5) == evaluation.Quality(0.0, 0.0)


def test_a_shoppers_last_product_comes_first_and_one_touched_twice_stands_where_it_was_last() -> None:
    users, items = np.array([1, 0, 1, 1, 1], np.int32), np.array([2, 0, 1, 0, 2], np.int32)
    places = evaluation.latest_places(users, items, (3, 4))
    assert places.toarray().tolist() == [[1, 0, 0, 0], [2, 3, 1, 0], [0, 0, 0, 0]]
    layout = Layout("m", (Segment(Modality.TEXT, 2),))
    catalogue = evaluation.known(layout, np.zeros((4, 2), np.float32), users, items, AffinityRules(), 3)
    falling = catalogue.histories(np.array([1, 2]), 0.5).toarray()
    assert falling[0] == pytest.approx(np.array([0.5, 0.25, 1.0, 0.0]) / 1.75)
    assert not falling[1].any()
    assert catalogue.histories(np.array([1]), 1.0).toarray()[0] == pytest.approx(np.array([1, 1, 1, 0]) / 3)


@pytest.mark.parametrize("last", [True, False])
def test_whether_the_last_product_says_most_is_read_from_the_catalogues_own_choices(last: bool) -> None:
    """Each of ten kinds has four products. A shopper's next is of the last one's kind, or of the kind they had most."""
    random = np.random.default_rng(3)
    kinds, items, targets = 10, [], []
    for _ in range(400):
        most, other = random.choice(kinds, 2, replace=False)
        items += [4 * most, 4 * most + 1, 4 * other]
        targets.append(4 * other + 1 if last else 4 * most + 2)
    vectors = np.repeat(np.eye(kinds, dtype=np.float32), 4, axis=0)
    layout = Layout("m", (Segment(Modality.TERMS, kinds),))
    held = evaluation.Held(
        np.repeat(np.arange(400, dtype=np.int32), 3),
        np.array(items, np.int32),
        np.arange(400, dtype=np.int32),
        np.array(targets, np.int32),
    )
    by_words = {**CATALOGUE, "terms": 1.0, "behaviour": 0.0}
    ranking, _ = evaluation.weigh(layout, vectors, held, by_words, {"recency": CATALOGUE_CHOICES["recency"]})
    assert (ranking["recency"] < 1.0) == last


def test_the_search_takes_what_validation_prefers() -> None:
    def judge(values: dict[str, float]) -> evaluation.Quality:
        return evaluation.Quality(0.0, -abs(values["text"] - 2.0) - values["image"])

    best, reached = evaluation.search(judge, {"text": 1.0, "image": 1.0}, {"text": (0.5, 2.0, 4.0), "image": (0.0,)})  # type: ignore[arg-type]
    assert best == {"text": 2.0, "image": 0.0}
    assert reached.ndcg == 0.0
