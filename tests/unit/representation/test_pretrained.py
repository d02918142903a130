"""Weights from a file: what torchvision and timm write is read, anything else says what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from freshet.errors import ConfigurationError
from freshet.representation.encoders.image import image_encoder
from freshet.representation.encoders.pretrained import LAYOUTS, PretrainedEncoder, load, read_state

PIXELS = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def resnet_shapes(deep: bool) -> dict[str, tuple[int, ...]]:
    """As torchvision's resnet18 and resnet50 list them."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7), "fc.weight": (1000, 512), "fc.bias": (1000,)}

    def normed(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    normed("bn1", 64)
    channels = 64
    for stage, depth in enumerate((3, 4, 6, 3) if deep else (2, 2, 2, 2), start=1):
        planes = 64 * 2 ** (stage - 1)
        for i in range(depth):
            name, wide = f"layer{stage}.{i}", planes * (4 if deep else 1)
            kernels = [(planes, channels, 1), (planes, planes, 3), (wide, planes, 1)]
            for j, (out, into, side) in enumerate(
                kernels if deep else [(planes, channels, 3), (planes, planes, 3)], start=1
            ):
                shapes[f"{name}.conv{j}.weight"] = (out, into, side, side)
                normed(f"{name}.bn{j}", out)
            if i == 0 and (stage > 1 or deep):
                shapes[f"{name}.downsample.0.weight"] = (wide, channels, 1, 1)
                normed(f"{name}.downsample.1", wide)
            channels = wide
    return shapes


def vit_shapes(width: int) -> dict[str, tuple[int, ...]]:
    """As timm's vit_tiny_patch16_224 and vit_small_patch16_224 list them."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 197, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "head.weight": (1000, width),
        "head.bias": (1000,),
    }
    for i in range(12):
        for part, out, into in (
            ("attn.qkv", 3 * width, width), ("attn.proj", width, width),
            ("mlp.fc1", 4 * width, width), ("mlp.fc2", width, 4 * width),
        ):  # fmt: skip
            shapes |= {f"blocks.{i}.{part}.weight": (out, into), f"blocks.{i}.{part}.bias": (out,)}
        for part in ("norm1", "norm2"):
            shapes |= {f"blocks.{i}.{part}.weight": (width,), f"blocks.{i}.{part}.bias": (width,)}
    return shapes


def weights(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.tensor(0)
        if not shape
        else torch.rand(shape, generator=generator) + 0.5
        if "var" in name
        else 0.05 * torch.randn(shape, generator=generator)
        for name, shape in shapes.items()
    }


SHAPES = {
    "resnet18": resnet_shapes(deep=False),
    "resnet50": resnet_shapes(deep=True),
    "vit_tiny_patch16": vit_shapes(192),
    "vit_small_patch16": vit_shapes(384),
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_weights_in_each_layout_are_told_by_their_names_and_taken_over(layout: str, tmp_path: Path) -> None:
    state = weights(SHAPES[layout])
    torch.save(state, tmp_path / "weights.pth")
    found, network = load(tmp_path / "weights.pth")
    assert found == layout
    for name, value in network.state_dict().items():
        if name != "pos_embed" and "num_batches" not in name:
            assert torch.equal(value, state[name]), name
    with torch.no_grad():
        vectors = PretrainedEncoder(tmp_path / "weights.pth", 16).eval()(PIXELS)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)


def test_a_smaller_grid_keeps_the_class_token_and_the_order_of_places(tmp_path: Path) -> None:
    state = weights(SHAPES["vit_tiny_patch16"])
    rows = torch.arange(14.0).repeat_interleave(14)
    state["pos_embed"][0, 1:, 0] = rows
    torch.save(state, tmp_path / "weights.pth")
    _, network = load(tmp_path / "weights.pth")
    places = network.state_dict()["pos_embed"]
    assert places.shape == (1, 17, 192)
    assert torch.equal(places[:, 0], state["pos_embed"][:, 0])
    down = places[0, 1:, 0].view(4, 4)
    assert (down.diff(dim=0) > 2.0).all()
    assert torch.allclose(down, down[:, :1].expand(4, 4), atol=1e-4)


def test_a_checkpoint_and_safetensors_hold_the_same_as_a_plain_file(tmp_path: Path) -> None:
    state = weights(SHAPES["resnet18"])
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}, tmp_path / "a.pth"
    )
    save_file(state, tmp_path / "b.safetensors")
    _, first = load(tmp_path / "a.pth")
    _, second = load(tmp_path / "b.safetensors")
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize(("way", "moves"), [("frozen", False), ("tuned", True)])
def test_frozen_weights_stay_and_tuned_ones_move(way: str, moves: bool, tmp_path: Path) -> None:
    torch.save(weights(SHAPES["resnet18"]), tmp_path / "weights.pth")
    encoder = image_encoder(f"{way}:{tmp_path / 'weights.pth'}", 8)
    assert isinstance(encoder, PretrainedEncoder)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    optimiser = torch.optim.AdamW([each for each in encoder.parameters() if each.requires_grad], lr=1e-2)
    encoder.train()
    torch.autograd.backward(encoder(PIXELS)[:, 0].sum())
    optimiser.step()
    moved = {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert "head.1.weight" in moved
    assert ("network.conv1.weight" in moved) is moves
    assert ("network.bn1.running_mean" in moved) is moves


def test_a_file_that_does_not_fit_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    state = weights(SHAPES["resnet18"])
    path = tmp_path / "weights.pth"

    def fails(match: str, values: object) -> None:
        torch.save(values, path)
        with pytest.raises(ConfigurationError, match=match) as raised:
            load(path)
        assert str(path) in str(raised.value)

    fails(r"lacks layer4\.1\.bn2\.bias of resnet18", {n: v for n, v in state.items() if n != "layer4.1.bn2.bias"})
    fails("holds strange, which resnet18", {**state, "strange": torch.zeros(1)})
    fails(r"conv1\.weight is \(3,\), and \(64, 3, 7, 7\)", {**state, "conv1.weight": torch.zeros(3)})
    fails("holds values that are no numbers", {**state, "bn1.bias": torch.full((64,), torch.nan)})
    fails("none of resnet18", {"features.0.weight": torch.zeros(3)})
    fails("of width 768", weights({**SHAPES["vit_tiny_patch16"], "cls_token": (1, 1, 768)}))
    fails("no class token and square grid", weights({**SHAPES["vit_tiny_patch16"], "pos_embed": (1, 8, 192)}))
    fails("no state_dict", [1, 2])
    fails("no state_dict", {"state_dict": {}})


def test_a_file_cut_short_missing_or_of_code_is_not_loaded(tmp_path: Path) -> None:
    state = weights(SHAPES["resnet18"])
    torch.save(state, tmp_path / "weights.pth")
    save_file(state, tmp_path / "weights.safetensors")
    for name in ("weights.pth", "weights.safetensors"):
        path = tmp_path / name
        whole = path.read_bytes()
        for kept in (0, 5, 4_000, len(whole) // 2):
            path.write_bytes(whole[:kept])
            with pytest.raises(ConfigurationError, match=name):
                load(path)
    with pytest.raises(ConfigurationError, match=r"absent\.pth is no file"):
        load(tmp_path / "absent.pth")
    torch.save(Unwanted(), tmp_path / "code.pth")
    with pytest.raises(ConfigurationError, match=r"code\.pth cannot be read as weights"):
        load(tmp_path / "code.pth")


@pytest.mark.parametrize("archive", [True, False], ids=["as torch writes", "as torch wrote before 1.6"])
def test_wherever_a_file_ends_too_early_it_is_named(archive: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"conv1.weight": torch.ones(3, 3)}, path, _use_new_zipfile_serialization=archive)
    whole = path.read_bytes()
    assert torch.equal(read_state(path)["conv1.weight"], torch.ones(3, 3))
    for kept in range(len(whole)):
        path.write_bytes(whole[:kept])
        with pytest.raises(ConfigurationError, match=r"weights\.pth cannot be read as weights"):
            read_state(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_whatever_byte_of_a_file_is_wrong_it_is_read_or_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"conv1.weight": torch.ones(3, 3)}, path, _use_new_zipfile_serialization=False)
    whole, refused = path.read_bytes(), []
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_state(path)
        except ConfigurationError as error:
            refused.append(str(error))
    assert len(refused) > len(whole) // 2
    assert all(str(path) in message for message in refused)


class Unwanted:
    """Loading it would run what it names."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise AssertionError('a file of weights was executed')",)


@pytest.mark.parametrize("name", ["resnet", "frozen:", "thawed:weights.pth", ""])
def test_an_unknown_encoder_is_named_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cnn, vit, frozen:PATH, tuned:PATH"):
        image_encoder(name, 8)
