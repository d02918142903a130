"""Products' pictures as small ones that a page can carry inside it. May import `domain`, `errors` and Pillow."""

from __future__ import annotations

import asyncio
import base64
import io
import warnings
from collections.abc import Mapping
from typing import Protocol

from PIL import Image as Pictures
from PIL import ImageOps

from freshet.domain.products import Image
from freshet.errors import ImageRejected
from freshet.representation.preprocessing import IMAGE_FORMATS

SIDE = 200
MOST_PIXELS = 40_000_000
AT_ONCE = 8


class Loader(Protocol):
    """Where a picture's bytes come from."""

    async def load(self, image: Image) -> bytes:
        """Raises ImageRejected."""
        ...


async def thumbnails(loader: Loader, images: Mapping[str, Image]) -> dict[str, str]:
    """By product id a `data:` address; a picture that cannot be had or read is left out."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(image: Image) -> str:
        try:
            async with turn:
                content = await loader.load(image)
            return await asyncio.to_thread(_small, content)
        except ImageRejected:
            return ""

    found = await asyncio.gather(*map(one, images.values()))
    return {product_id: address for product_id, address in zip(images, found, strict=True) if address}


def _small(content: bytes) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Pictures.DecompressionBombWarning)
            with Pictures.open(io.BytesIO(content), formats=IMAGE_FORMATS) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    return ""
                opened.draft("RGB", (SIDE, SIDE))
                upright = ImageOps.exif_transpose(opened).convert("RGB")
    except (Pictures.DecompressionBombError, Pictures.DecompressionBombWarning, OSError, SyntaxError, ValueError):
        return ""
    upright.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    upright.save(out, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
