"""Curves over epochs as a picture. Pillow alone."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

SIZE = (720, 400)
FRAME = (56, 16, 540, 360)
COLOURS = ("#1b1b1b", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
LINES = 4


def draw(curves: Mapping[str, Sequence[float]]) -> bytes:
    """A PNG: a line per name over its epochs from 1, on one axis from 0 or the least value to the largest."""
    picture = Image.new("RGB", SIZE, "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default()
    values = [value for curve in curves.values() for value in curve]
    low, high = min(0.0, *values, 0.0), max(*values, 1e-9, 1e-9)
    left, top, right, bottom = FRAME
    epochs = max(len(curve) for curve in curves.values())

    def place(epoch: int, value: float) -> tuple[float, float]:
        across = epoch / max(epochs - 1, 1)
        return left + across * (right - left), bottom - (value - low) / (high - low) * (bottom - top)

    for line in range(LINES + 1):
        value = low + (high - low) * line / LINES
        y = place(0, value)[1]
        pen.line([(left, y), (right, y)], fill="#dddddd")
        pen.text((8, y - 6), f"{value:.3g}", fill="black", font=font)
    for epoch in sorted({0, (epochs - 1) // 2, epochs - 1}):
        pen.text((place(epoch, low)[0] - 3, bottom + 6), str(epoch + 1), fill="black", font=font)
    pen.text(((left + right) / 2 - 18, bottom + 20), "epoch", fill="black", font=font)
    for i, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[i % len(COLOURS)]
        points = [place(epoch, value) for epoch, value in enumerate(curve)]
        if len(points) > 1:
            pen.line(points, fill=colour, width=2)
        for x, y in points:
            pen.ellipse([x - 2, y - 2, x + 2, y + 2], fill=colour)
        pen.text((right + 16, top + 16 * i), name, fill=colour, font=font)
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
