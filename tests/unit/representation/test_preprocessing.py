"""What the encoders are given: any text, any picture that Pillow can open, any price."""

from __future__ import annotations

import io
import itertools
import re
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from freshet.domain.products import Product
from freshet.domain.reviews import ReviewSummary, Weighed
from freshet.errors import ImageRejected
from freshet.representation import preprocessing as pre


def picture(mode: str, size: tuple[int, int], form: str = "PNG", colour: object = None, **options: object) -> bytes:
    made = Image.new(mode, size) if colour is None else Image.new(mode, size, colour)  # type: ignore[arg-type]
    file = io.BytesIO()
    made.save(file, form, **options)
    return file.getvalue()


def pixels(content: bytes) -> np.ndarray:
    return pre.image_pixels([content])["pixels"][0]


def test_serving_code_does_not_load_torch() -> None:
    code = (
        "import sys, freshet.representation.preprocessing, freshet.representation.manifest, freshet.adapters.triton;"
        "print([name for name in ('torch', 'onnx', 'scipy') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_words_are_lower_case_in_any_script_and_unspaced_scripts_are_read_by_character() -> None:
    assert pre.words("Roter WOLLmantel, Größe 38") == ["roter", "wollmantel", "grösse", "38"]
    assert pre.words("Красное платье") == ["красное", "платье"]
    assert pre.words("赤いドレス") == list("赤いドレス")
    # Compatibility forms fold together.
    assert pre.words("ＡＢＣ ﬁne") == ["abc", "fine"]


@given(st.text(max_size=300) | st.text(st.characters(max_codepoint=127), max_size=300), st.integers(1, 60))
def test_words_of_a_text_are_the_same_by_whatever_way_they_are_read(text: str, limit: int) -> None:
    folded = unicodedata.normalize("NFKC", text[: limit * 40]).casefold()
    found: list[str] = []
    for word in re.findall(r"[^\W_]+", folded):
        unspaced = re.search(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f]", word)
        found += list(word) if unspaced else [word[: pre.WORD_CHARACTERS]]
    assert pre.words(text, limit) == found[:limit]
    distinct = list(dict.fromkeys(pre.words(text, 4 * limit)))[:limit]
    assert pre.word_hashes(text, limit) == [xxhash.xxh32_intdigest(word.encode()) for word in distinct]
    read = pre.words(text, pre.TEXT_WORDS)
    tokens = [*read, *map(" ".join, itertools.pairwise(read))]
    buckets = dict.fromkeys(1 + xxhash.xxh32_intdigest(token.encode()) % pre.TEXT_BUCKETS for token in tokens)
    row = pre.text_tokens(["other words", text])["tokens"][1]
    assert row.tolist() == [*buckets, *[0] * pre.TEXT_LENGTH][: pre.TEXT_LENGTH]


def test_numbers_of_words_are_forgotten_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"word{i} coat" for i in range(20)]
    before = pre.text_tokens(texts)["tokens"]
    monkeypatch.setattr(pre, "REMEMBERED", 5)
    assert (pre.text_tokens(texts)["tokens"] == before).all()


def test_a_text_is_its_words_and_its_pairs_each_once() -> None:
    tokens = pre.text_tokens(["red coat red coat", "red coat", "", "!!!"])["tokens"]
    assert tokens.shape == (4, pre.TEXT_LENGTH)
    assert tokens.dtype == np.int32
    assert np.count_nonzero(tokens[0]) == 4  # red, coat, red coat, coat red
    assert np.count_nonzero(tokens[1]) == 3
    assert set(tokens[1]) <= set(tokens[0])
    assert not tokens[2:].any()
    assert tokens.max() <= pre.TEXT_BUCKETS


def test_a_text_of_fifty_thousand_words_is_cut_and_its_title_stays() -> None:
    long = "title " + " ".join(f"word{i}" for i in range(50_000))
    short = pre.text_tokens([" ".join(long.split()[: pre.TEXT_WORDS])])["tokens"]
    assert np.array_equal(pre.text_tokens([long])["tokens"], short)


def test_a_product_is_read_from_its_title_on() -> None:
    product = Product("1", "Coat", "warm", "Acme", ("Women", "Coats"), attributes={"colour": "red", "base": "wool"})
    assert pre.product_text(product) == "Coat . Acme . Women . Coats . base wool . colour red . warm"
    assert pre.product_text(Product("2")) == ""


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (64, 64), (97, 61), (640, 480)])
def test_a_picture_of_any_mode_and_size_becomes_a_square(mode: str, size: tuple[int, int]) -> None:
    square = pixels(picture(mode, size))
    assert square.shape == (pre.PIXELS, pre.PIXELS, 3)
    assert square.dtype == np.uint8


def test_cmyk_and_progressive_jpegs_are_read() -> None:
    assert pixels(picture("CMYK", (50, 40), "JPEG", (0, 0, 0, 0)))[32, 32].min() > 250
    red = pixels(picture("RGB", (800, 800), "JPEG", (200, 10, 10), progressive=True))
    assert np.allclose(red[32, 32], (200, 10, 10), atol=4)


def test_what_is_transparent_is_white() -> None:
    assert pixels(picture("RGBA", (64, 64), colour=(255, 0, 0, 0))).min() == 255
    palette = Image.new("P", (64, 64), 0)
    palette.putpalette([0, 0, 0] * 256)
    file = io.BytesIO()
    palette.save(file, "PNG", transparency=0)
    assert pixels(file.getvalue()).min() == 255


def test_the_proportions_are_kept_on_a_white_ground() -> None:
    wide = pixels(picture("RGB", (128, 64), colour=(0, 0, 255)))
    assert wide[:14].min() == 255
    assert wide[32, 32].tolist() == [0, 0, 255]


def test_sixteen_bits_keep_their_shades() -> None:
    values = np.full((64, 64), 32_768, dtype=np.uint16)
    values[0, 0] = 65_535
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    assert abs(int(pixels(file.getvalue())[32, 32, 0]) - 127) <= 2


def test_a_picture_is_turned_upright() -> None:
    made = Image.new("RGB", (64, 64), (0, 255, 0))
    made.paste((255, 0, 0), (0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 3  # by half a turn
    file = io.BytesIO()
    made.save(file, "PNG", exif=exif)
    turned = pixels(file.getvalue())
    assert turned[8, 32].tolist() == [0, 255, 0]
    assert turned[56, 32].tolist() == [255, 0, 0]


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert pixels(file.getvalue())[32, 32].tolist() == [255, 0, 0]


def test_what_is_no_picture_is_rejected_and_says_why() -> None:
    whole = picture("RGB", (200, 200), "JPEG", (1, 2, 3))
    for content in (b"", b"no picture", whole[:300], picture("RGB", (8, 8), "BMP"), picture("RGB", (8, 8), "TIFF")):
        with pytest.raises(ImageRejected, match="cannot be read"):
            pre.image_pixels([content])
    with pytest.raises(ImageRejected, match="200×200"):
        pre.image_pixels([whole], most_pixels=10_000)


def test_prices_of_nothing_and_of_a_trillion_have_features() -> None:
    prices = [0.0, 1e-9, 9.99, 1e12]
    found = pre.price_features(prices, [("a",)] * 4, {"": 2.0, "a": 2.3})["price"]
    assert found.shape == (4, pre.PRICE_FEATURES)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert not np.array_equal(found[2], found[3])


def test_a_price_is_told_relative_to_its_narrowest_known_category() -> None:
    typical = {"": 0.0, "shoes": float(np.log(100.0)), "socks": float(np.log(5.0))}
    found = pre.price_features([100.0, 5.0], [("all", "shoes"), ("all", "socks")], typical)["price"]
    half = pre.PRICE_FEATURES // 2
    assert np.allclose(found[0, :half], found[1, :half], atol=1e-6)
    assert not np.allclose(found[0, half:], found[1, half:], atol=0.1)


def test_a_text_is_summed_times_its_attention_which_is_bounded() -> None:
    encoded = np.array([[3.0, 4.0, 9.0], [0.0, -2.0, 9.0], [0.0, 0.0, 9.0]], np.float32)
    plain = pre.review_vectors(encoded, 2, None)
    assert np.allclose(plain[:, :2], [[0.6, 0.8], [0.0, -1.0], [0.0, 0.0]])
    assert np.allclose(plain[:, 2] * pre.ATTENTION_SCALE, 1.0)
    pooled = pre.review_vectors(encoded, 2, np.array([0.0, 5.0], np.float32))
    assert np.allclose(pooled[:, 2] * pre.ATTENTION_SCALE, [np.e, 1.0 / np.e, 1.0])
    assert np.allclose(pooled[:, :2], plain[:, :2] * pooled[:, 2:] * pre.ATTENTION_SCALE)


def test_reviews_are_shares_of_stars_and_a_mean_of_texts() -> None:
    texts = np.arange(4, dtype=np.float32)
    weighed = Weighed((0, 0, 0, 0, 95_000), 2_000, np.append(texts, np.float32(2.0 / pre.ATTENTION_SCALE)))
    found = pre.review_features([ReviewSummary((0, 0, 0, 0, 95), 2, weighed), ReviewSummary()], 4)
    assert found["ratings"].shape == (2, pre.RATING_FEATURES)
    assert found["ratings"][0, 4] > 0.95
    assert found["ratings"][0, :5].sum() == pytest.approx(1.0)
    assert np.array_equal(found["text"][0], texts / 2)
    assert not found["text"][1].any()
