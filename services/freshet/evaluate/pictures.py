"""The suite `pictures`: what is on a picture, found by other pictures and by words.

One model is trained as the service's is, on a catalogue of H&M's products and of grocery photographs. Judged is what
it never saw: the pictures of a fifth of H&M's designs, other photographs of groceries, their iconic pictures, and
photographs of clothes from elsewhere. Imports `models` and this room; loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from freshet.domain.products import Product
from freshet.domain.representations import Matrix
from freshet.evaluate.photos import Photos, read_clothing, read_grocery
from freshet.evaluate.suites import Report, Row
from freshet.representation import preprocessing as pre
from freshet.representation.data import TrainingData, read_hm
from freshet.representation.encoders.image import IMAGE
from freshet.representation.options import TrainingOptions
from freshet.representation.tensors import unit
from freshet.representation.train import Trained, prepared, train

ENCODERS = ("cnn", "vit")
HELD_OUT = 20
"""Per cent of H&M's designs whose pictures no training sees."""
SHOPPERS = 20
"""Made-up shoppers of each kind of grocery: a ninth of all pairs are theirs."""
BEST = 10
RIDGE = 1.0
Encode = Callable[[Sequence[str]], Matrix]


@dataclass(frozen=True)
class Gallery:
    """Pictures uint8 (n, 64, 64, 3), what is on them, and the texts that belong to them where there are any."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class Judged:
    """`known` has the products trained on; the others are never seen in training."""

    data: TrainingData
    known: Gallery
    held_out: Gallery
    iconic: Gallery
    grocery: Gallery
    clothing: Gallery


def read(directory: Path) -> Judged:
    """`directory` is the grocery set; the others lie beside it. Raises ConfigurationError."""
    grocery = read_grocery(directory)
    clothing = read_clothing(directory.parent / "clothing_cc0_test")
    hm = read_hm(directory.parent / "hm_week5core")
    away = np.array([held_out(product) for product in hm.products])
    _, kinds = np.unique([(product.categories or ("",))[-1] for product in hm.products], return_inverse=True)
    shown = np.array([picture is not None for picture in hm.pictures])
    data = with_photos(hm, away, grocery.kinds, grocery.val)
    has_picture = [i for i, picture in enumerate(data.pictures) if picture is not None]
    hidden = np.flatnonzero(away & shown)
    texts = [pre.product_text(product) for product in data.products]
    labels = np.concatenate([kinds, len(kinds) + grocery.val.labels])
    return Judged(
        data,
        Gallery(_pixels([data.pictures[i] for i in has_picture]), labels[has_picture], _at(texts, has_picture)),
        Gallery(_pixels([hm.pictures[i] for i in hidden.tolist()]), kinds[hidden], _at(texts, hidden.tolist())),
        Gallery(
            _pixels(grocery.iconic), np.arange(len(grocery.kinds)), [pre.product_text(kind) for kind in grocery.kinds]
        ),
        Gallery(_pixels(grocery.test.contents), grocery.test.labels),
        Gallery(_pixels(clothing.contents), clothing.labels),
    )


def held_out(product: Product) -> bool:
    """By the design: its colours are on one side together."""
    design = product.attributes.get("product_code", product.product_id)
    return crc32(design.encode()) % 100 < HELD_OUT


def with_photos(hm: TrainingData, away: NDArray[np.bool_], kinds: Sequence[Product], photos: Photos) -> TrainingData:
    """One catalogue: H&M's products, without the pictures of those `away`, and each photograph as a product."""
    products = [replace(kinds[label], product_id=f"photo-{i}") for i, label in enumerate(photos.labels.tolist())]
    shopper = photos.labels[:, None] * SHOPPERS + np.arange(SHOPPERS)[None]
    users = int(hm.users.max(initial=-1)) + 1 + shopper.ravel()
    items = len(hm.products) + np.repeat(np.arange(len(products)), SHOPPERS)
    return replace(
        hm,
        products=[*hm.products, *products],
        pictures=[None if hidden else picture for picture, hidden in zip(hm.pictures, away, strict=True)]
        + list(photos.contents),
        users=np.concatenate([hm.users, users]).astype(np.int32),
        items=np.concatenate([hm.items, items]).astype(np.int32),
        shoppers=(),
    )


def untrained_models(directory: Path, report: Report, encoders: Sequence[str] = ENCODERS) -> list[Row]:
    """What learned nothing from pictures. Its map from words to pictures is the best linear one, of known products."""
    report("reading pictures")
    judged = read(directory)
    options = TrainingOptions(epochs=0)
    reader = by_words(train(judged.data, options))
    report("judging what is untrained")
    rows = [Row("colour histogram", measure(judged, histograms, reader))]
    for encoder in encoders:
        torch.manual_seed(0)
        network = IMAGE[encoder](options.sizes.image).eval()
        rows.append(Row(f"{encoder}, untrained", measure(judged, by_network(network), reader)))
    return rows


def trained_models(
    directory: Path, report: Report, seeds: int, encoders: Sequence[str] = ENCODERS, epochs: int = 0
) -> list[tuple[str, dict[str, float]]]:
    """Means over seeds, with the standard deviation over them where there is more than one (`…_sd`).

    `epochs`: 0 means as many as `freshet train`.
    """
    report("reading pictures")
    judged = read(directory)
    usual = TrainingOptions(seconds=3_600.0)
    ready = prepared(judged.data, usual)
    found = []
    for encoder in encoders:
        reached = []
        for seed in range(seeds):
            what = f"{encoder}, seed {seed}"
            trained = train(
                judged.data,
                usual.model_copy(update={"seed": seed, "image": encoder, "epochs": epochs or usual.epochs}),
                lambda stage, share, what=what: report(f"training {what}: {stage} {share:.0%}"),  # type: ignore[misc]
                ready=ready,
            )
            report(f"judging {what}")
            reached.append(measure(judged, by_network(trained.image), by_words(trained), by_captions(trained)))
        found.append((encoder, over_seeds(reached)))
    return found


def measure(
    judged: Judged,
    encode: Callable[[NDArray[np.uint8]], Matrix],
    read_words: Encode,
    caption: Callable[[Matrix], Matrix] | None = None,
) -> dict[str, float]:
    """Without a `caption` from texts to pictures, one is fitted on the known products."""
    if caption is None:
        caption = ridge(read_words(judged.known.texts), encode(judged.known.pixels))
    metrics = {
        f"{name}_precision_at_10": precision(encode(gallery.pixels), gallery.labels)
        for name, gallery in (("grocery", judged.grocery), ("clothing", judged.clothing), ("hm", judged.held_out))
    }
    for name, gallery in (("iconic", judged.iconic), ("hm", judged.held_out)):
        pictures, words = encode(gallery.pixels), caption(read_words(gallery.texts))
        metrics[f"{name}_words_to_picture_recall_at_10"] = recall(words, pictures)
        metrics[f"{name}_picture_to_words_recall_at_10"] = recall(pictures, words)
    return {name: round(value, 5) for name, value in metrics.items()}


def precision(vectors: Matrix, labels: NDArray[np.int64], best: int = BEST) -> float:
    """Mean share of the same label among each picture's nearest others. Ties count against."""
    alike = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(alike, -np.inf)
    same = labels[:, None] == labels[None]
    order = np.lexsort((same, -alike))[:, :best]
    return float(np.take_along_axis(same, order, axis=1).mean())


def recall(asked: Matrix, found: Matrix, best: int = BEST) -> float:
    """Share of rows of `asked` whose own row of `found` is among the nearest. What is equally near counts as nearer."""
    alike = (asked @ found.T).astype(np.float64)
    return float(((alike >= alike.diagonal()[:, None]).sum(axis=1) <= best).mean())


def over_seeds(reached: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means, and standard deviations where there is more than one."""
    values = {name: [metrics[name] for metrics in reached] for name in reached[0]}
    found = {name: round(float(np.mean(each)), 5) for name, each in values.items()}
    if len(reached) > 1:
        found |= {f"{name}_sd": round(float(np.std(each, ddof=1)), 5) for name, each in values.items()}
    return found


def histograms(pixels: NDArray[np.uint8]) -> Matrix:
    """Roots of colour histograms of 4 × 4 × 4 bins: their inner product is the Bhattacharyya coefficient."""
    bins = (pixels // 64).reshape(len(pixels), -1, 3).astype(np.int64) @ np.array([16, 4, 1])
    counts = np.stack([np.bincount(row, minlength=64) for row in bins])
    roots: Matrix = np.sqrt(counts / bins.shape[1]).astype(np.float32)
    return roots


def by_network(network: torch.nn.Module) -> Callable[[NDArray[np.uint8]], Matrix]:
    def encode(pixels: NDArray[np.uint8]) -> Matrix:
        with torch.no_grad():
            chunks = [network(torch.from_numpy(pixels[i : i + 256])) for i in range(0, len(pixels), 256)]
        vectors: Matrix = torch.cat(chunks).numpy()
        return vectors

    return encode


def by_words(trained: Trained) -> Encode:
    """The learned part of texts, unit length."""

    def encode(texts: Sequence[str]) -> Matrix:
        found = trained.text.encode(trained.text.reader(texts)["tokens"])
        vectors: Matrix = unit(found[:, : trained.caption.in_features]).numpy()
        return vectors

    return encode


def by_captions(trained: Trained) -> Callable[[Matrix], Matrix]:
    def caption(texts: Matrix) -> Matrix:
        with torch.no_grad():
            vectors: Matrix = unit(trained.caption(torch.from_numpy(texts))).numpy()
        return vectors

    return caption


def ridge(texts: Matrix, pictures: Matrix) -> Callable[[Matrix], Matrix]:
    """Ridge regression from texts (n, text) to pictures (n, image), with an intercept; gives unit vectors."""
    usual_text, usual_picture = texts.mean(axis=0), pictures.mean(axis=0)
    centred = texts - usual_text
    gram = centred.T @ centred + RIDGE * np.eye(texts.shape[1], dtype=np.float32)
    weights = np.linalg.solve(gram, centred.T @ (pictures - usual_picture))

    def caption(asked: Matrix) -> Matrix:
        found: Matrix = (asked - usual_text) @ weights + usual_picture
        unit_rows: Matrix = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return unit_rows

    return caption


def _pixels(contents: Sequence[bytes | None]) -> NDArray[np.uint8]:
    return pre.image_pixels([content or b"" for content in contents])["pixels"]


def _at(values: Sequence[str], places: Sequence[int]) -> list[str]:
    return [values[place] for place in places]
