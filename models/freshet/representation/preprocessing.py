"""From a product's facts to what its encoders take: the one implementation, for training and for serving. No torch.

Shapes have the products first. Every function is total: bad text is a text, and a picture that cannot be read raises
ImageRejected.
"""

from __future__ import annotations

import io
import itertools
import re
import struct
import unicodedata
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray
from PIL import ExifTags
from PIL import Image as Pictures

from freshet.domain.products import Product
from freshet.domain.reviews import UNIT, ReviewSummary
from freshet.errors import ConfigurationError, ImageRejected

TEXT_BUCKETS = 2**16
TEXT_LENGTH = 160
"""Tokens read of one text: words first, pairs of words after."""
TEXT_WORDS = 96
TOKENIZER = "tokenizer.json"
"""In a folder of a sentence encoder's files, and of a model that has one: how texts fall into pieces."""
PIECES = 64
"""Word pieces read of one text, for a sentence encoder."""
HASHED_WORDS = 256
PIXELS = 64
PRICE_CENTRES = np.linspace(-3.0, 3.0, 12, dtype=np.float32)
PRICE_FEATURES = 2 * len(PRICE_CENTRES)
ATTENTION_MOST = 1.0
"""A review's attention lies between e^-1 and e."""
ATTENTION_SCALE = 16.0
"""Attention is summed over this, so that float32 holds the sums exactly up to 65,000 reviews of a product."""
LEAST_PRICE = 1e-6
"""A price of nothing counts as this, so that it has a logarithm."""
RATING_FEATURES = 7
WORDS_READ = 10_000
WORD_CHARACTERS = 64
"""Characters read of one word."""
REMEMBERED = 200_000
"""Words and pairs of words whose numbers are kept."""
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
TURNS = {
    2: Pictures.Transpose.FLIP_LEFT_RIGHT,
    3: Pictures.Transpose.ROTATE_180,
    4: Pictures.Transpose.FLIP_TOP_BOTTOM,
    5: Pictures.Transpose.TRANSPOSE,
    6: Pictures.Transpose.ROTATE_270,
    7: Pictures.Transpose.TRANSVERSE,
    8: Pictures.Transpose.ROTATE_90,
}
"""EXIF's orientation, and what turns a picture upright that was stored so."""

INPUT_SIZES: Mapping[str, int] = {
    "text_buckets": TEXT_BUCKETS,
    "text_tokens": TEXT_LENGTH,
    "text_words": TEXT_WORDS,
    "word_pieces": PIECES,
    "words_read": WORDS_READ,
    "picture_pixels": PIXELS,
    "price_features": PRICE_FEATURES,
    "rating_features": RATING_FEATURES,
}
"""What inputs look like, as a model card tells it: a model serves only where it is the same."""

K = TypeVar("K", bound=Hashable)

_WORD = re.compile(r"[^\W_]+")
_ASCII_BREAKS = "".join(letter if letter.isalnum() else " " for letter in map(chr, range(128)))
"""For `str.translate`: of ASCII, what is no word parts words."""
# Scripts written without spaces: every character is a word of its own.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f]")


def product_text(product: Product) -> str:
    """What the text encoder reads of a product: title, brand, categories, attributes, description."""
    parts = [product.title, product.brand, *product.categories]
    parts += [f"{name} {value}" for name, value in sorted(product.attributes.items())]
    return " . ".join(part for part in (*parts, product.description) if part)


def facts_text(product: Product) -> str:
    """Of that text what tells facts from a list, not in somebody's words: categories and attributes."""
    return " . ".join([*product.categories, *(f"{name} {value}" for name, value in sorted(product.attributes.items()))])


def words(text: str, limit: int = WORDS_READ) -> list[str]:
    """Words in lower case, compatibility forms folded; at most `limit`."""
    read = text[: limit * 40]
    if read.isascii():
        # What follows says the same of ASCII, at several times the cost.
        found = read.lower().translate(_ASCII_BREAKS).split()[:limit]
        return (
            found if max(map(len, found), default=0) <= WORD_CHARACTERS else [word[:WORD_CHARACTERS] for word in found]
        )
    folded = unicodedata.normalize("NFKC", read).casefold()
    found = []
    for word in _WORD.findall(folded)[:limit]:
        if _UNSPACED.search(word):
            found.extend(word)
        else:
            found.append(word[:WORD_CHARACTERS])
    return found[:limit]


class _Remembered(dict[K, int]):
    """Numbers of words or of pairs, each worked out once; forgets them all when there are REMEMBERED.

    Half the cost of `lru_cache`, which keeps an order of use.
    """

    def __init__(self, number: Callable[[K], int]) -> None:
        super().__init__()
        self._number: Callable[[K], int] = number

    def __missing__(self, key: K) -> int:
        if len(self) >= REMEMBERED:
            self.clear()
        self[key] = number = self._number(key)
        return number


def _number_of(token: str) -> int:
    return 1 + xxhash.xxh32_intdigest(token.encode()) % TEXT_BUCKETS


_word_bucket = _Remembered[str](_number_of).__getitem__
_pair_bucket = _Remembered[tuple[str, str]](lambda pair: _number_of(" ".join(pair))).__getitem__
_word_hash = _Remembered[str](lambda word: xxhash.xxh32_intdigest(word.encode())).__getitem__


def text_tokens(texts: Sequence[str]) -> dict[str, NDArray[np.int32]]:
    """{"tokens": int32 (texts, TEXT_LENGTH)}: buckets of distinct words and neighbouring pairs; 0 is padding."""
    rows = []
    for text in texts:
        read = words(text, TEXT_WORDS)
        buckets = itertools.chain(map(_word_bucket, read), map(_pair_bucket, itertools.pairwise(read)))
        rows.append(list(dict.fromkeys(buckets))[:TEXT_LENGTH])
    lengths = np.fromiter(map(len, rows), np.intp, len(rows))
    tokens = np.zeros((len(texts), TEXT_LENGTH), dtype=np.int32)
    tokens[np.arange(TEXT_LENGTH) < lengths[:, None]] = np.fromiter(
        itertools.chain.from_iterable(rows), np.int32, int(lengths.sum())
    )
    return {"tokens": tokens}


class TextReader:
    """Texts as a model's text encoder takes them: `text_tokens`, behind them word pieces if it has a tokeniser."""

    def __init__(self, tokenizer: Path | None = None) -> None:
        """`tokenizer`: a tokenizer.json of the package tokenizers. Raises ConfigurationError."""
        self.tokenizer = tokenizer
        self._pieces = None if tokenizer is None else _tokenizer(tokenizer)

    def __call__(self, texts: Sequence[str]) -> dict[str, NDArray[np.int32]]:
        """{"tokens": int32 (texts, TEXT_LENGTH)}, or (texts, TEXT_LENGTH + PIECES)."""
        found = text_tokens(texts)
        if self._pieces is None:
            return found
        pieces = np.zeros((len(texts), PIECES), dtype=np.int32)
        # No more of a text is read than this. Half a surrogate pair is no character.
        cut = [text[: 40 * PIECES].encode("utf-8", "ignore").decode() for text in texts]
        for row, read in enumerate(self._pieces.encode_batch(cut)):
            if texts[row].strip():
                pieces[row, : len(read.ids)] = read.ids
        return {"tokens": np.concatenate([found["tokens"], pieces], axis=1)}


def _tokenizer(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ConfigurationError("this model reads word pieces; type `pip install tokenizers`") from error
    try:
        # It names the file itself, if it tells anything; all that it raises is Exception.
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:
        raise ConfigurationError(f"{path} cannot be read as a tokeniser: {error}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(PIECES)
    return tokenizer


def word_hashes(text: str, limit: int = HASHED_WORDS) -> list[int]:
    """XXH32 of a text's distinct words in order, at most `limit`: what exact words are found by."""
    distinct = dict.fromkeys(words(text, 4 * limit))
    return list(map(_word_hash, itertools.islice(distinct, limit)))


def image_pixels(contents: Sequence[bytes], most_pixels: int = 40_000_000) -> dict[str, NDArray[np.uint8]]:
    """{"pixels": uint8 (pictures, PIXELS, PIXELS, 3)}. Raises ImageRejected."""
    return {"pixels": np.stack([_picture(content, most_pixels) for content in contents])}


def _picture(content: bytes, most_pixels: int) -> NDArray[np.uint8]:
    """First frame, upright, on white, whole and centred in a square."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of damage to data that are not read here.
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
            warnings.simplefilter("error", Pictures.DecompressionBombWarning)
            with Pictures.open(io.BytesIO(content), formats=IMAGE_FORMATS) as opened:
                if opened.width * opened.height > most_pixels:
                    raise ImageRejected(
                        "image", f"has {opened.width}×{opened.height} pixels; at most {most_pixels:,} are read"
                    )
                # A JPEG is decoded at the smallest of its own scales that has PIXELS both ways.
                opened.draft("RGB", (PIXELS, PIXELS))
                opened.load()
                flat = _on_white(_upright(opened))
    except ImageRejected:
        raise
    except Pictures.DecompressionBombError as error:
        raise ImageRejected("image", f"has too many pixels: {error}") from error
    except Pictures.DecompressionBombWarning as error:
        raise ImageRejected("image", f"has too many pixels: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError, MemoryError) as error:
        raise ImageRejected("image", f"cannot be read as {', '.join(IMAGE_FORMATS)}: {error}") from error
    return np.asarray(_squared(flat), dtype=np.uint8)


def _upright(picture: Pictures.Image) -> Pictures.Image:
    """Turned as the EXIF data say. Damage to them costs no more than the turn: the pixels are whole.

    `ImageOps.exif_transpose` would write the data anew as well, which fails on a tag of another type than it should be.
    """
    try:
        turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except (ArithmeticError, AttributeError, LookupError, OSError, SyntaxError, TypeError, ValueError, struct.error):
        return picture
    return picture if turn is None else picture.transpose(turn)


def _squared(picture: Pictures.Image) -> Pictures.Image:
    """In the middle of a white square. However thin, a line of it is left."""
    longest = max(picture.size)
    width, height = (max(1, round(PIXELS * side / longest)) for side in picture.size)
    square = Pictures.new("RGB", (PIXELS, PIXELS), (255, 255, 255))
    place = round((PIXELS - width) * 0.5), round((PIXELS - height) * 0.5)
    square.paste(picture.resize((width, height), Pictures.Resampling.BILINEAR), place)
    return square


def _on_white(picture: Pictures.Image) -> Pictures.Image:
    if picture.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        # 16 bits and more per channel: Pillow would cut them off at 255.
        values = np.asarray(picture, dtype=np.float32)
        highest = max(float(values.max(initial=0.0)), 255.0)
        top = 255.0 if highest <= 255.0 else max(65535.0, highest)
        return Pictures.fromarray((values * (255.0 / top)).clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        ground = Pictures.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Pictures.alpha_composite(ground, rgba).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def log_price(prices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm: what is twice as dear is as far away at any price, in any currency."""
    logs: NDArray[np.float64] = np.log(np.maximum(prices, LEAST_PRICE))
    return logs


def typical_log_prices(categories: Sequence[Sequence[str]], typical: Mapping[str, float]) -> NDArray[np.float64]:
    """The log price that is usual in each product's narrowest known category, else in the catalogue: (products,)."""
    overall = typical.get("", 0.0)
    nearest = [next((typical[name] for name in reversed(names) if name in typical), overall) for names in categories]
    return np.asarray(nearest, dtype=np.float64)


def price_features(
    prices: Sequence[float], categories: Sequence[Sequence[str]], typical: Mapping[str, float]
) -> dict[str, NDArray[np.float32]]:
    """{"price": float32 (products, PRICE_FEATURES)}: where the price lies in its category, and in the catalogue.

    Piecewise features of the logarithm: a bump around each centre. `typical` holds the median log price per
    category, and under "" that of all.
    """
    overall = typical.get("", 0.0)
    logs = log_price(np.asarray(prices, dtype=np.float64))
    relative = (logs - typical_log_prices(categories, typical)).astype(np.float32)
    absolute = (logs - overall).astype(np.float32)
    bumps = [
        np.exp(-np.square((value.clip(-3.0, 3.0)[:, None] - PRICE_CENTRES) / 0.5)) for value in (relative, absolute)
    ]
    return {"price": np.concatenate(bumps, axis=1).astype(np.float32)}


def review_vectors(
    encoded: NDArray[np.float32], text_size: int, attention: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """What is summed of encoded review texts, (texts, text_size + 1): their learned part, unit length or zero, times
    the attention a text gets, and behind it that attention over ATTENTION_SCALE, so that sums can be made means.

    `attention` is the model's, (text_size,); None gives every text the same.
    """
    learned = encoded[:, :text_size]
    lengths = np.sqrt(np.einsum("ij,ij->i", learned, learned))
    unit = learned / np.maximum(lengths, 1e-12)[:, None]
    weights = np.ones(len(unit), np.float32)
    if attention is not None:
        weights = np.exp((unit @ attention).clip(-ATTENTION_MOST, ATTENTION_MOST))
    summed: NDArray[np.float32] = np.column_stack([unit * weights[:, None], weights / ATTENTION_SCALE])
    return summed.astype(np.float32)


def review_features(summaries: Sequence[ReviewSummary], text_size: int) -> dict[str, NDArray[np.float32]]:
    """{"ratings": float32 (products, RATING_FEATURES), "text": float32 (products, text_size)}.

    Shares of one to five stars (shrunk by five reviews of the usual kind), mean and count; the texts, pooled by
    attention. All by weight: a flood of reviews has little (freshet.domain.reviews).
    """
    usual = np.array([0.05, 0.05, 0.1, 0.25, 0.55])
    ratings = np.zeros((len(summaries), RATING_FEATURES), dtype=np.float32)
    texts = np.zeros((len(summaries), text_size), dtype=np.float32)
    for row, summary in enumerate(summaries):
        weighed = summary.weighed
        stars = np.asarray(weighed.stars, dtype=np.float64) / UNIT
        shares = (stars + 5.0 * usual) / (stars.sum() + 5.0)
        ratings[row, :5] = shares
        ratings[row, 5] = shares @ np.arange(1.0, 6.0) / 5.0
        ratings[row, 6] = min(np.log1p(stars.sum()) / 8.0, 2.0)
        if weighed.text_sum is not None and (attention := weighed.text_sum[-1]) > 0.0:
            texts[row] = weighed.text_sum[:-1] / (attention * np.float32(ATTENTION_SCALE))
    return {"ratings": ratings, "text": texts}
