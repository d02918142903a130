"""Every form of fusion: what it promises of absent modalities, and that what is exported gives what was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from freshet.representation.export import Served, write_onnx
from freshet.representation.fusion import FUSIONS, WholeVector
from freshet.representation.fusion.base import Fusion
from freshet.representation.options import Sizes
from freshet.representation.tensors import unit

ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed here; Triton has its own")
SIZES = Sizes()
EVERY = pytest.mark.parametrize("name", sorted(FUSIONS))


def modalities(rows: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, size, generator=generator) for size in SIZES.fused]


def subsets() -> torch.Tensor:
    """All sixteen subsets of four modalities, none first."""
    return torch.tensor([[float(i >> j & 1) for j in range(4)] for i in range(16)])


def fusion(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return FUSIONS[name](SIZES).eval()


@EVERY
def test_what_is_absent_does_not_reach_the_joint_vector(name: str) -> None:
    module, present = fusion(name), subsets()
    with torch.no_grad():
        first, second = module(*modalities(16), present), module(*modalities(16), present)
        assert torch.equal(first, second)
        other = modalities(16, seed=1)
        for column in range(4):
            mixed = modalities(16)
            mixed[column] = other[column]
            moved = (module(*mixed, present) - first).abs().amax(dim=1) > 1e-6
            assert moved.tolist() == (present[:, column] > 0.0).tolist()


@EVERY
def test_a_product_has_a_unit_vector_from_any_modality_and_zero_from_none(name: str) -> None:
    with torch.no_grad():
        lengths = fusion(name)(*modalities(16), subsets()).norm(dim=1)
    assert lengths[0] == 0.0
    assert torch.allclose(lengths[1:], torch.ones(15), atol=1e-5)


@EVERY
def test_every_part_of_a_fusion_learns(name: str) -> None:
    module = fusion(name).train()
    target = torch.nn.functional.normalize(torch.randn(16, SIZES.joint), dim=1)
    torch.autograd.backward((module(*modalities(16), subsets()) * target).sum())
    still = [key for key, value in module.named_parameters() if value.grad is None or not value.grad.any()]
    assert still == []


@EVERY
def test_what_is_exported_gives_what_was_trained_for_any_number_of_rows(name: str, tmp_path: Path) -> None:
    whole = WholeVector(fusion(name), SIZES.text).eval()

    def inputs(rows: int) -> dict[str, torch.Tensor]:
        parts = modalities(rows)
        parts[0] = torch.cat([parts[0], parts[0].flip(1)], dim=1)
        names = ("text", "image", "price", "reviews")
        return {**dict(zip(names, parts, strict=True)), "present": subsets()[torch.arange(rows) % 16]}

    write_onnx(Served("fusion", whole, inputs(4), "vector"), tmp_path / "model.onnx")
    session = ort.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for rows in (1, 7, 32):
        asked = inputs(rows)
        (served,) = session.run(None, {key: value.numpy() for key, value in asked.items()})
        with torch.no_grad():
            assert np.allclose(served, whole(*asked.values()).numpy(), atol=1e-5)


def test_the_weights_of_an_average_are_shares_of_what_is_present() -> None:
    module = fusion("weighted")
    with torch.no_grad():
        module.get_parameter("weights").copy_(torch.tensor([0.0, 50.0, 0.0, 0.0]))
        parts = modalities(1)
        both = module(*parts, torch.tensor([[1.0, 1.0, 0.0, 0.0]]))
        image = module(*parts, torch.tensor([[0.0, 1.0, 0.0, 0.0]]))
        text = module(*parts, torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
    assert torch.allclose(both, image, atol=1e-5)
    assert not torch.allclose(both, text, atol=1e-1)


@pytest.mark.parametrize("name", sorted(FUSIONS.keys() - {"mlp", "recurrent"}))
def test_a_fusion_begins_with_what_texts_say(name: str) -> None:
    """Before any step the nearest by the joint vector are near by the texts, which rank well by themselves.

    An MLP and a recurrence do not pass on what they are given: they come to it sooner, and do not begin with it.
    """
    torch.manual_seed(2)
    sizes = Sizes(text=96, image=16, price=8, reviews=8, joint=32)
    # Texts of a language have few directions that matter.
    texts = unit(torch.randn(200, 12) @ torch.randn(12, 96))
    others = [unit(torch.randn(200, size)) for size in (16, 8, 8)]
    everything = torch.ones(200, 4)

    def agreement(fusion: Fusion) -> float:
        """The share of the five nearest by texts that are among the ten nearest by the joint vector."""
        with torch.no_grad():
            joint = fusion(texts, *others, everything)
        by_text, by_joint = (
            (rows @ rows.T).fill_diagonal_(-1.0).topk(count, dim=1).indices for rows, count in ((texts, 5), (joint, 10))
        )
        return float((by_text[:, :, None] == by_joint[:, None]).any(dim=2).float().mean())

    fusion = FUSIONS[name](sizes).eval()
    before = agreement(fusion)
    fusion.begin_with(texts)
    assert agreement(fusion) > max(0.3, 1.3 * before)
