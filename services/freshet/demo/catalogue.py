"""The demo's shop: products with words, prices and pictures, and their reviews, from a seed. Imports domain alone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from freshet.demo import pictures
from freshet.domain.products import Image, Product, Version
from freshet.domain.reviews import Review

KINDS: Mapping[str, tuple[tuple[str, str], float]] = {
    "t-shirt": (("clothes", "tops"), 15), "shirt": (("clothes", "tops"), 35), "jumper": (("clothes", "knitwear"), 49),
    "dress": (("clothes", "dresses"), 55), "skirt": (("clothes", "skirts"), 35), "coat": (("clothes", "outdoor"), 119),
    "trousers": (("clothes", "trousers"), 49), "shorts": (("clothes", "trousers"), 25),
    "scarf": (("accessories", "scarves"), 19), "hat": (("accessories", "hats"), 17),
    "bag": (("accessories", "bags"), 59), "shoes": (("accessories", "shoes"), 79),
    "cushion": (("home", "textiles"), 22), "vase": (("home", "decoration"), 28), "lamp": (("home", "lighting"), 64),
    "mug": (("home", "tableware"), 11),
}  # fmt: skip
COLOURS: Mapping[str, pictures.Colour] = {
    "red": (198, 40, 48), "rust": (182, 84, 42), "mustard": (221, 165, 42), "olive": (112, 121, 58),
    "green": (40, 128, 78), "teal": (22, 122, 130), "sky blue": (112, 172, 216), "navy": (34, 48, 96),
    "violet": (116, 72, 160), "pink": (234, 142, 172), "sand": (214, 192, 158), "charcoal": (66, 68, 74),
    "white": (238, 236, 230),
}  # fmt: skip
PATTERNS = pictures.PATTERNS
BRANDS: Mapping[str, float] = {
    "Ostrava Mill": 0.7, "Kelp & Co": 0.8, "Norrland": 1.0, "Fable Street": 1.1, "Aster": 1.35, "Maison Brume": 1.9,
}  # fmt: skip
_WORDS: Mapping[str, Sequence[str]] = {
    "clothes": ("soft cotton", "washed linen", "merino wool", "heavy twill", "brushed flannel", "crisp poplin"),
    "accessories": ("full-grain leather", "waxed canvas", "lambswool", "recycled nylon", "fine suede", "woven straw"),
    "cushion": ("thick linen", "lambswool", "brushed cotton", "velvet"),
    "shoes": ("full-grain leather", "fine suede", "waxed canvas"),
    "home": ("stoneware", "hand-blown glass", "oiled oak", "matt porcelain", "spun brass"),
}
_FEEL = ("light", "warm", "sturdy", "relaxed", "neat", "generous", "slim", "easy-going")
_OCCASION = ("long weekends", "the office", "summer evenings", "cold mornings", "travelling light", "quiet Sundays",
             "garden parties", "city walks")  # fmt: skip
_PATTERN_LINES: Mapping[str, str] = {
    "plain": "One even colour, nothing more", "striped": "Broad stripes run across it",
    "pinstriped": "Fine lines run from top to bottom", "dotted": "Scattered all over with round dots",
    "checked": "A large check in two tones", "floral": "Little flowers bloom all over it",
    "zigzag": "A restless zigzag goes from side to side",
}  # fmt: skip
_TITLES = ("{feel} {pattern} {kind}", "{pattern} {kind} in {colour}", "{colour} {kind}, {pattern}",
           "{kind} for {occasion}, {colour} {pattern}")  # fmt: skip
_CARE = ("Wash at thirty degrees.", "Wipe with a damp cloth.", "Made in small batches.", "Repaired free of charge.",
         "Packed without plastic.", "A favourite since the first season.")  # fmt: skip
_GOOD = ("I love it, the {colour} is even nicer than in the picture.", "Excellent quality, worth every cent.",
         "My new favourite {kind}; beautifully made.", "Perfect. It arrived quickly and feels wonderful.",
         "Very happy with this {kind}, I would buy it again.")  # fmt: skip
_FAIR = (
    "A decent {kind}, nothing special.",
    "Fine for the price.",
    "It is okay, though the {colour} looks paler here.",
)
_BAD = ("Disappointing: it fell apart after a week.", "Poor quality, I sent the {kind} back.",
        "Cheap and ugly, the {colour} is awful.", "Terrible. The seams are crooked and it smells.")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Item:
    """A product with what the demo knows of it. `quality` is 0 to 1, `appeal` its share of the shop's demand."""

    product: Product
    kind: str
    colour: str
    pattern: str
    quality: float
    appeal: float


def make_items(count: int, seed: int) -> Iterator[Item]:
    """`count` products. The same arguments give the same shop, pictures included."""
    dice = random.Random(f"items {seed}")
    for number in range(count):
        kind = dice.choice(tuple(KINDS))
        colour = dice.choice(tuple(COLOURS))
        pattern = "plain" if dice.random() < 0.25 else dice.choice(PATTERNS[1:])
        yield _item(number, kind, colour, pattern, dice)


def _item(number: int, kind: str, colour: str, pattern: str, dice: random.Random) -> Item:
    categories, base = KINDS[kind]
    brand = dice.choice(tuple(BRANDS))
    material = dice.choice(_WORDS.get(kind, _WORDS[categories[0]]))
    words = {
        "feel": dice.choice(_FEEL), "pattern": pattern, "kind": kind, "colour": colour,
        "occasion": dice.choice(_OCCASION), "material": material,
    }  # fmt: skip
    title = dice.choice(_TITLES).format(**words)
    sentences = [
        f"A {words['feel']} {kind} of {material}, in {colour}.",
        f"{_PATTERN_LINES[pattern]}.",
        f"Made for {dice.choice(_OCCASION)}.",
        dice.choice(_CARE),
    ]
    jitter = tuple(max(0, min(255, channel + dice.randint(-12, 12))) for channel in COLOURS[colour])
    picture = pictures.draw(kind, (jitter[0], jitter[1], jitter[2]), pattern, dice.getrandbits(32))
    price = max(4.0, round(base * BRANDS[brand] * dice.uniform(0.8, 1.25))) - 0.01
    product = Product(
        product_id=f"demo-{number:05d}",
        title=title[0].upper() + title[1:],
        description=" ".join(sentences),
        brand=brand,
        categories=(*categories, kind),
        price=round(price, 2),
        currency="EUR",
        image=Image(content=picture),
        attributes={"colour": colour, "pattern": pattern, "material": material},
    )
    return Item(product, kind, colour, pattern, dice.betavariate(4, 2), dice.lognormvariate(0.0, 0.8))


def make_reviews(items: Sequence[Item], seed: int, time_us: int) -> Iterator[Review]:
    """About one and a half reviews a product; stars follow its quality, words follow the stars."""
    dice = random.Random(f"reviews {seed}")
    for item in items:
        for number in range(dice.choice((0, 0, 1, 1, 2, 3, 4))):
            stars = max(1, min(5, round(1 + 4 * item.quality + dice.gauss(0, 0.8))))
            lines = _GOOD if stars >= 4 else _FAIR if stars == 3 else _BAD
            product_id = item.product.product_id
            yield Review(
                review_id=f"{product_id}-r{number}",
                product_id=product_id,
                rating=float(stars),
                text=dice.choice(lines).format(kind=item.kind, colour=item.colour),
                version=Version(time_us - dice.randrange(30 * 86_400) * 1_000_000, 0),
            )
