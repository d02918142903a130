"""Runs: options from files and flags, going on after a kill, beginning from an older model, freezing and releasing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pictures
from typer.testing import CliRunner

from freshet.cli import app
from freshet.errors import ConfigurationError
from freshet.representation import manifest as card
from freshet.representation.data import TrainingData, read_folder
from freshet.representation.losses import LOSSES, Step, cosine, next_interaction, ratings
from freshet.representation.networks import Networks
from freshet.representation.options import Sizes, TrainingOptions, read_options, training_options
from freshet.representation.runs import Run
from freshet.representation.start import read_start
from freshet.representation.train import TrainingDiverged, pairs_of, prepared, train


def write_shop(folder: Path, products: int = 12, pictures: bool = False) -> Path:
    folder.mkdir()
    lines = [
        {"productId": f"p{i}", "title": f"kind {i % 3} number {i}", "price": 5.0 + i}
        | ({"image": {"uri": f"p{i}.png"}} if pictures else {})
        for i in range(products)
    ]
    for i in range(products if pictures else 0):
        Pictures.new("RGB", (40, 40), (20 * i, 255 - 20 * i, 90)).save(folder / f"p{i}.png")
    (folder / "products.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    rows = [f"u{user},p{(user + 3 * step) % products}" for user in range(9) for step in range(3)]
    (folder / "interactions.csv").write_text("user_id,product_id\n" + "\n".join(rows), encoding="utf-8")
    return folder


def freshet(*arguments: object) -> tuple[str, Exception | None]:
    result = CliRunner().invoke(app, ["train", *map(str, arguments)])
    error = result.exception
    return result.output, error if isinstance(error, Exception) else None


def only_version(models: Path) -> str:
    return card.load(models / "current").model_version


KILLS_ITSELF = """
import os, signal, sys
from freshet.representation.runs import Run
keep = Run.keep
def keep_and_die(self, checkpoint):
    keep(self, checkpoint)
    if len(checkpoint.history) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
Run.keep = keep_and_die
from freshet.cli import main
sys.argv = ["freshet", "train", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("frozen", ["[]", '["image"]'])
def test_a_run_that_was_killed_and_goes_on_gives_the_model_of_one_that_was_not(tmp_path: Path, frozen: str) -> None:
    shop, file = write_shop(tmp_path / "shop", pictures=True), tmp_path / "options.toml"
    file.write_text(f"freeze = {frozen}\n")
    asked = ["--data", shop, "--config", file, "--epochs", 4, "--seed", 5]
    _, error = freshet(*asked, "--out", tmp_path / "whole", "--run", tmp_path / "run-whole")
    assert error is None
    killed = subprocess.run(
        [sys.executable, "-c", KILLS_ITSELF, *map(str, asked), "--out", tmp_path / "cut", "--run", tmp_path / "run"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        timeout=240,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (tmp_path / "cut").exists()
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 2
    _, error = freshet("--run", tmp_path / "run", "--out", tmp_path / "cut")
    assert error is None
    assert only_version(tmp_path / "cut") == only_version(tmp_path / "whole")
    epochs = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [epoch["epoch"] for epoch in epochs] == [0, 1, 2, 3]
    reached = json.loads((tmp_path / "run/metrics.json").read_text())
    assert reached["model_version"] == only_version(tmp_path / "whole")
    assert reached["loss"] == epochs[-1]["loss"]
    with Pictures.open(tmp_path / "run/curves.png") as drawn:
        assert drawn.size == (720, 400)
        assert len(drawn.getcolors(maxcolors=100_000) or []) > 4
    _, error = freshet("--run", tmp_path / "run", "--fusion", "mlp", "--out", tmp_path / "cut")
    assert isinstance(error, ConfigurationError)
    assert "begun with options.fusion 'gated', not 'mlp'" in str(error)
    (tmp_path / "run/checkpoint.pt").write_bytes(b"PK\x03\x04 cut short")
    _, error = freshet("--run", tmp_path / "run", "--out", tmp_path / "cut")
    assert isinstance(error, ConfigurationError)
    assert "delete it to begin the run anew" in str(error)


def test_flags_go_before_the_file_and_the_file_before_defaults(tmp_path: Path) -> None:
    shop, file = write_shop(tmp_path / "shop"), tmp_path / "options.toml"
    file.write_text('fusion = "product"\nepochs = 1\nseed = 4\n[losses]\ncosine = 2.0\n[sizes]\njoint = 8\n')
    flags = ["--config", file, "--seed", 9, "--loss", "next_interaction=0.5", "--loss", "prices=0.1"]
    _, error = freshet("--data", shop, "--out", tmp_path / "models", *flags)
    assert error is None
    manifest = card.load(tmp_path / "models/current")
    trained = manifest.training
    assert (trained["fusion"], trained["seed"], trained["epochs"]) == ("product", 9, 1)
    assert {name for name in trained if name.startswith("loss_")} == {"loss_next_interaction", "loss_prices"}
    assert {entry.name.value: entry.size for entry in manifest.segments}["joint"] == 8


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fusoin": "mlp"}, "file: fusoin: Extra inputs are not permitted"),
        ({"epochs": -1}, "file: epochs: .*greater than or equal to 0"),
        ({"sizes": {"joint": 0}}, "file: sizes.joint: .*greater than or equal to 1"),
        ({"losses": {"cosine": "much"}}, "file: losses.cosine: .*valid number"),
        ({"losses": {}}, "file: losses: .*at least 1"),
        ({"learning_rate": float("nan")}, "file: learning_rate"),
        ({"freeze": ["ears"]}, "file: freeze.0"),
        ({"unfreeze": {"image": {"1": 1}}}, "file: unfreeze names image, which freeze does not"),
        ({"device": "tpu"}, "file: device"),
    ],
)
def test_a_bad_option_is_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        training_options(values, "file")


def test_names_without_an_entry_in_a_registry_and_files_without_options_are_refused(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop")
    for flags, message in (
        (["--fusion", "glue"], "fusion: 'glue' is unknown; one of attention, cnn, gated"),
        (["--image", "eye"], "image: 'eye' is unknown"),
        (["--loss", "regret=1"], "losses: 'regret' is unknown"),
        (["--loss", "cosine"], "NAME=WEIGHT is needed"),
        (["--from", tmp_path / "nothing"], "there is no model in"),
    ):
        _, error = freshet("--data", shop, "--out", tmp_path / "models", *flags)
        assert isinstance(error, ConfigurationError)
        assert message in str(error)
    for name, content in (("a.json", "[1]"), ("b.json", "{"), ("c.toml", "a = ")):
        (tmp_path / name).write_text(content)
        with pytest.raises(ConfigurationError, match=name):
            read_options(tmp_path / name)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_options(tmp_path / "none.json")


def test_a_new_version_begins_where_the_old_one_ended(
    shop: TrainingData, options: TrainingOptions, tmp_path: Path
) -> None:
    from freshet.representation.export import export

    old = train(shop, options)
    folder = export(old, shop, options, tmp_path, {"text": 1.0}, {}).folder
    start = read_start(folder)
    kept = train(shop, options.model_copy(update={"epochs": 0}), start=start)
    assert not kept.anew
    # float16 keeps three digits of the old word vectors.
    assert np.abs(kept.vectors() - old.vectors()).max() < 0.01
    other = options.model_copy(update={"epochs": 0, "fusion": "cnn", "sizes": Sizes(image=32)})
    partly = train(shop, other, start=start)
    assert {line.split()[0] for line in partly.anew} == {"image", "fusion", "caption"}
    assert any("image.head.bias is 64 there and 32 here" in line for line in partly.anew)
    assert torch.equal(partly.price.head.weight, old.price.head.weight)
    with pytest.raises(ConfigurationError, match="no part of that model fits"):
        Networks(options).begin_from({"elsewhere.weight": np.zeros(3)})


def test_word_vectors_turned_to_old_ones_keep_their_inner_products(tmp_path: Path) -> None:
    from freshet.representation.preprocessing import TEXT_BUCKETS
    from freshet.representation.start import Start

    generator = np.random.default_rng(0)
    old = np.zeros((TEXT_BUCKETS + 1, 10), np.float32)
    old[1:50] = generator.standard_normal((49, 10))
    rotation, _ = np.linalg.qr(generator.standard_normal((8, 8)))
    new = (old[:, :8] @ rotation).astype(np.float32)
    turned = Start({}, old).turned(new, np.arange(50, dtype=np.int32)[None])
    assert np.allclose(turned, old[:, :8], atol=1e-4)
    assert np.allclose(turned @ turned[1], new @ new[1], atol=1e-4)
    assert Start({}, None).turned(new, np.arange(50, dtype=np.int32)[None]) is new


def test_frozen_parts_stay_and_are_released_from_the_output_down(shop: TrainingData, options: TrainingOptions) -> None:
    frozen = options.model_copy(update={"freeze": ("image", "price"), "unfreeze": {"image": {1: 1, 2: 3}}})
    before = Networks(frozen)
    torch.manual_seed(frozen.seed)
    begun = Networks(frozen).state()
    ended = train(shop, frozen).networks.state()
    changed = {name for name in begun if not np.array_equal(begun[name], ended[name])}
    assert {name for name in changed if name.startswith("image.")} == {"image.head.weight", "image.head.bias"}
    assert not any(name.startswith("price.") for name in changed)
    assert any(name.startswith("fusion.") for name in changed)
    before.release(frozen, 2)
    learning = {name for name, each in before.image.named_parameters() if each.requires_grad}
    assert learning == {f"{layer}.{of}" for layer in ("seen", "painted", "head") for of in ("weight", "bias")}
    assert not before.image.get_submodule("network.layers.10").training


def test_a_frozen_image_encoder_gives_pictures_as_they_are_served(options: TrainingOptions) -> None:
    """Not as augmentation would show them: they are encoded once for all steps."""
    networks = Networks(options)
    networks.release(options.model_copy(update={"freeze": ("image",)}), 0)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (9, 64, 64, 3), np.uint8))
    given = networks.encoded_pictures(pixels)
    assert torch.equal(given, networks.encoded_pictures(pixels))
    assert torch.allclose(given, networks.eval().image(pixels), atol=1e-6)


def test_a_training_that_diverges_is_an_error_and_leaves_the_model_that_serves(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop")
    _, error = freshet("--data", shop, "--epochs", 1, "--out", tmp_path / "models")
    assert error is None
    before = only_version(tmp_path / "models")
    file = tmp_path / "options.toml"
    file.write_text("learning_rate = 1e30\n")
    _, error = freshet("--data", shop, "--config", file, "--epochs", 6, "--out", tmp_path / "models")
    assert isinstance(error, TrainingDiverged), error
    assert "lower learning_rate" in str(error)
    assert only_version(tmp_path / "models") == before


def test_networks_that_give_no_numbers_are_not_exported(
    shop: TrainingData, options: TrainingOptions, tmp_path: Path
) -> None:
    from freshet.representation.export import export

    trained = train(shop, options.model_copy(update={"epochs": 0}))
    torch.nn.init.constant_(trained.networks.caption.weight, torch.nan)
    with pytest.raises(ConfigurationError, match="'caption' gives values that are no numbers"):
        export(trained, shop, options, tmp_path, {}, {})
    assert not (tmp_path / "current").exists()


def test_reviews_count_in_training_as_they_do_in_the_line(tmp_path: Path) -> None:
    """Many reviews of one day say less than as many of different days; both sides go by the reviews' own times."""
    folder = write_shop(tmp_path / "shop")

    def written(day: Callable[[int], int]) -> TrainingData:
        lines = [
            {"reviewId": f"r{i}", "productId": "p1", "rating": 1 + i % 5, "text": f"kind {i % 3} words",
             "eventTime": f"2026-0{1 + day(i) // 28}-{1 + day(i) % 28:02d}T10:00:00Z"}
            for i in range(80)
        ]  # fmt: skip
        (folder / "reviews.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        return read_folder(folder)

    one_day, many_days = written(lambda _: 0), written(lambda i: i)
    assert one_day.fingerprint() != many_days.fingerprint()
    assert [review.version.event_time_us for review in many_days.reviews[:2]] == [
        1_767_261_600_000_000 + day * 86_400_000_000 for day in (0, 1)
    ]
    told = [prepared(data, TrainingOptions(seed=1)).inputs.ratings[1] for data in (one_day, many_days)]
    assert not torch.equal(*told)


def step(first: torch.Tensor, second: torch.Tensor, **values: torch.Tensor) -> Step:
    pairs = len(first)
    nothing = torch.full((2 * pairs,), torch.nan)
    return Step(
        joint=torch.cat([first, second]),
        pictures=torch.zeros(2 * pairs, 2),
        captions=torch.zeros(2 * pairs, 2),
        seen=torch.zeros(2 * pairs, dtype=torch.bool),
        same=torch.zeros(pairs, pairs, dtype=torch.bool),
        log_chance=values.get("log_chance", torch.zeros(pairs)),
        stars=values.get("stars", nothing),
        stars_told=values.get("stars_told", torch.zeros(2 * pairs)),
        dearness=nothing,
        dearness_told=torch.zeros(2 * pairs),
    )


def test_losses_by_hand() -> None:
    eye = torch.eye(2)
    assert cosine(step(eye, eye)).item() == 0.0
    assert cosine(step(eye, eye.flip(0))).item() == pytest.approx(1.0 + 0.7)
    assert next_interaction(step(eye, eye)).item() == pytest.approx(np.log1p(np.exp(-10.0)), abs=1e-6)
    # A product that is drawn e times as often has to be as much likelier.
    flat = torch.ones(2, 2) / 2**0.5
    expected = (np.log1p(np.exp(-1.0)) + np.log1p(np.exp(1.0))) / 2
    assert next_interaction(step(flat, flat, log_chance=torch.tensor([0.0, 1.0]))).item() == pytest.approx(expected)
    stars = torch.tensor([4.0, torch.nan, 2.0, torch.nan])
    assert ratings(step(eye, eye, stars=stars, stars_told=torch.full((4,), 3.0))).item() == pytest.approx(1.0)
    assert ratings(step(eye, eye)).item() == 0.0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_falls_when_it_alone_is_minimised(
    rated_shop: TrainingData, options: TrainingOptions, name: str
) -> None:
    alone = options.model_copy(update={"losses": {name: 1.0}, "epochs": 8, "modality_dropout": 0.3})
    losses = train(rated_shop, alone).losses
    assert losses[-1] < losses[0]


def test_following_pairs_are_a_shoppers_next_products(shop: TrainingData) -> None:
    pairs = pairs_of(shop, np.random.default_rng(0), 1_000, following=True)
    order = np.argsort(shop.users, kind="stable")
    follows = set(zip(shop.items[order][:-1].tolist(), shop.items[order][1:].tolist(), strict=True))
    assert len(pairs) == len(shop.items) - len(np.unique(shop.users))
    assert set(map(tuple, pairs.tolist())) <= follows


def test_a_gpu_that_is_not_there_is_said_to_be_missing(shop: TrainingData, options: TrainingOptions) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(ConfigurationError, match="no GPU is visible"):
            train(shop, options.model_copy(update={"device": "cuda"}))
    with pytest.raises(ConfigurationError, match="bfloat16 needs a GPU"):
        train(shop, options.model_copy(update={"device": "cpu", "precision": "bfloat16"}))


def test_a_run_that_cannot_be_read_says_which_file(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert not run.begun
    run.begin({"options": TrainingOptions().model_dump(mode="json")})
    run.begin({"options": TrainingOptions().model_dump(mode="json")})
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"config.json cannot be read"):
        run.config()
