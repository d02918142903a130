"""The suite `pictures`: its measures by hand, what it keeps from training, and one run over tiny data sets."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freshet.domain.products import Product
from freshet.errors import ConfigurationError
from freshet.evaluate import pictures
from freshet.evaluate.photos import read_clothing, read_grocery

COLOURS = {"Red-Apple": (220, 20, 30), "Green-Pear": (40, 200, 60), "Blue-Plum": (40, 50, 210)}


def picture(colour: tuple[int, ...], seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(-20, 20, (70, 60, 3))
    file = io.BytesIO()
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(file, "JPEG")
    return file.getvalue()


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def data_sets(folder: Path) -> Path:
    """All three in their layouts; gives the grocery one's folder."""
    grocery = folder / "grocery"
    rows = []
    for label, (name, colour) in enumerate(COLOURS.items()):
        write(grocery / f"iconic/{name}.jpg", picture(colour, label))
        write(grocery / f"iconic/{name}.txt", f"A {name.lower()} from the orchard.\n")
        rows.append([name, label, name.split("-")[1], label, f"/iconic/{name}.jpg", f"/iconic/{name}.txt"])
        for split in ("val", "test"):
            for i in range(4):
                write(
                    grocery / f"{split}/{name}/{i}.jpg",
                    picture(colour, 10 * label + i + (100 if split == "val" else 0)),
                )
        write(folder / f"clothing_cc0_test/{name}/a.jpg", picture(colour, 50 + label))
        write(folder / f"clothing_cc0_test/{name}/b.jpg", picture(colour, 60 + label))
    for split in ("val", "test"):
        lines = [f"{split}/{name}/{i}.jpg, {label}, {label}" for label, name in enumerate(COLOURS) for i in range(5)]
        write(grocery / f"{split}.txt", "\n".join(lines))
    with (grocery / "classes.csv").open("w", newline="") as file:
        heads = ("Class Name (str)", "Class ID (int)", "Coarse Class Name (str)", "Coarse Class ID (int)")
        csv.writer(file).writerows([[*heads, "Iconic Image Path (str)", "Product Description Path (str)"], *rows])
    clothes(folder / "hm_week5core")
    return grocery


def clothes(folder: Path) -> None:
    articles, purchases = [], ["t_dat,customer_id,article_id,price,sales_channel_id,split"]
    for i in range(60):
        article, kind = f"{1000 + i:07d}001", ("Coat", "Hat", "Boot")[i % 3]
        write(folder / f"images/{article}.jpg", picture(list(COLOURS.values())[i % 3], 200 + i))
        articles.append([article, str(1000 + i), f"{kind} {i}", kind, f"A {kind.lower()}."])
        purchases += [f"2020-09-16,c{i % 6},{article},0.02,1,train", f"2020-09-16,c{i % 3},{article},0.02,1,test"]
    with (folder / "articles.csv").open("w", newline="") as file:
        heads = ["article_id", "product_code", "prod_name", "product_type_name", "detail_desc"]
        csv.writer(file).writerows([heads, *articles])
    with gzip.open(folder / "purchases_split.csv.gz", "wt") as packed:
        packed.write("\n".join(purchases))


def test_precision_and_recall_by_hand_count_ties_against() -> None:
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.float32)
    # The first two are equally near to one of their class and to one of the other.
    assert pictures.precision(vectors, np.array([0, 0, 1, 1]), best=1) == 0.0
    assert pictures.precision(vectors, np.array([0, 0, 0, 1]), best=2) == pytest.approx(0.75)
    asked = np.eye(3, dtype=np.float32)
    assert pictures.recall(asked, asked, best=1) == 1.0
    assert pictures.recall(asked, np.ones((3, 3), np.float32), best=2) == 0.0


def test_seeds_are_summed_up_by_mean_and_spread() -> None:
    assert pictures.over_seeds([{"p": 0.25}, {"p": 0.5}, {"p": 0.75}]) == {"p": 0.5, "p_sd": 0.25}
    assert pictures.over_seeds([{"p": 0.25}]) == {"p": 0.25}


def test_ridge_maps_texts_to_pictures_that_depend_on_them() -> None:
    generator = np.random.default_rng(0)
    texts = generator.normal(size=(400, 6)).astype(np.float32)
    shown = texts @ generator.normal(size=(6, 4)).astype(np.float32) + 0.5
    found = pictures.ridge(texts, shown)(texts)
    cosines = (found * shown).sum(axis=1) / np.linalg.norm(shown, axis=1)
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    assert cosines.min() > 0.99


def test_colours_of_a_design_stay_on_one_side() -> None:
    variants = [Product(f"{i:03d}", attributes={"product_code": "0123456"}) for i in range(30)]
    assert len({pictures.held_out(variant) for variant in variants}) == 1
    share = np.mean([pictures.held_out(Product(str(i))) for i in range(3_000)])
    assert share == pytest.approx(pictures.HELD_OUT / 100, abs=0.03)


def test_no_training_sees_a_picture_that_is_judged(tmp_path: Path) -> None:
    judged = pictures.read(data_sets(tmp_path))
    trained = {image.tobytes() for image in judged.known.pixels}
    for gallery in (judged.held_out, judged.iconic, judged.grocery, judged.clothing):
        assert len(gallery.pixels) == len(gallery.labels) > 0
        assert not trained & {image.tobytes() for image in gallery.pixels}
    hidden = sum(content is None for content in judged.data.pictures)
    assert hidden == len(judged.held_out.pixels)
    assert len(trained) == 60 - hidden + 12
    assert judged.iconic.texts[0] == "Red Apple . Apple . A red-apple from the orchard."


def test_what_learned_nothing_is_judged_without_any_training(tmp_path: Path) -> None:
    rows = {row.model: row.metrics for row in pictures.untrained_models(data_sets(tmp_path), lambda _: None)}
    assert list(rows) == ["colour histogram", "cnn, untrained", "vit, untrained"]
    assert len({tuple(metrics) for metrics in rows.values()}) == 1
    assert all(0.0 <= value <= 1.0 for metrics in rows.values() for value in metrics.values())
    # Three others of the same kind, nine to choose from: all that can be found.
    assert rows["colour histogram"]["grocery_precision_at_10"] == pytest.approx(0.3)


def test_as_many_seeds_are_trained_as_asked_for_and_learn_what_colours_show(tmp_path: Path) -> None:
    said: list[str] = []
    folder = data_sets(tmp_path)
    ((model, metrics),) = pictures.trained_models(folder, said.append, 2, encoders=("cnn",), epochs=1)
    assert model == "cnn"
    assert metrics["grocery_precision_at_10"] == pytest.approx(0.3)
    assert metrics["iconic_words_to_picture_recall_at_10"] == 1.0
    assert {name for name in metrics if name.endswith("_sd")} == {
        f"{name}_sd" for name in metrics if not name.endswith("_sd")
    }
    assert [each for each in said if each.startswith("judging")] == ["judging cnn, seed 0", "judging cnn, seed 1"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"classes\.csv is missing"):
        read_grocery(tmp_path)
    with pytest.raises(ConfigurationError, match="no folder of photographs"):
        read_clothing(tmp_path)
    grocery = data_sets(tmp_path)
    write(grocery / "val.txt", "val/x.jpg, red, 0")
    with pytest.raises(ConfigurationError, match=r"val\.txt, line 1"):
        read_grocery(grocery)
