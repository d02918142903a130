"""A real Triton serving a freshly trained model: it answers as torch does, and the canary tells when it does not."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
import torch
from installed import require

from freshet.adapters.triton import TritonEncoders
from freshet.domain.products import Product
from freshet.domain.representations import Modality
from freshet.errors import ConfigurationError, DependencyDown, ModelMismatch
from freshet.local.ports import choose
from freshet.local.single import running
from freshet.local.triton import temporary_triton, triton_component
from freshet.representation import preprocessing as pre
from freshet.representation.data import training_data
from freshet.representation.encoders.minilm import text_folder
from freshet.representation.export import export
from freshet.representation.manifest import Manifest
from freshet.representation.opinions import opinion_inputs
from freshet.representation.options import TrainingOptions
from freshet.representation.train import Trained, train
from freshet.representation.variants import run, variant
from freshet.stream.canary import TrustedEncoders


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Manifest]:
    out = tmp_path_factory.mktemp("models")
    products = [Product(f"p{i}", f"product {i} of kind {i % 3}", price=1.0 + i) for i in range(30)]
    data = training_data(products, [(f"u{i % 3}", f"p{i}") for i in range(30)], [], out)
    options = TrainingOptions(epochs=1)
    trained = train(data, options)
    return trained, export(trained, data, options, out, {}, {})


@pytest.fixture(scope="module")
def url(model: tuple[Trained, Manifest]) -> Iterator[str]:
    require("triton")
    with temporary_triton(model[1].folder / "triton") as address:
        yield address


async def test_triton_answers_as_torch_does(model: tuple[Trained, Manifest], url: str) -> None:
    trained, manifest = model
    generator = np.random.default_rng(0)
    texts = pre.text_tokens(["product 3", "", "Красное 赤い", "word " * 50_000])
    pixels = {"pixels": generator.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)}
    price = pre.price_features([0.0, 1e12, 5.0], [()] * 3, manifest.typical_prices)
    ratings = {
        "ratings": generator.random((2, 7), dtype=np.float32),
        "text": generator.random((2, 256), dtype=np.float32),
    }
    encoders = TritonEncoders(url, manifest)
    try:
        await encoders.canary()
        for modality, network, inputs in (
            (Modality.TEXT, trained.text, texts),
            (Modality.IMAGE, trained.image, pixels),
            (Modality.PRICE, trained.price, price),
            (Modality.REVIEWS, trained.reviews, ratings),
        ):
            answered = await encoders.encode(modality, inputs)  # type: ignore[arg-type]
            expected = network(*(torch.from_numpy(value) for value in inputs.values())).numpy()
            assert answered.dtype == np.float32
            assert np.allclose(answered, expected, atol=1e-4), modality
        learned = trained.text(torch.from_numpy(texts["tokens"]))[:, : trained.text.size]
        captions = await encoders.caption(learned.numpy())
        expected = trained.caption(learned)
        expected = (expected / expected.norm(dim=1, keepdim=True).clamp_min(1e-6)).numpy()
        assert np.allclose(captions, expected, atol=1e-4)
        assert not captions[1].any()
        opinions = opinion_inputs(["love it", "broke at once", "", "とても良い", "word " * 50_000])
        judged = await encoders.sentiment(opinions)
        expected = trained.sentiment(*(torch.from_numpy(value) for value in opinions.values())).numpy()
        assert judged is not None
        assert judged.shape == (5,)
        assert np.allclose(judged, expected[:, 0], atol=1e-5)
        assert judged[0] > 0.7 > 0.3 > judged[1]
        parts = {
            Modality(name): generator.standard_normal((5, manifest.encoded_size(Modality(name)))).astype(np.float32)
            for name in ("text", "image", "price")
        }
        present = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=bool)
        whole = await encoders.fuse(parts, present)
        expected = trained.fusion(
            *(torch.from_numpy(part) for part in parts.values()),
            torch.zeros(5, 16),
            torch.from_numpy(present.astype(np.float32)),
        ).numpy()
        assert np.allclose(whole, expected, atol=1e-4)
        for row in range(5):
            kept = {name: part[row] for i, (name, part) in enumerate(parts.items()) if present[row, i]}
            text = kept.pop(Modality.TEXT, np.zeros(512, np.float32))
            kept |= {Modality.TERMS: text[256:], Modality.JOINT: whole[row, manifest.layout.slices[Modality.JOINT]]}
            expected_row = manifest.layout.assemble(kept)
            # What was learned of the words keeps its length; all else has the length one.
            expected_row[manifest.layout.slices[Modality.TEXT]] = text[:256]
            assert np.allclose(expected_row, whole[row], atol=1e-5)
        assert not whole[4].any()
    finally:
        await encoders.close()


async def test_more_rows_than_a_batch_holds_come_back_in_order(model: tuple[Trained, Manifest], url: str) -> None:
    encoders = TritonEncoders(url, model[1])
    try:
        texts = pre.text_tokens([f"product {i % 30}" for i in range(700)])
        vectors = await encoders.encode(Modality.TEXT, texts)
        assert vectors.shape == (700, 512)
        assert np.allclose(vectors, vectors[:30][np.arange(700) % 30], atol=1e-6)
        assert (await encoders.encode(Modality.TEXT, pre.text_tokens([]))).shape == (0, 512)
    finally:
        await encoders.close()


async def test_a_server_with_another_model_is_told_by_the_canary(
    model: tuple[Trained, Manifest], url: str, tmp_path: Path
) -> None:
    golden = dict(model[1].golden())
    golden["text/vector"] = -golden["text/vector"]
    np.savez(tmp_path / "golden.npz", **golden)  # type: ignore[arg-type]
    encoders = TritonEncoders(url, model[1].model_copy(update={"folder": tmp_path}))
    try:
        with pytest.raises(ModelMismatch, match="'text'"):
            await encoders.canary()
    finally:
        await encoders.close()


async def test_what_came_back_on_the_same_address_with_another_model_encodes_nothing(
    model: tuple[Trained, Manifest], url: str, tmp_path: Path
) -> None:
    """Invariant 5, for the catalogue worker: nobody asked for a look between the two servers."""
    options = TrainingOptions(epochs=1, seed=5)
    products = [Product(f"p{i}", f"item {i} of kind {i % 3}", price=2.0 + i) for i in range(30)]
    data = training_data(products, [(f"u{i % 3}", f"p{i}") for i in range(30)], [], tmp_path)
    other = export(train(data, options), data, options, tmp_path / "models", {}, {})
    texts, port = pre.text_tokens(["product 3"]), choose(0)
    encoders = TritonEncoders(f"triton://127.0.0.1:{port}", model[1], timeout_seconds=60.0)
    trusted = TrustedEncoders(encoders)
    try:
        assert not encoders.connected
        with served(model[1], tmp_path / "first", port):
            vectors = await trusted.encode(Modality.TEXT, texts)
            assert encoders.connected
        gone = encoders._client._channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        await asyncio.wait_for(gone, 60.0)
        assert not encoders.connected
        with served(other, tmp_path / "second", port), pytest.raises(DependencyDown, match="golden vectors"):
            await trusted.encode(Modality.TEXT, texts)
        with served(model[1], tmp_path / "third", port):
            assert np.array_equal(await trusted.encode(Modality.TEXT, texts), vectors)
    finally:
        await trusted.close()


@contextmanager
def served(manifest: Manifest, folder: Path, port: int) -> Iterator[None]:
    folder.mkdir()
    component = triton_component(folder, manifest.folder / "triton", port)
    with running(component, folder / "triton.log", stop_seconds=3.0):
        yield


async def test_a_dead_stub_is_noticed_by_the_canary_and_mended_by_repair(
    model: tuple[Trained, Manifest], url: str
) -> None:
    encoders = TritonEncoders(url, model[1], timeout_seconds=60.0)
    try:
        await encoders.canary()
        for process in stubs_of(model[1].folder / "triton" / "text"):
            os.kill(process, signal.SIGKILL)
        with pytest.raises(DependencyDown, match="text"):
            await encoders.canary()
        await encoders.repair()
        await encoders.canary()
    finally:
        await encoders.close()


def stubs_of(folder: Path) -> list[int]:
    """The Python backend's processes that run the model in this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "triton_python_backend_stub" in words and str(folder) in words:
            found.append(int(entry.parent.name))
    assert found, f"no stub runs {folder}"
    return found


async def test_a_server_that_is_not_there_is_a_dependency_down(model: tuple[Trained, Manifest]) -> None:
    encoders = TritonEncoders(f"triton://127.0.0.1:{choose(0)}", model[1], timeout_seconds=5.0)
    try:
        with pytest.raises(DependencyDown, match="triton"):
            await encoders.canary()
        with pytest.raises(DependencyDown, match="triton"):
            await encoders.repair()
    finally:
        await encoders.close()


def test_an_address_of_another_kind_is_refused(model: tuple[Trained, Manifest]) -> None:
    with pytest.raises(ConfigurationError, match="triton://HOST:PORT"):
        TritonEncoders("http://127.0.0.1:1", model[1])


async def test_a_sentence_encoder_of_eight_bits_is_served(tmp_path: Path, url: str) -> None:
    try:
        options = TrainingOptions(epochs=0, text="minilm")
        text_folder(options.text)
    except ConfigurationError as error:
        pytest.skip(str(error))
    products = [Product(f"p{i}", f"product {i} of kind {i % 3}") for i in range(8)]
    data = training_data(products, [], [], tmp_path)
    whole = export(train(data, options), data, options, tmp_path / "models", {}, {})
    small = variant(whole.folder, tmp_path / "models", "int8")
    texts = small.text_reader()(["product 3", "", "Красное 赤い", "word " * 50_000])
    with temporary_triton(small.folder / "triton") as address:
        encoders, others = TritonEncoders(address, small), TritonEncoders(address, whole)
        try:
            await encoders.canary()
            answered = await encoders.encode(Modality.TEXT, texts)
            with pytest.raises(ModelMismatch, match="'text'"):
                await others.canary()
        finally:
            await encoders.close()
            await others.close()
    assert np.allclose(answered, run(small.folder / "triton" / "text" / "1" / "model.onnx", texts), atol=1e-4)
