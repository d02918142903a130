"""The page's own files: readable in both schemes, and all there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[3] / "services" / "freshet" / "console" / "static"
BASE = (STATIC / "base.css").read_text()
LEAST_CONTRAST = 4.5
"""WCAG 2.2, success criterion 1.4.3, for text of any size."""
TEXTS = (
    ("ink", "ground"), ("soft", "ground"), ("faint", "ground"), ("faint", "surface"), ("accent", "surface"),
    ("accent", "accent-soft"), ("on-accent", "accent"), ("amber", "surface"), ("amber", "amber-soft"),
    ("red", "surface"), ("red", "red-soft"), ("red", "ground"),
)  # fmt: skip


def colours() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", BASE, re.DOTALL)[:2]
    read = {name: dict(re.findall(r"--([\w-]+): (#\w+);", text)) for name, text in (("light", light), ("dark", dark))}
    return {"light": read["light"], "dark": read["light"] | read["dark"]}


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXTS)
def test_text_can_be_read(scheme: str, text: str, ground: str) -> None:
    known = colours()[scheme]
    darker, lighter = sorted((luminance(known[text]), luminance(known[ground])))
    assert (lighter + 0.05) / (darker + 0.05) >= LEAST_CONTRAST


def test_every_file_that_is_named_is_there() -> None:
    page = (STATIC / "index.html").read_text()
    named = set(re.findall(r'"static/([\w.-]+)"', page))
    for path in STATIC.glob("*.js"):
        named |= set(re.findall(r'from "\./([\w.-]+)"', path.read_text()))
    assert {path.name for path in STATIC.iterdir()} == named | {"index.html"}
