"""Picture files of every mode, size and manner: each becomes a defined square, or says why it cannot."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freshet.domain.products import Image as ProductImage
from freshet.domain.products import Product
from freshet.errors import ImageRejected
from freshet.representation import preprocessing as pre
from freshet.representation.data import training_data
from freshet.representation.train import Trained, prepare

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def saved(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def pixels(content: bytes) -> np.ndarray:
    return pre.image_pixels([content])["pixels"][0]


def quarters(size: int = 64) -> Image.Image:
    """Red and green above, blue and white below."""
    made, half = Image.new("RGB", (size, size), WHITE), size // 2
    for colour, corner in ((RED, (0, 0)), (GREEN, (half, 0)), (BLUE, (0, half))):
        made.paste(colour, (*corner, corner[0] + half, corner[1] + half))
    return made


def corners(square: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(square[y, x].tolist()) for y, x in ((8, 8), (8, 56), (56, 8), (56, 56))]


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_each_of_the_eight_exif_orientations_ends_upright(orientation: int, stored: Image.Transpose | None) -> None:
    lying = quarters() if stored is None else quarters().transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert corners(pixels(saved(lying, exif=exif))) == [RED, GREEN, BLUE, WHITE]


def exif_data(*entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF of (tag, type, count, four bytes of value)."""
    listed = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + listed + bytes(4)


SHORT, ASCII = 3, 2
ON_ITS_SIDE = (0x0112, SHORT, 1, struct.pack("<H", 6))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "entry",
    [
        pytest.param((0x011A, ASCII, 3, b"72\0"), id="a resolution in letters"),
        pytest.param((0x0128, ASCII, 2, b"2\0"), id="a unit in letters"),
        pytest.param((0x010F, SHORT, 1, b"\1\0"), id="a maker who is a number"),
        pytest.param((0x8769, SHORT, 1, b"\xff\xff"), id="more data where there are none"),
    ],
)
def test_a_strange_tag_beside_the_orientation_is_no_harm(entry: tuple[int, int, int, bytes], form: str) -> None:
    lying = quarters().transpose(Image.Transpose.ROTATE_90)
    content = saved(lying, form, quality=95, exif=exif_data(ON_ITS_SIDE, entry))
    assert np.allclose(corners(pixels(content)), [RED, GREEN, BLUE, WHITE], atol=12)


@pytest.mark.parametrize("data", [b"", b"II*\0", b"\xff" * 40, exif_data(ON_ITS_SIDE)[6:18]])
def test_a_picture_whose_exif_cannot_be_read_is_taken_as_it_lies(data: bytes) -> None:
    content = saved(quarters(), "JPEG", quality=95, exif=b"Exif\0\0" + data)
    assert np.allclose(corners(pixels(content)), [RED, GREEN, BLUE, WHITE], atol=12)


def test_grey_with_and_without_alpha_keeps_its_shade() -> None:
    assert np.allclose(pixels(saved(Image.new("L", (70, 50), 90)))[32, 32], 90)
    assert np.allclose(pixels(saved(Image.new("LA", (64, 64), (90, 255))))[32, 32], 90)
    assert np.allclose(pixels(saved(Image.new("LA", (64, 64), (0, 128))))[32, 32], 127, atol=1)
    assert set(np.unique(pixels(saved(Image.new("1", (64, 64), 1))))) == {255}


def test_a_palette_is_resolved_and_its_transparent_entry_is_white() -> None:
    palette = quarters().quantize(4, dither=Image.Dither.NONE)
    assert corners(pixels(saved(palette))) == [RED, GREEN, BLUE, WHITE]
    clear = palette.getpixel((8, 8))
    assert corners(pixels(saved(palette, transparency=clear))) == [WHITE, GREEN, BLUE, WHITE]


def test_a_colour_named_transparent_is_white() -> None:
    assert corners(pixels(saved(quarters(), transparency=BLUE))) == [RED, GREEN, WHITE, WHITE]


def test_half_covered_pixels_are_mixed_with_white() -> None:
    assert np.allclose(pixels(saved(Image.new("RGBA", (64, 64), (255, 0, 0, 128))))[32, 32], (255, 127, 127), atol=1)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(form: str) -> None:
    rest = [Image.new("RGB", (64, 64), colour) for colour in (GREEN, RED)]
    lossless = {"lossless": True} if form == "WEBP" else {}
    content = saved(quarters(), form, save_all=True, append_images=rest, duration=50, **lossless)
    with Image.open(io.BytesIO(content)) as opened:
        assert getattr(opened, "n_frames", 1) > 1
    assert corners(pixels(content)) == [RED, GREEN, BLUE, WHITE]


def test_cmyk_is_read_by_its_inks() -> None:
    assert np.allclose(pixels(saved(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG"))[32, 32], RED, atol=6)


def test_sixteen_bit_greys_are_scaled_not_cut() -> None:
    values = np.linspace(0, 65_535, 64, dtype=np.uint16)[None].repeat(64, axis=0)
    square = pixels(saved(Image.fromarray(values)))[32, :, 0].astype(int)
    assert np.allclose(square, np.linspace(0, 255, 64), atol=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (1, 5_000), (5_000, 1), (3, 900), (65_535, 1)])
def test_a_thin_picture_keeps_at_least_a_line_of_itself(size: tuple[int, int]) -> None:
    square = pixels(saved(Image.new("RGB", size, (10, 20, 30))))
    assert square.shape == (pre.PIXELS, pre.PIXELS, 3)
    shown = (square == (10, 20, 30)).all(axis=2)
    assert shown.any(axis=0).sum() == max(1, round(64 * size[0] / max(size)))
    assert shown.any(axis=1).sum() == max(1, round(64 * size[1] / max(size)))


def test_a_name_or_an_ending_says_nothing_only_the_content_does(tmp_path: Path) -> None:
    (tmp_path / "lies.jpg").write_bytes(saved(quarters()))
    (tmp_path / "text.png").write_text("<svg/>")
    products = [
        Product("lies", image=ProductImage(uri="lies.jpg")),
        Product("text", image=ProductImage(uri="text.png")),
    ]
    data = training_data(products, [], [], tmp_path)
    assert corners(pixels(data.pictures[0] or b"")) == [RED, GREEN, BLUE, WHITE]
    with pytest.raises(ImageRejected, match="cannot be read"):
        pixels(data.pictures[1] or b"")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_file_cut_short_is_rejected_wherever_it_ends(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    whole = saved(Image.fromarray(noise), form)
    for kept in (1, 12, 40, len(whole) // 2):
        with pytest.raises(ImageRejected):
            pixels(whole[:kept])


def png_header(width: int, height: int, behind: bytes = b"") -> bytes:
    """A PNG of this size that has `behind` for its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", behind) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_a_header_of_a_hundred_megapixels_and_more_is_rejected_by_its_header(width: int, height: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageRejected, match=r"pixels|cannot be read"):
            pixels(png_header(width, height))


def test_a_bomb_of_few_bytes_is_rejected_unopened() -> None:
    bomb = png_header(9_000, 9_000, zlib.compress(bytes(9_000 * (3 * 9_000 + 1)), 9))
    assert len(bomb) < 300_000
    with pytest.raises(ImageRejected, match="9000×9000"):
        pixels(bomb)


def test_training_gives_the_encoder_the_very_pixels_that_serving_does(trained: Trained, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    contents = [
        saved(quarters(300), "JPEG", quality=90),
        saved(quarters(301), exif=exif),
        saved(quarters().quantize(4)),
        saved(Image.new("CMYK", (90, 20), (0, 90, 0, 0)), "JPEG"),
        saved(Image.new("LA", (9, 700), (40, 99)), "PNG"),
        saved(Image.fromarray(np.full((40, 30), 40_000, dtype=np.uint16))),
    ]
    products = [Product(f"p{i}", f"thing {i}", image=ProductImage(content=each)) for i, each in enumerate(contents)]
    products.append(Product("none", "thing", image=ProductImage(content=b"no picture")))
    data = training_data(products, [], [], tmp_path)
    tokens = pre.text_tokens([product.title for product in products])["tokens"]
    inputs = prepare(data, tokens, trained.text.encode(tokens), np.zeros((len(data.reviews), 9), np.float32), {"": 0.0})
    assert np.array_equal(inputs.pixels[:-1].numpy(), pre.image_pixels(contents)["pixels"])
    assert inputs.present[:, 1].tolist() == [1.0] * len(contents) + [0.0]
