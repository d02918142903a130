"""model.json: what a model is, what it was made from, and the files it consists of. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from freshet.domain.representations import Layout, Modality, Segment
from freshet.errors import ConfigurationError, ModelMismatch
from freshet.representation import pricing
from freshet.representation.preprocessing import INPUT_SIZES, TOKENIZER, TextReader
from freshet.representation.pricing import PriceHead

FORMAT = 4
FILE = "model.json"
GOLDEN = "golden.npz"
ATTENTION = "attention.npy"
TRITON = "triton"
OUTPUT = "vector"
"""What every served model calls what it gives."""
SENTIMENT = "sentiment"
"""Name of the served model that judges reviews."""
Weights = Literal["float32", "int8"]
ENCODED = (Modality.TEXT, Modality.IMAGE, Modality.PRICE, Modality.REVIEWS)
"""The modalities that have an encoder, in the order of the fusion's `present` columns."""
SERVED = (*(modality.value for modality in ENCODED), "fusion", "caption")
"""The models that every Triton repository has; `Manifest.served` tells what one has besides."""


class SegmentEntry(BaseModel):
    name: Modality
    size: Annotated[int, Field(gt=0)]


class Manifest(BaseModel):
    """A model card that programs read too."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    model_version: str
    segments: tuple[SegmentEntry, ...]
    weights: Weights = "float32"
    """int8: the matrices of large networks are rounded, and served so."""
    preprocessing: dict[str, int] = Field(default_factory=dict)
    """`preprocessing.INPUT_SIZES` as they were in training; empty in models from before they were kept."""
    typical_prices: dict[str, float]
    """Median log price per category; under "" that of the whole catalogue."""
    ranking: dict[str, float]
    """Default weights of the score's parts; names as in freshet.domain.scoring."""
    training: dict[str, str | int | float]
    """Fingerprint of the data, counts, seed, seconds."""
    metrics: dict[str, float]
    files: dict[str, str]
    """SHA-256 by path relative to the model's folder."""
    folder: Annotated[Path, Field(exclude=True)] = Path()

    @property
    def layout(self) -> Layout:
        return Layout(self.model_version, tuple(Segment(entry.name, entry.size) for entry in self.segments))

    @property
    def judges_sentiment(self) -> bool:
        return f"{TRITON}/{SENTIMENT}/config.pbtxt" in self.files

    @property
    def served(self) -> tuple[str, ...]:
        """Names of the models that Triton has to serve."""
        return (*SERVED, SENTIMENT) if self.judges_sentiment else SERVED

    def size(self, modality: Modality) -> int:
        """Dimensions of one segment; 0 for one that the vectors do not have."""
        return next((entry.size for entry in self.segments if entry.name is modality), 0)

    def encoded_size(self, modality: Modality) -> int:
        """Dimensions of what an encoder gives: that of text has the terms behind the text."""
        return self.size(modality) + (self.size(Modality.TERMS) if modality is Modality.TEXT else 0)

    def text_reader(self) -> TextReader:
        """Reads texts as this model's text encoder takes them. Raises ConfigurationError."""
        return TextReader(self.folder / TOKENIZER if TOKENIZER in self.files else None)

    def attention(self) -> NDArray[np.float32] | None:
        """What reviews' texts are pooled by, (size of text,); None for a plain mean."""
        if ATTENTION not in self.files:
            return None
        attention: NDArray[np.float32] = np.load(self.folder / ATTENTION)
        return attention

    def price_head(self) -> PriceHead | None:
        """Tells what products may be expected to cost; None where the model saw too few prices to know."""
        if pricing.FILE not in self.files:
            return None
        return pricing.load(self.folder, self.layout)

    def golden(self) -> dict[str, NDArray[np.generic]]:
        """Inputs and outputs of every served model, by `MODEL/NAME`, for a canary."""
        with np.load(self.folder / GOLDEN) as arrays:
            return dict(arrays)


def load(folder: Path) -> Manifest:
    """Read and check the model in a folder.

    Raises ConfigurationError when there is none, ModelMismatch when a file is missing, cut short or another's.
    """
    path = folder / FILE
    if not path.is_file():
        raise ConfigurationError(f"there is no model in {folder} ({FILE} is missing)")
    folder = folder.resolve()
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelMismatch(f"{path} cannot be read: {where}: {first['msg']}; train or copy the model again") from error
    if manifest.format != FORMAT:
        raise ModelMismatch(f"{path} has format {manifest.format}; this Freshet reads {FORMAT}; train it again")
    for name, size in manifest.preprocessing.items():
        if INPUT_SIZES.get(name) != size:
            raise ModelMismatch(
                f"the model in {folder} was trained with {name} {size}, and this Freshet has {INPUT_SIZES.get(name)}; "
                "train it again"
            )
    for name, digest in manifest.files.items():
        if not (folder / name).is_file():
            raise ModelMismatch(f"the model in {folder} lacks {name}; train or copy it again")
        if file_digest(folder / name) != digest:
            raise ModelMismatch(
                f"{folder / name} is not the file that {FILE} describes (cut short, or of another version)"
            )
    return manifest.model_copy(update={"folder": folder})


def network_file(folder: Path, name: str) -> Path:
    """The ONNX file of one of the networks in a model's folder."""
    return folder / TRITON / name / "1" / "model.onnx"


def golden_inputs(golden: Mapping[str, NDArray[np.generic]], name: str) -> dict[str, NDArray[np.generic]]:
    """One model's inputs among golden vectors, by their own names."""
    parts = ((key.partition("/"), value) for key, value in golden.items())
    return {inner: value for (model, _, inner), value in parts if model == name and inner != OUTPUT}


def digests(folder: Path) -> dict[str, str]:
    """Of every file in a model's folder, by relative path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): file_digest(path) for path in paths}


def file_digest(path: Path) -> str:
    """SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
