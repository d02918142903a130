"""Rows of JSON Lines, CSV and Parquet files, each with its place, so that a bad one can be named. May import errors."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from freshet.errors import ConfigurationError, InvalidInput

STANDARD_INPUT = "-"
_GZIP = b"\x1f\x8b"
_ESCAPED = re.compile("[\udc80-\udcff]")
"""How "surrogateescape" keeps a byte that is no UTF-8."""


class Format(StrEnum):
    """How a file is written."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


_SUFFIXES = {
    ".jsonl": Format.JSONL, ".ndjson": Format.JSONL, ".json": Format.JSONL,
    ".csv": Format.CSV, ".parquet": Format.PARQUET, ".pq": Format.PARQUET,
}  # fmt: skip


class Read(NamedTuple):
    """One row, or why it is none. `place` is FILE:LINE (Parquet: the row's number, from 1)."""

    place: str
    row: Mapping[str, Any]
    error: InvalidInput | None = None


def format_of(name: str, given: Format | None) -> Format:
    """The format asked for, or that of the name's ending. Raises ConfigurationError."""
    if given is not None:
        return given
    if name == STANDARD_INPUT:
        return Format.JSONL
    suffixes = [suffix.lower() for suffix in Path(name).suffixes if suffix.lower() != ".gz"]
    if not suffixes or suffixes[-1] not in _SUFFIXES:
        raise ConfigurationError(f"{name}: cannot tell its format by its name; give --format jsonl, csv or parquet")
    return _SUFFIXES[suffixes[-1]]


def read_rows(name: str, format: Format) -> Iterator[Read]:
    """The rows of a file, or of standard input for `-`; gzip is recognised. Raises ConfigurationError."""
    label = "stdin" if name == STANDARD_INPUT else name
    try:
        stream = cast(io.BufferedReader, sys.stdin.buffer) if name == STANDARD_INPUT else Path(name).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be read: {error.strerror}") from error
    with ExitStack() as stack:
        stack.enter_context(stream)
        plain = _unpacked(stream, stack)
        match format:
            case Format.JSONL:
                yield from _json_lines(plain, label)
            case Format.CSV:
                yield from _csv(plain, label)
            case Format.PARQUET:
                yield from _parquet(plain, label)


def _unpacked(stream: io.BufferedReader, stack: ExitStack) -> BinaryIO:
    if stream.peek(2)[:2] == _GZIP:
        return cast(BinaryIO, stack.enter_context(gzip.open(stream)))
    return stream


def _lines(stream: BinaryIO, label: str) -> Iterator[bytes]:
    try:
        yield from stream
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(f"{label} breaks off: {error}") from error


def _json_lines(stream: BinaryIO, label: str) -> Iterator[Read]:
    for number, line in enumerate(_lines(stream, label), start=1):
        if not line.strip():
            continue
        place = f"{label}:{number}"
        try:
            row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:
            yield Read(place, {}, InvalidInput("", f"is no JSON: {error}"))
            continue
        if isinstance(row, dict):
            yield Read(place, row)
        else:
            yield Read(place, {}, InvalidInput("", f"is {type(row).__name__}; a JSON object is needed"))


def _csv(stream: BinaryIO, label: str) -> Iterator[Read]:
    # A picture given as base64 makes a long cell.
    csv.field_size_limit(64 * 2**20)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _csv_rows(csv.reader(text, strict=True), label)
    finally:
        # The file is the caller's to close.
        text.detach()


def _csv_rows(reader: Any, label: str) -> Iterator[Read]:
    try:
        header = next(reader, None)
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise ConfigurationError(f"{label} cannot be read as CSV: {error}") from error
    if header is None:
        return
    if len(set(header)) < len(header):
        raise ConfigurationError(f"{label} names a column twice: {', '.join(header)}")
    while True:
        place = f"{label}:{reader.line_num + 1}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (OSError, EOFError, zlib.error) as error:
            raise ConfigurationError(f"{label} breaks off: {error}") from error
        except csv.Error as error:
            yield Read(place, {}, InvalidInput("", f"is no CSV: {error}"))
            continue
        if not cells:
            continue
        row = dict(zip(header, cells, strict=False))
        if len(cells) != len(header):
            yield Read(place, row, InvalidInput("", f"has {len(cells)} cells; the header has {len(header)}"))
        elif any(not cell.isascii() and _ESCAPED.search(cell) for cell in cells):
            yield Read(place, row, InvalidInput("", "is no UTF-8"))
        else:
            yield Read(place, row)


def _parquet(stream: BinaryIO, label: str) -> Iterator[Read]:
    import pyarrow
    import pyarrow.parquet as parquet

    source = stream if label != "stdin" and stream.seekable() else io.BytesIO(stream.read())
    try:
        with parquet.ParquetFile(source) as table:
            number = 0
            for batch in table.iter_batches(4_096):
                for row in batch.to_pylist():
                    number += 1
                    yield Read(f"{label}:{number}", row)
    except (pyarrow.ArrowException, OSError) as error:
        raise ConfigurationError(f"{label} cannot be read as Parquet: {error}") from error
