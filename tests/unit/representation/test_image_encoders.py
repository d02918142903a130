"""Every picture encoder keeps what the registry promises, learns, and says the same in onnxruntime as in torch."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from freshet.representation.encoders.augmentation import Augmentation
from freshet.representation.encoders.colours import Colours
from freshet.representation.encoders.image import IMAGE
from freshet.representation.encoders.vit import Attention
from freshet.representation.export import onnx_program
from freshet.representation.losses import info_nce

SIZE = 32


def photos(rows: int, seed: int = 0) -> torch.Tensor:
    """Noise over a colour and a half that differs from the other: no two alike."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 60, (rows, 64, 64, 3)) + generator.integers(0, 120, (rows, 1, 1, 3))
    pixels[:, :32] += generator.integers(0, 75, (rows, 1, 1, 3))
    return torch.from_numpy(pixels.astype(np.uint8))


@pytest.fixture(params=sorted(IMAGE))
def encoder(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    return IMAGE[request.param](SIZE).eval()


def test_a_picture_becomes_a_unit_vector_that_depends_on_it_alone(encoder: torch.nn.Module) -> None:
    pixels = photos(5)
    with torch.no_grad():
        vectors = encoder(pixels)
        assert vectors.shape == (5, SIZE)
        assert torch.allclose(vectors.norm(dim=1), torch.ones(5), atol=1e-5)
        assert torch.allclose(encoder(pixels[2:3]), vectors[2:3], atol=1e-5)
        assert not torch.allclose(vectors[0], vectors[1], atol=1e-3)


def test_one_colour_alone_has_a_vector(encoder: torch.nn.Module) -> None:
    with torch.no_grad():
        vectors = encoder(torch.stack([torch.full((64, 64, 3), value, dtype=torch.uint8) for value in (0, 128, 255)]))
    assert torch.isfinite(vectors).all()
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3), atol=1e-5)


def test_onnxruntime_agrees_with_torch_at_any_batch(encoder: torch.nn.Module) -> None:
    program = onnx_program(encoder, {"pixels": photos(4)}, "vector")
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for rows in (1, 3, 17):
        pixels = photos(rows, seed=rows)
        (served,) = session.run(None, {"pixels": pixels.numpy()})
        with torch.no_grad():
            assert np.allclose(served, encoder(pixels).numpy(), atol=1e-4)


def test_a_few_steps_bring_two_views_of_a_picture_together(encoder: torch.nn.Module) -> None:
    pixels, nothing = photos(16), torch.zeros(16, 16, dtype=torch.bool)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=1e-3)
    encoder.train()
    losses = []
    for _ in range(12):
        loss = info_nce(encoder(pixels), encoder(pixels), nothing)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_training_shows_a_picture_anew_each_time_and_serving_never() -> None:
    pixels, augmentation = photos(6), Augmentation()
    torch.manual_seed(1)
    first, second = augmentation(pixels), augmentation(pixels)
    assert first.dtype == torch.uint8
    assert first.shape == pixels.shape
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(augmentation(pixels), first)
    assert torch.equal(augmentation.eval()(pixels), pixels)


def test_each_change_of_an_augmentation_does_what_its_name_says() -> None:
    pixels = photos(8)
    same = {"shift": 0.0, "crop": 0.0, "flip": 0.0, "light": 0.0, "colour": 0.0}
    assert torch.equal(Augmentation(**same)(pixels), pixels)
    assert torch.equal(Augmentation(**{**same, "flip": 1.0})(pixels), pixels.flip(2))
    black = torch.zeros(8, 64, 64, 3, dtype=torch.uint8)
    shifted = Augmentation(**{**same, "shift": 0.25})(black)
    assert set(shifted[:, 32, :, 0].flatten().tolist()) >= {0, 255}
    assert Augmentation(**{**same, "crop": 0.5})(black).max() == 0
    grey = torch.full((8, 64, 64, 3), 100, dtype=torch.uint8)
    lit = Augmentation(**{**same, "light": 0.3})(grey).float()
    assert (lit.std(dim=(1, 2, 3)) == 0.0).all()
    assert lit[:, 0, 0, 0].unique().numel() > 4
    tinted = Augmentation(**{**same, "colour": 0.3})(grey).float()
    assert (tinted[:, 0, 0].std(dim=1) > 0.0).all()
    assert ((tinted - 100.0).abs() <= 30.5).all()


def test_colours_share_a_pixel_among_neighbouring_bins_and_lose_nothing() -> None:
    colours = Colours()
    found = colours(photos(3).permute(0, 3, 1, 2) / 127.5 - 1.0).square()
    assert found.shape == (3, Colours.size)
    assert torch.allclose(found.view(3, 2, -1).sum(dim=2), torch.ones(3, 2), atol=1e-3)
    red, nearly, blue = (torch.tensor(c).view(1, 3, 1, 1).expand(1, 3, 64, 64) for c in (
        (0.9, -0.9, -0.9), (0.8, -0.9, -0.9), (-0.9, -0.9, 0.9)
    ))  # fmt: skip
    assert (colours(red) * colours(nearly)).sum() > 1.9
    assert (colours(red) * colours(blue)).sum() < 0.5


def test_heads_must_share_the_width_evenly() -> None:
    with pytest.raises(ValueError, match="96"):
        Attention(96, 5)
