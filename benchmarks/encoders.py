"""Encoders through Triton against the same networks in bare onnxruntime, and texts against MiniLM as torch runs it.

    python -m benchmarks.encoders [--data DIR] [--json]

Each network of two models, one with words alone and one with MiniLM in 8 bits, answers the same batches of 256 rows
through a real Triton and in a session of onnxruntime with the same one thread. The peer of texts is all-MiniLM-L6-v2 in
torch, float32, as sentence-transformers runs it: sorted by length, batches of 32, at most 256 pieces; torch and
onnxruntime have two threads each. Quality is that of ranking H&M's validation purchases by the vectors alone.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from benchmarks.report import DIRECTORY, report
from freshet.adapters.triton import TritonEncoders
from freshet.domain.affinity import AffinityRules
from freshet.domain.representations import Layout, Modality, Segment
from freshet.domain.scoring import ranking_weights
from freshet.local.triton import temporary_triton
from freshet.representation import evaluation
from freshet.representation import manifest as card
from freshet.representation import preprocessing as pre
from freshet.representation.data import TrainingData, held_out_hm, read_hm
from freshet.representation.encoders.minilm import WIDTH, MiniLm, load_minilm, text_folder
from freshet.representation.export import export, onnx_program
from freshet.representation.options import TrainingOptions
from freshet.representation.tensors import unit
from freshet.representation.train import Trained, train
from freshet.representation.variants import to_int8, variant

DATA = Path(__file__).parents[2] / "shared" / "data" / "hm_week5core"
ROWS = 256
SECONDS = 4.0
THREADS = 2
IN_FLIGHT = 2
PEER = "MiniLM, torch, float32"
OURS = "MiniLM, onnxruntime, 64 pieces, int8"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="a folder in the H&M layout")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    data = read_hm(arguments.data)
    texts = [pre.product_text(product) for product in data.products]
    models = DIRECTORY.absolute() / "encoders"
    words = _model(data, "words", models)
    sentences = variant(_model(data, "minilm", models).folder, models / "int8", "int8")
    networks = [(words, name, name) for name in ("image", "price", "reviews", "fusion")]
    networks = [(words, "text", "text (words)"), (sentences, "text", "text (words and MiniLM int8)"), *networks]
    through = [{"what": f"{told}, Triton"} | served(model, name, texts) for model, name, told in networks]
    compared = sentence_encoders(data, texts, arguments.data, models, [words, sentences])
    share = {told: round(row["ratio"], 3) for (_, _, told), row in zip(networks, through, strict=True)}
    ours = next(row for row in compared if row["what"] == OURS)
    summary = {
        "triton_share_of_bare": share,
        "text_ratio_to_minilm_torch": ours["ratio"],
        "text_quality_to_minilm_torch": ours["ndcg_at_10"] / compared[0]["ndcg_at_10"],
    }
    report("encoders", [*through, *compared], summary, arguments.json)


def _model(data: TrainingData, text: str, models: Path) -> card.Manifest:
    options = TrainingOptions(text=text, epochs=0)
    trained: Trained = train(data, options)
    return export(trained, data, options, models / text, {}, {})


def served(model: card.Manifest, name: str, texts: Sequence[str]) -> dict[str, Any]:
    """Rows per second of one network through Triton and bare, in turns."""
    golden = card.golden_inputs(model.golden(), name)
    inputs = {key: np.resize(value, (ROWS, *value.shape[1:])) for key, value in golden.items()}
    if name == Modality.TEXT:
        inputs = dict(model.text_reader()(texts[:ROWS]))
    session = session_of(card.network_file(model.folder, name), 1)
    bare = per_second(lambda: session.run(None, inputs), ROWS)
    with temporary_triton(model.folder / card.TRITON) as address:
        through = asyncio.run(_through_triton(address, model, name, inputs))
    again = per_second(lambda: session.run(None, inputs), ROWS)
    bare = (bare + again) / 2
    return {"per_second": through, "beside": "bare onnxruntime", "its_per_second": bare, "ratio": through / bare}


async def _through_triton(
    address: str, model: card.Manifest, name: str, inputs: Mapping[str, NDArray[np.generic]]
) -> float:
    """A client keeps `IN_FLIGHT` calls of `ROWS` rows going, as the catalogue worker does."""
    encoders = TritonEncoders(address, model)
    await encoders.canary()
    done, until = 0, 0.0

    async def call() -> None:
        if name == "fusion":
            parts = {modality: np.asarray(inputs[modality.value], np.float32) for modality in card.ENCODED}
            await encoders.fuse(parts, inputs["present"].astype(np.bool_))
        else:
            await encoders.encode(Modality(name), inputs)

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < until:
            await call()
            done += ROWS

    # The first call of a size lets the session take its memory: bare, it is not counted either.
    await call()
    begun = time.perf_counter()
    until = begun + SECONDS
    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    rate = done / (time.perf_counter() - begun)
    await encoders.close()
    return rate


def sentence_encoders(
    data: TrainingData, texts: Sequence[str], folder: Path, scratch: Path, models: Sequence[card.Manifest]
) -> list[dict[str, Any]]:
    """Texts per second, and how well the vectors rank, of the peer first."""
    files = text_folder("minilm")
    assert files is not None
    network = load_minilm(files)
    held = held_out_hm(folder, data)
    exact, rounded = scratch / "minilm.onnx", scratch / "minilm-int8.onnx"
    example = {"pieces": torch.ones(2, pre.PIECES, dtype=torch.int32)}
    onnx_program(network, example, card.OUTPUT).save(str(exact), external_data=False)
    rounded.write_bytes(exact.read_bytes())
    to_int8(rounded)
    cut = pre.TextReader(files / pre.TOKENIZER)
    encoders: dict[str, Callable[[], NDArray[np.float32]]] = {
        PEER: lambda: by_torch(network, files, texts),
        "MiniLM, onnxruntime, 64 pieces, float32": lambda: in_session(exact, pieces(cut, texts)),
        OURS: lambda: in_session(rounded, pieces(cut, texts)),
        "words, as served": lambda: in_session(
            card.network_file(models[0].folder, "text"), models[0].text_reader()(texts)
        ),
        "words and MiniLM int8, as served": lambda: in_session(
            card.network_file(models[1].folder, "text"), models[1].text_reader()(texts)
        ),
    }
    rows: list[dict[str, Any]] = []
    for name, encode in encoders.items():
        begun = time.perf_counter()
        vectors = encode()
        rate = len(texts) / (time.perf_counter() - begun)
        if name.startswith("MiniLM"):
            # What all texts of a trade share says nothing of one.
            vectors = unit(torch.from_numpy(vectors - vectors.mean(axis=0))).numpy()
        else:
            vectors = vectors[:, : models[0].size(Modality.TEXT)]
        layout = Layout("bench", (Segment(Modality.TEXT, vectors.shape[1]),))
        catalogue = evaluation.known(layout, vectors, held.users, held.items, AffinityRules())
        alone = ranking_weights({Modality.TEXT.value: 1.0, "behaviour": 0.0, "trending": 0.0})
        quality = evaluation.quality(catalogue, alone, held)
        first = rows[0]["per_second"] if rows else rate
        told = {"what": name, "per_second": rate, "beside": PEER, "its_per_second": first, "ratio": rate / first}
        rows.append(told | {"hr_at_10": quality.hit_rate, "ndcg_at_10": quality.ndcg})
    return rows


def by_torch(network: MiniLm, files: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    """As sentence-transformers does it."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(files / pre.TOKENIZER))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding(length=None)
    found = np.zeros((len(texts), WIDTH), np.float32)
    order = np.argsort([-len(text) for text in texts], kind="stable")
    with torch.no_grad():
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            read = tokenizer.encode_batch([texts[row] for row in rows])
            found[rows] = network(torch.tensor([each.ids for each in read], dtype=torch.int32)).numpy()
    return found


def pieces(reader: pre.TextReader, texts: Sequence[str]) -> dict[str, NDArray[np.int32]]:
    return {"pieces": reader(texts)["tokens"][:, pre.TEXT_LENGTH :]}


def in_session(path: Path, inputs: Mapping[str, NDArray[np.int32]]) -> NDArray[np.float32]:
    session = session_of(path, THREADS)
    ((name, values),) = inputs.items()
    return np.concatenate([session.run(None, {name: values[i : i + 64]})[0] for i in range(0, len(values), 64)])


def session_of(path: Path, threads: int) -> onnxruntime.InferenceSession:
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), chosen, providers=["CPUExecutionProvider"])


def per_second(call: Callable[[], object], rows: int) -> float:
    call()
    done, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        call()
        done += rows
    return done / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
