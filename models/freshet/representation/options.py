"""What a training run is asked to do, from code, a file, or flags: sizes, encoders, fusion, losses. No torch."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from freshet.domain.representations import Layout, Modality, Segment
from freshet.errors import ConfigurationError

BATCH = 256
"""Pairs a step."""
STEPS = 16
"""Steps an epoch."""
Part = Literal["image", "price", "reviews", "fusion", "caption"]
"""The networks that steps change. Word vectors are solved in closed form."""
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class _Values(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sizes(_Values):
    """Dimensions of the segments, in the order in which a vector has them."""

    text: Count = 256
    image: Count = 64
    price: Count = 16
    reviews: Count = 16
    joint: Count = 64
    terms: Count = 256

    @property
    def encoded(self) -> tuple[int, int, int, int]:
        """What the encoders of text, image, price and reviews give: a text has its terms behind it."""
        return self.text + self.terms, self.image, self.price, self.reviews

    @property
    def fused(self) -> tuple[int, int, int, int]:
        """What the fusion takes of them."""
        return self.text, self.image, self.price, self.reviews

    def layout(self, model_version: str) -> Layout:
        """A whole vector's segments."""
        return Layout(model_version, tuple(Segment(name, getattr(self, name.value)) for name in Modality))


class TrainingOptions(_Values):
    """`seconds` is a bound: training ends with the epoch in which it is passed. Where `epochs` end it, time plays no
    part in what comes out.

    `text` is what `encoders.minilm.text_folder` takes, `image` what `encoders.image.image_encoder` does, `fusion` names
    one of `fusion.FUSIONS`, `losses` weighs those of `losses.LOSSES` by name. Parts named in `freeze` keep what they
    begin with. `unfreeze` releases them by layers: for a part, from which epoch (the first is 0) how many of its last
    layers learn.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    seconds: Positive = 600.0
    epochs: Annotated[int, Field(ge=0)] = 6
    threads: Count = 2
    sizes: Sizes = Field(default_factory=Sizes)
    text: str = "words"
    image: str = "cnn"
    fusion: str = "gated"
    losses: Annotated[Mapping[str, Annotated[float, Field(ge=0.0, allow_inf_nan=False)]], Field(min_length=1)] = Field(
        default_factory=lambda: {"chosen_together": 1.0, "captions": 1.0, "pictures_together": 0.5}
    )
    learning_rate: Positive = 2e-3
    weight_decay: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.02
    modality_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.25
    """Share of the modalities that a step leaves out, so that any subset gives a usable vector."""
    freeze: tuple[Part, ...] = ()
    unfreeze: Mapping[Part, Mapping[Annotated[int, Field(ge=0)], Count]] = Field(default_factory=dict)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: a GPU where there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where a GPU computes it. On a CPU steps are in float32, and repeat exactly."""

    @model_validator(mode="after")
    def _unfrozen_are_frozen(self) -> TrainingOptions:
        unknown = sorted(set(self.unfreeze) - set(self.freeze))
        if unknown:
            raise ValueError(f"unfreeze names {', '.join(unknown)}, which freeze does not; add it to freeze")
        return self


def training_options(values: Mapping[str, Any], source: str) -> TrainingOptions:
    """Checked options. Raises ConfigurationError that names `source` and the field."""
    try:
        return TrainingOptions.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{source}: {where + ': ' if where else ''}{message}") from error


def read_options(path: Path) -> dict[str, Any]:
    """The values of a configuration file, JSON or TOML by its ending. Raises ConfigurationError."""
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    try:
        if path.suffix == ".toml":
            return tomllib.loads(content)
        values = json.loads(content)
    except ValueError as error:
        raise ConfigurationError(f"{path} is no {'TOML' if path.suffix == '.toml' else 'JSON'}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path} holds no object of options")
    return values
