"""Trains word vectors, encoders and their fusion.

On a CPU deterministic for the same data, options and number of threads, whether or not the run was killed on its way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from freshet.errors import ConfigurationError, FreshetError
from freshet.representation import preprocessing as pre
from freshet.representation.data import TrainingData
from freshet.representation.encoders.minilm import WIDTH, load_minilm, text_folder
from freshet.representation.encoders.price import PriceEncoder
from freshet.representation.encoders.reviews import ReviewsEncoder
from freshet.representation.encoders.sentiment import SentimentModel
from freshet.representation.encoders.text import Sentences, SentenceTextEncoder, TextEncoder
from freshet.representation.fusion import WholeVector
from freshet.representation.inputs import Inputs, encoded_reviews, prepare, typical_prices
from freshet.representation.losses import LOSSES
from freshet.representation.networks import Networks, check_names
from freshet.representation.options import BATCH, STEPS, TrainingOptions
from freshet.representation.pooling import learned
from freshet.representation.runs import Checkpoint, Epoch, Run
from freshet.representation.sentiment import fit, rated
from freshet.representation.start import Start
from freshet.representation.tensors import unit
from freshet.representation.words import text_table


class TrainingDiverged(FreshetError):
    """Losses grew beyond all bounds. What was kept before stays, and the model that serves too."""

    def __init__(self, epoch: int, losses: Mapping[str, float]) -> None:
        told = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
        super().__init__(f"training diverged in epoch {epoch + 1} ({told}); lower learning_rate or a loss's weight")


@dataclass(frozen=True)
class Trained:
    text: TextEncoder
    networks: Networks
    fusion: WholeVector
    sentiment: SentimentModel
    typical_prices: Mapping[str, float]
    history: Sequence[Epoch]
    inputs: Inputs
    attention: NDArray[np.float32] | None = None
    """What reviews are pooled by; None for a plain mean."""
    anew: Sequence[str] = ()
    """Of a warm start: the parts that did not fit, and why."""

    @property
    def image(self) -> nn.Module:
        return self.networks.image

    @property
    def price(self) -> PriceEncoder:
        return self.networks.price

    @property
    def reviews(self) -> ReviewsEncoder:
        return self.networks.reviews

    @property
    def caption(self) -> nn.Linear:
        """From a text's learned part, unit length, to where its picture should lie."""
        return self.networks.caption

    @property
    def losses(self) -> list[float]:
        """Mean loss per epoch."""
        return [epoch.loss for epoch in self.history]

    def encoded(self) -> tuple[Tensor, ...]:
        """What the encoders give of all products trained on: text with terms, image, price, reviews."""
        chunks: list[tuple[Tensor, ...]] = []
        with torch.no_grad():
            for start in range(0, len(self.inputs.tokens), 256):
                rows = slice(start, start + 256)
                chunks.append(
                    (
                        self.inputs.texts[rows],
                        self.image(self.inputs.pixels[rows]),
                        self.price(self.inputs.price[rows]),
                        self.reviews(self.inputs.ratings[rows], self.inputs.review_text[rows]),
                    )
                )
        return tuple(torch.cat(parts) for parts in zip(*chunks, strict=True))

    def vectors(self, without: int | None = None) -> NDArray[np.float32]:
        """The whole vectors of all products trained on, (products, dimension); as if none had modality `without`."""
        present = self.inputs.present.clone()
        if without is not None:
            present[:, without] = 0.0
        with torch.no_grad():
            vectors: NDArray[np.float32] = self.fusion(*self.encoded(), present).numpy()
        return vectors


def pairs_of(
    data: TrainingData, generator: np.random.Generator, most: int, following: bool = False
) -> NDArray[np.int64]:
    """(pairs, 2) of products that one shopper touched; without interactions, each product with itself.

    `following`: each with the shopper's next one, in the order of the data, rather than with any other.
    """
    order = np.argsort(data.users, kind="stable")
    users, items = data.users[order], data.items[order].astype(np.int64)
    if len(items) < 2:
        everyone = np.arange(len(data.products), dtype=np.int64)
        return np.stack([everyone, everyone], axis=1)
    starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
    lengths = np.diff(np.r_[starts, len(users)])
    if following:
        pairs = np.stack([items[:-1], items[1:]], axis=1)[users[:-1] == users[1:]]
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        if len(pairs):
            chosen: NDArray[np.int64] = pairs[generator.permutation(len(pairs))[:most]]
            return chosen
    # Each interaction is paired with another of the same shopper, chosen at random.
    first = np.repeat(starts, lengths)
    length = np.repeat(lengths, lengths)
    shift = 1 + (generator.random(len(items)) * np.maximum(length - 1, 1)).astype(np.int64)
    other = first + (np.arange(len(items)) - first + shift) % length
    pairs = np.stack([items, items[other]], axis=1)[length > 1]
    if not len(pairs):
        return np.stack([items, items], axis=1)[:most]
    return pairs[generator.permutation(len(pairs))[:most]]


@dataclass(frozen=True)
class Prepared:
    """What steps build on: word vectors, and the preprocessed catalogue.

    `attention` is what reviews are pooled by, None for a plain mean; `sentences` float32 (products, n) what a sentence
    encoder says of the texts, None without one.
    """

    text: TextEncoder
    typical_prices: Mapping[str, float]
    inputs: Inputs
    attention: NDArray[np.float32] | None = None
    sentences: NDArray[np.float32] | None = None

    def learned_again(self, data: TrainingData, options: TrainingOptions) -> Prepared:
        """The same catalogue, its word vectors learned of other interactions."""
        tokens = self.inputs.tokens.numpy()
        said = self.text.sentences if isinstance(self.text, SentenceTextEncoder) else None
        text = _text_encoder(data, tokens, options, None, self.text.reader, said, self.sentences)
        return replace(self, text=text, inputs=replace(self.inputs, texts=text.encode(tokens, self.sentences)))


def prepared(
    data: TrainingData,
    options: TrainingOptions,
    advanced: Callable[[str, float], None] = lambda _stage, _share: None,
    start: Start | None = None,
) -> Prepared:
    """Word vectors in closed form, and the catalogue as the encoders take it. Raises ConfigurationError."""
    torch.set_num_threads(options.threads)
    advanced("text", 0.0)
    folder = text_folder(options.text)
    reader = pre.TextReader(folder / pre.TOKENIZER if folder is not None else None)
    tokens = reader([pre.product_text(product) for product in data.products])["tokens"]
    said = Sentences(load_minilm(folder), WIDTH) if folder is not None else None
    sentences = said.fit(tokens) if said is not None else None
    text = _text_encoder(data, tokens, options, start, reader, said, sentences)
    typical = typical_prices(data)
    advanced("pictures", 0.0)
    texts, reviews = text.encode(tokens, sentences), encoded_reviews(data, text)
    attention = _attention(data, texts[:, : text.size].numpy(), reviews, options.seed)
    inputs = prepare(data, tokens, texts, pre.review_vectors(reviews, text.size, attention), typical)
    return Prepared(text, typical, inputs, attention, sentences)


def _attention(
    data: TrainingData, texts: NDArray[np.float32], reviews: NDArray[np.float32], seed: int
) -> NDArray[np.float32] | None:
    number = {product.product_id: i for i, product in enumerate(data.products)}
    products = np.array([number[review.product_id] for review in data.reviews], dtype=np.int64)
    return learned(pre.review_vectors(reviews, texts.shape[1], None)[:, :-1], products, texts, seed)


def _text_encoder(
    data: TrainingData,
    tokens: NDArray[np.int32],
    options: TrainingOptions,
    start: Start | None,
    reader: pre.TextReader,
    said: Sentences | None,
    sentences: NDArray[np.float32] | None,
) -> TextEncoder:
    """With word vectors learned of these interactions."""
    sizes = options.sizes
    words = tokens[:, : pre.TEXT_LENGTH]
    facts = pre.text_tokens([pre.facts_text(product) for product in data.products])["tokens"]
    table = text_table(words, sizes.text, sizes.terms, options.seed, data.users, data.items, sentences, facts)
    if start is not None:
        table[:, : sizes.text] = start.turned(table[:, : sizes.text], words)
    if said is None:
        return TextEncoder(table, sizes.text, reader).eval()
    return SentenceTextEncoder(table, sizes.text, reader, said).eval()


def train(
    data: TrainingData,
    options: TrainingOptions,
    advanced: Callable[[str, float], None] = lambda _stage, _share: None,
    run: Run | None = None,
    start: Start | None = None,
    ready: Prepared | None = None,
) -> Trained:
    """Train on everything in `data`. `advanced` hears of the stage and of the share done, 0 to 1.

    With `run`, every epoch is kept there, and one that was begun there goes on. `start` is what to begin from, `ready`
    what was prepared of the same data before. Raises ConfigurationError, TrainingDiverged.
    """
    check_names(options)
    device, half = _device(options)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(device.type == "cpu")
    generator = np.random.default_rng(options.seed)
    ready = ready or prepared(data, options, advanced, start)
    text, inputs = ready.text, ready.inputs
    networks = Networks(options)
    networks.fusion.begin_with(unit(inputs.texts[:, : options.sizes.text]))
    anew = networks.begin_from(start.state) if start is not None else []
    networks.to(device)
    optimiser = torch.optim.AdamW(networks.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
    before = run.checkpoint() if run is not None else None
    if before is not None:
        before.restore(networks, optimiser, generator)
    history = _epochs(data, options, inputs.to(device), networks, optimiser, generator, half, advanced, run, before)
    networks.cpu().eval()
    for parameter in networks.parameters():
        parameter.requires_grad_(False)
    whole = WholeVector(networks.fusion, options.sizes.text).eval()
    sentiment = SentimentModel(fit(*rated(data.reviews))).eval()
    return Trained(text, networks, whole, sentiment, ready.typical_prices, history, inputs, ready.attention, anew)


def _device(options: TrainingOptions) -> tuple[torch.device, bool]:
    """Where to train, and whether in bfloat16."""
    there = torch.cuda.is_available()
    if options.device == "cuda" and not there:
        raise ConfigurationError("device: cuda is asked for, and no GPU is visible here; use auto or cpu")
    device = torch.device("cuda" if there and options.device != "cpu" else "cpu")
    if device.type == "cpu":
        if options.precision == "bfloat16":
            raise ConfigurationError("precision: bfloat16 needs a GPU; a CPU trains in float32")
        return device, False
    return device, options.precision == "bfloat16" or (options.precision == "auto" and torch.cuda.is_bf16_supported())


def _epochs(
    data: TrainingData,
    options: TrainingOptions,
    inputs: Inputs,
    networks: Networks,
    optimiser: torch.optim.Optimizer,
    generator: np.random.Generator,
    half: bool,
    advanced: Callable[[str, float], None],
    run: Run | None,
    before: Checkpoint | None,
) -> list[Epoch]:
    device = inputs.present.device
    texts = unit(inputs.texts[:, : options.sizes.text])
    history = list(before.history) if before is not None else []
    spent = history[-1].seconds if history else 0.0
    started = time.monotonic() - spent
    pictures: Tensor | None = None
    following = options.losses.get("next_interaction", 0.0) > 0.0
    counted = np.bincount(data.items, minlength=len(data.products)) + 1.0
    log_chance = torch.from_numpy(np.log(counted / counted.sum()).astype(np.float32)).to(device)
    while len(history) < options.epochs and spent <= options.seconds:
        networks.release(options, len(history))
        if networks.image_learns():
            pictures = None
        elif pictures is None:
            pictures = networks.encoded_pictures(inputs.pixels)
        pairs = torch.from_numpy(pairs_of(data, generator, STEPS * BATCH, following)).to(device)
        batches = [batch for batch in torch.split(pairs, BATCH) if len(batch) > 1]
        totals = dict.fromkeys(options.losses, 0.0)
        for done, batch in enumerate(batches):
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                step = networks.step(inputs, texts, batch, log_chance, pictures)
            judged = {name: LOSSES[name](step) for name in options.losses}
            optimiser.zero_grad()
            loss = torch.stack([options.losses[name] * value for name, value in judged.items()]).sum()
            if loss.requires_grad:
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
                optimiser.step()
            for name, value in judged.items():
                totals[name] += value.item() / len(batches)
            advanced("fusion", (len(history) + (done + 1) / len(batches)) / options.epochs)
        spent = time.monotonic() - started
        total = sum(options.losses[name] * value for name, value in totals.items())
        if not math.isfinite(total):
            raise TrainingDiverged(len(history), totals)
        history.append(Epoch(len(history), total, totals, round(spent, 3)))
        if run is not None:
            run.keep(Checkpoint.of(history, networks, optimiser, generator))
    return history
