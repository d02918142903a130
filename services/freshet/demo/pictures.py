"""Pictures of the demo's products: a silhouette per kind, filled with a colour and a pattern. Pillow only."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from PIL import Image, ImageChops, ImageDraw, ImageFilter

SIZE = 128
_SCALE = 2
_CANVAS = SIZE * _SCALE

Colour: TypeAlias = tuple[int, int, int]
Points: TypeAlias = Sequence[tuple[float, float]]
Draw: TypeAlias = ImageDraw.ImageDraw

# Outlines on a square of 100 by 100, left half from the top; the right half mirrors it.
_MIRRORED: Mapping[str, Points] = {
    "t-shirt": ((42, 16), (34, 18), (10, 34), (20, 50), (31, 43), (31, 86)),
    "shirt": ((44, 13), (34, 17), (18, 28), (9, 68), (20, 71), (31, 44), (30, 88)),
    "jumper": ((41, 15), (32, 18), (17, 29), (8, 74), (21, 77), (30, 46), (29, 82), (31, 87)),
    "dress": ((42, 12), (36, 12), (34, 28), (38, 44), (22, 90)),
    "skirt": ((34, 26), (33, 33), (16, 82)),
    "coat": ((43, 8), (32, 12), (19, 22), (10, 66), (22, 69), (30, 40), (25, 94)),
    "trousers": ((33, 9), (31, 22), (25, 93), (42, 93), (50, 36)),
    "shorts": ((30, 26), (28, 38), (20, 72), (45, 74), (50, 52)),
    "vase": ((42, 12), (44, 26), (28, 46), (28, 66), (38, 88)),
    "lamp": ((40, 12), (26, 52), (48, 52), (48, 82), (32, 86), (32, 90)),
}


def draw(kind: str, colour: Colour, pattern: str, seed: int) -> bytes:
    """A JPEG of SIZE by SIZE pixels. The same arguments give the same bytes. Raises KeyError for an unknown kind."""
    dice = random.Random(seed)
    mask = _mask(kind, dice)
    cloth = _cloth(colour, pattern, dice)
    shaded = ImageChops.multiply(cloth, _light(mask))
    backdrop = Image.new("RGB", (_CANVAS, _CANVAS), dice.choice(((250, 249, 246), (244, 245, 248), (248, 244, 240))))
    shadow = ImageChops.offset(mask, 5, 7).filter(ImageFilter.GaussianBlur(7)).point(lambda level: level // 3)
    backdrop.paste((70, 66, 62), mask=shadow)
    backdrop.paste(shaded, mask=mask)
    _details(kind, ImageDraw.Draw(backdrop), _shade(colour, 0.55))
    small = backdrop.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=88)
    return out.getvalue()


def _mask(kind: str, dice: random.Random) -> Image.Image:
    mask = Image.new("L", (_CANVAS, _CANVAS), 0)
    canvas = ImageDraw.Draw(mask)
    wide = dice.uniform(0.94, 1.06)
    if kind in _MIRRORED:
        left = [(50 - (50 - x) * wide, y) for x, y in _MIRRORED[kind]]
        right = [(100 - x, y) for x, y in reversed(left)]
        canvas.polygon(_scaled([*left, *right]), fill=255)
        if kind in ("t-shirt", "jumper", "dress"):
            canvas.ellipse(_box(41, 6, 59, 20), fill=0)
    else:
        _SHAPES[kind](canvas)
    return mask.filter(ImageFilter.GaussianBlur(1.2)).point(lambda level: 255 if level > 127 else 0)


def _scarf(canvas: Draw) -> None:
    canvas.arc(_box(28, 8, 72, 52), 0, 360, fill=255, width=26)
    canvas.polygon(_scaled([(40, 46), (54, 46), (50, 92), (36, 92)]), fill=255)
    canvas.polygon(_scaled([(52, 44), (64, 44), (70, 78), (57, 80)]), fill=255)


def _hat(canvas: Draw) -> None:
    canvas.pieslice(_box(24, 20, 76, 96), 180, 360, fill=255)
    canvas.rounded_rectangle(_box(20, 55, 80, 70), 14, fill=255)
    canvas.ellipse(_box(43, 10, 57, 24), fill=255)


def _bag(canvas: Draw) -> None:
    canvas.rounded_rectangle(_box(18, 40, 82, 88), 22, fill=255)
    canvas.arc(_box(32, 12, 68, 68), 180, 360, fill=255, width=13)


def _shoe(canvas: Draw) -> None:
    canvas.polygon(_scaled([(10, 40), (30, 38), (38, 50), (60, 58), (86, 64), (92, 74), (8, 74)]), fill=255)
    canvas.rounded_rectangle(_box(6, 72, 94, 80), 8, fill=255)


def _cushion(canvas: Draw) -> None:
    points = []
    for step in range(120):
        angle = 2 * math.pi * step / 120
        x, y = math.cos(angle), math.sin(angle)
        power = 0.38
        points.append((50 + 36 * math.copysign(abs(x) ** power, x), 50 + 34 * math.copysign(abs(y) ** power, y)))
    canvas.polygon(_scaled(points), fill=255)


def _mug(canvas: Draw) -> None:
    canvas.rounded_rectangle(_box(20, 26, 66, 82), 16, fill=255)
    canvas.arc(_box(54, 36, 88, 70), -90, 90, fill=255, width=14)


_SHAPES: Mapping[str, Callable[[Draw], None]] = {
    "scarf": _scarf,
    "hat": _hat,
    "bag": _bag,
    "shoes": _shoe,
    "cushion": _cushion,
    "mug": _mug,
}
KINDS = (*_MIRRORED, *_SHAPES)
PATTERNS = ("plain", "striped", "pinstriped", "dotted", "checked", "floral", "zigzag")


def _cloth(colour: Colour, pattern: str, dice: random.Random) -> Image.Image:
    cloth = Image.new("RGB", (_CANVAS, _CANVAS), colour)
    canvas = ImageDraw.Draw(cloth)
    light = sum(colour) > 420
    other = _shade(colour, 0.5) if light else _tint(colour, 0.72)
    step = dice.randint(20, 27)
    if pattern == "striped":
        for y in range(dice.randint(0, step), _CANVAS, step):
            canvas.rectangle((0, y, _CANVAS, y + step * 0.42), fill=other)
    elif pattern == "pinstriped":
        for x in range(dice.randint(0, 14), _CANVAS, 15):
            canvas.rectangle((x, 0, x + 2, _CANVAS), fill=other)
    elif pattern == "dotted":
        radius = step * 0.24
        for row, y in enumerate(range(0, _CANVAS + step, step)):
            for x in range(0, _CANVAS + step, step):
                middle = x + (step / 2 if row % 2 else 0)
                canvas.ellipse((middle - radius, y - radius, middle + radius, y + radius), fill=other)
    elif pattern == "checked":
        cloth = _checked(colour, other, step)
    elif pattern == "floral":
        for _ in range(46):
            _flower(canvas, dice, other, _tint(other, 0.3) if not light else (250, 235, 200))
    elif pattern == "zigzag":
        for y in range(-step, _CANVAS + step, step):
            points = [(x, y + (step * 0.5 if i % 2 else 0)) for i, x in enumerate(range(0, _CANVAS + 16, 16))]
            canvas.line(points, fill=other, width=7, joint="curve")
    return cloth


def _checked(colour: Colour, other: Colour, step: int) -> Image.Image:
    rows = Image.new("L", (_CANVAS, _CANVAS), 0)
    columns = Image.new("L", (_CANVAS, _CANVAS), 0)
    for at in range(0, _CANVAS, step * 2):
        ImageDraw.Draw(rows).rectangle((0, at, _CANVAS, at + step), fill=120)
        ImageDraw.Draw(columns).rectangle((at, 0, at + step, _CANVAS), fill=120)
    return Image.composite(
        Image.new("RGB", rows.size, other), Image.new("RGB", rows.size, colour), ImageChops.add(rows, columns)
    )


def _flower(canvas: Draw, dice: random.Random, petals: Colour, heart: Colour) -> None:
    x, y, radius = dice.uniform(0, _CANVAS), dice.uniform(0, _CANVAS), dice.uniform(5, 9)
    turn = dice.uniform(0, math.tau)
    for petal in range(5):
        angle = turn + math.tau * petal / 5
        px, py = x + math.cos(angle) * radius, y + math.sin(angle) * radius
        canvas.ellipse((px - radius * 0.7, py - radius * 0.7, px + radius * 0.7, py + radius * 0.7), fill=petals)
    canvas.ellipse((x - radius * 0.45, y - radius * 0.45, x + radius * 0.45, y + radius * 0.45), fill=heart)


def _light(mask: Image.Image) -> Image.Image:
    """Darker towards the outline, as cloth is."""
    inner = mask.filter(ImageFilter.GaussianBlur(13)).point(lambda level: 150 + level * 105 // 255)
    return Image.merge("RGB", (inner, inner, inner))


def _details(kind: str, canvas: Draw, ink: Colour) -> None:
    """The seams by which a kind is told from another at a glance."""
    if kind in ("shirt", "coat"):
        canvas.line(_scaled([(50, 16), (50, 87)]), fill=ink, width=3)
        for y in range(26, 84, 12):
            canvas.ellipse(_box(51.5, y, 54.5, y + 3), fill=ink)
        canvas.line(_scaled([(43, 13), (50, 23), (57, 13)]), fill=ink, width=4)
    elif kind == "trousers":
        canvas.line(_scaled([(33, 14), (67, 14)]), fill=ink, width=4)
        canvas.line(_scaled([(50, 14), (50, 36)]), fill=ink, width=3)
    elif kind == "shorts":
        canvas.line(_scaled([(30, 32), (70, 32)]), fill=ink, width=4)
    elif kind == "skirt":
        canvas.line(_scaled([(33, 33), (67, 33)]), fill=ink, width=4)
    elif kind == "dress":
        canvas.line(_scaled([(38, 44), (62, 44)]), fill=ink, width=4)
    elif kind == "jumper":
        for y in (80, 83):
            canvas.line(_scaled([(30, y), (70, y)]), fill=ink, width=2)
    elif kind == "hat":
        canvas.line(_scaled([(22, 56), (78, 56)]), fill=ink, width=3)
    elif kind == "bag":
        canvas.line(_scaled([(19, 52), (81, 52)]), fill=ink, width=3)
    elif kind == "shoes":
        canvas.line(_scaled([(7, 73), (93, 73)]), fill=ink, width=4)
        for x in (36, 42, 48):
            canvas.line(_scaled([(x, 54), (x + 6, 48)]), fill=ink, width=3)
    elif kind == "lamp":
        canvas.line(_scaled([(27, 51), (73, 51)]), fill=ink, width=4)
    elif kind == "mug":
        canvas.ellipse(_box(22, 24, 64, 32), fill=ink)


def _scaled(points: Points) -> list[tuple[float, float]]:
    return [(x * _CANVAS / 100, y * _CANVAS / 100) for x, y in points]


def _box(left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
    factor = _CANVAS / 100
    return (left * factor, top * factor, right * factor, bottom * factor)


def _shade(colour: Colour, share: float) -> Colour:
    return (int(colour[0] * share), int(colour[1] * share), int(colour[2] * share))


def _tint(colour: Colour, share: float) -> Colour:
    red, green, blue = (int(channel + (255 - channel) * share) for channel in colour)
    return (red, green, blue)
