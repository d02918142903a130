"""From rows of a file to events: which column is which field, and how a cell becomes a value. May import codec.

A row is either an event in protobuf's JSON mapping or a flat record whose columns are the contract's fields.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

from google.protobuf import json_format

from freshet.codec.events import timestamp
from freshet.domain.interactions import Kind
from freshet.domain.products import FIELDS
from freshet.errors import ConfigurationError, InvalidInput
from freshet.ingest.records import Event
from freshet.v1 import interaction_pb2, product_pb2

Row: TypeAlias = Mapping[str, Any]
_CHANGES = frozenset({"upsert", "patch", "removal"})
_ABSENT = object()
_DATE = re.compile(r"\s*(19|20)\d{6}\s*")


class What(StrEnum):
    """What a file holds."""

    PRODUCTS = "products"
    REVIEWS = "reviews"
    INTERACTIONS = "interactions"


_PRODUCT_FIELDS = ("product_id", *FIELDS)
_FIELDS: Mapping[What, tuple[str, ...]] = {
    What.PRODUCTS: (*_PRODUCT_FIELDS, "event_id", "event_time"),
    What.REVIEWS: ("review_id", "product_id", "user_id", "rating", "text", "event_time"),
    What.INTERACTIONS: (
        "event_id", "user_id", "product_id", "kind", "value", "session_id", "attribution_token", "event_time",
    ),
}  # fmt: skip


def field_names(what: What) -> str:
    """The fields that a file's columns can be, as a list to read."""
    return ", ".join(_FIELDS[what]) + (" and attributes.NAME" if what is What.PRODUCTS else "")


@dataclass(frozen=True)
class Columns:
    """Which column holds which field; `constants` hold for every row. Fields left out have the column of their name.

    A product's attribute is the field `attributes.NAME`.
    """

    what: What
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*self.columns, *self.constants):
            if name not in _FIELDS[self.what] and not (
                self.what is What.PRODUCTS and name.startswith("attributes.") and name != "attributes."
            ):
                raise ConfigurationError(
                    f"{self.what.value} have no field {name!r}; there are {field_names(self.what)}"
                )

    def column(self, name: str) -> str:
        return self.columns.get(name, name)

    def unused(self, row: Row) -> list[str]:
        """Columns of this row that no field reads: most often a name that wants a mapping."""
        used = {self.column(name) for name in _FIELDS[self.what]} | set(self.columns.values())
        used |= {_camel(name) for name in _FIELDS[self.what] if name not in self.columns and name not in row}
        if self.what is What.PRODUCTS:
            used |= {column for column in row if column.startswith("attributes.")}
        return [column for column in row if column not in used]


def read_columns(what: What, file: Path | None, columns: Sequence[str], constants: Sequence[str]) -> Columns:
    """From a TOML file with tables [columns] and [constants], and `field=column` flags, which win.

    Raises ConfigurationError.
    """
    named: dict[str, str] = {}
    fixed: dict[str, str] = {}
    if file is not None:
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"{file} cannot be read as TOML: {error}") from error
        if extra := set(document) - {"columns", "constants"}:
            raise ConfigurationError(f"{file} has {sorted(extra)[0]!r}; only [columns] and [constants] are known")
        for target, table in ((named, "columns"), (fixed, "constants")):
            for name, value in document.get(table, {}).items():
                if isinstance(value, dict):
                    target.update({f"{name}.{key}": str(inner) for key, inner in value.items()})
                else:
                    target[name] = str(value)
    for target, flags in ((named, columns), (fixed, constants)):
        for flag in flags:
            name, equals, value = flag.partition("=")
            if not equals or not name or not value:
                raise ConfigurationError(f"{flag!r} is no mapping; write FIELD=COLUMN")
            target[name] = value
    return Columns(what, named, fixed)


def read_event(row: Row, columns: Columns, *, patch: bool = False, folder: Path | None = None) -> Event:
    """The event that a row describes; not yet checked against the contract's rules.

    `patch`: a products row changes the columns it has and leaves the rest. `folder`: pictures given as paths are
    read from there and sent inside the event. Raises InvalidInput.
    """
    try:
        return _event(row, columns, patch, folder)
    except (json_format.ParseError, ValueError, TypeError, OverflowError, RecursionError) as error:
        # What a cell can hold has no end: half a surrogate pair, a thousand brackets, 400 digits.
        raise InvalidInput("", str(error)) from error


def _event(row: Row, columns: Columns, patch: bool, folder: Path | None) -> Event:
    if columns.what is What.PRODUCTS and _CHANGES & row.keys():
        return json_format.ParseDict(dict(row), product_pb2.ProductEvent())
    flat = _fields(row, columns)
    match columns.what:
        case What.PRODUCTS:
            return _product_event(flat, patch, folder)
        case What.REVIEWS:
            return _filled(flat, product_pb2.Review(), numbers=("rating",))
        case What.INTERACTIONS:
            if "kind" in flat:
                flat["kind"] = _kind(flat["kind"])
            return _filled(flat, interaction_pb2.Interaction(), numbers=("value",))


def _fields(row: Row, columns: Columns) -> dict[str, Any]:
    """The row by field. Empty cells stay, as None: a patch clears what it names and does not give."""
    result: dict[str, Any] = dict(columns.constants)
    for name in _FIELDS[columns.what]:
        value = _cell(row, columns.column(name), name not in columns.columns)
        if value is not _ABSENT and (value is not None or name not in result):
            result[name] = value
    if columns.what is What.PRODUCTS:
        named = {n.removeprefix("attributes."): c for n, c in columns.columns.items() if n.startswith("attributes.")}
        named |= {c.removeprefix("attributes."): c for c in row if c.startswith("attributes.")}
        for name, column in named.items():
            value = _cell(row, column, False)
            if value is not _ABSENT:
                result[f"attributes.{name}"] = value
    return result


def _cell(row: Row, column: str, camel: bool) -> Any:
    if column not in row and camel:
        column = _camel(column)
    if column not in row:
        return _ABSENT
    value = row[column]
    if isinstance(value, str) and not value.strip():
        return None
    return value


def _camel(name: str) -> str:
    """The field as JSON names it."""
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def _filled(flat: dict[str, Any], message: Event, *, numbers: tuple[str, ...]) -> Event:
    for name, value in flat.items():
        if value is None:
            continue
        if name == "event_time":
            message.event_time.CopyFrom(timestamp(time_us(value, name)))
        elif name in numbers:
            setattr(message, name, _number(value, name))
        elif name == "kind":
            setattr(message, name, value)
        else:
            setattr(message, name, _text(value, name))
    return message


def _product_event(flat: dict[str, Any], patch: bool, folder: Path | None) -> product_pb2.ProductEvent:
    event = product_pb2.ProductEvent()
    if flat.get("event_id") is not None:
        event.event_id = _text(flat["event_id"], "event_id")
    if flat.get("event_time") is not None:
        event.event_time.CopyFrom(timestamp(time_us(flat["event_time"], "event_time")))
    product = event.patch.product if patch else event.upsert
    for name, value in flat.items():
        if value is None or name in ("event_id", "event_time"):
            continue
        if name == "price":
            product.price = _number(value, name)
        elif name == "available":
            product.available = _truth(value, name)
        elif name == "categories":
            product.categories.extend(_categories(value))
        elif name == "image":
            _set_image(product, value, folder)
        elif name == "attributes":
            for key, inner in _attributes(value).items():
                product.attributes[key] = inner
        elif name.startswith("attributes."):
            if patch:
                raise InvalidInput(name, "cannot be patched alone; 'attributes' as a JSON object replaces all of them")
            product.attributes[name.removeprefix("attributes.")] = _text(value, name)
        else:
            setattr(product, name, _text(value, name))
    if patch:
        event.patch.update_mask.paths.extend(name for name in FIELDS if name in flat)
    return event


def _set_image(product: product_pb2.Product, value: Any, folder: Path | None) -> None:
    if isinstance(value, bytes):
        product.image.content = value
    elif isinstance(value, dict):
        try:
            json_format.ParseDict(value, product.image)
        except json_format.ParseError as error:
            raise InvalidInput("image", str(error)) from error
    elif "://" in (text := _text(value, "image")) or text.startswith("file:"):
        product.image.uri = text
    else:
        path = (folder or Path()) / text
        try:
            product.image.content = path.read_bytes()
        except OSError as error:
            raise InvalidInput("image", f"{path} cannot be read: {error.strerror}") from error


def _text(value: Any, name: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(name, f"is {type(value).__name__}; text is needed")
    # A file that keeps identifiers as numbers: 42.0 is the product "42".
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _number(value: Any, name: str) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError) as error:
        raise InvalidInput(name, f"is {value!r}; a number is needed") from error


def _truth(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return value
    match str(value).strip().lower():
        case "true" | "t" | "yes" | "y" | "1" | "1.0":
            return True
        case "false" | "f" | "no" | "n" | "0" | "0.0":
            return False
    raise InvalidInput(name, f"is {value!r}; write true or false")


def _categories(value: Any) -> list[str]:
    if isinstance(value, list):
        return [_text(part, "categories") for part in value]
    text = _text(value, "categories")
    separator = ">" if ">" in text else "|"
    return [part.strip() for part in text.split(separator) if part.strip()]


def _attributes(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise InvalidInput("attributes", f"is no JSON object: {error}") from error
    if isinstance(value, list):  # Parquet's map type
        value = dict(value)
    if not isinstance(value, dict):
        raise InvalidInput("attributes", "is no JSON object")
    return {str(key): _text(inner, f"attributes.{key}") for key, inner in value.items() if inner is not None}


def _kind(value: Any) -> int:
    if isinstance(value, str) and not value.strip().isdigit():
        name = value.strip().upper().replace("-", "_").replace(" ", "_")
        if name not in Kind.__members__:
            raise InvalidInput("kind", f"is {value!r}; one of {', '.join(kind.name for kind in Kind)} is needed")
        return int(Kind[name])
    number = _number(value, "kind")
    if not number.is_integer() or not 0 <= number < 2**31:
        raise InvalidInput("kind", f"is {value!r}; a name or a whole number is needed")
    return int(number)


def time_us(value: Any, name: str) -> int:
    """Microseconds since the epoch from ISO 8601 (UTC unless it says otherwise) or seconds, milli- or microseconds.

    Which of the three a number is follows from its size: below 1e11 seconds, below 1e14 milliseconds. Eight digits are
    a date (20260916), not a second of the year 1970.
    """
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1e6)
    if isinstance(value, date):
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()) * 1_000_000
    try:
        if _DATE.fullmatch(str(value)):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError):
        try:
            return time_us(datetime.fromisoformat(str(value).strip()), name)
        except (ValueError, OverflowError) as error:
            raise InvalidInput(name, f"is {value!r}; ISO 8601 or a Unix time is needed") from error
    if not math.isfinite(number) or not 0 <= number < 1e17:
        raise InvalidInput(name, f"is {value!r}; ISO 8601 or a Unix time is needed")
    return round(number * (1e6 if number < 1e11 else 1e3 if number < 1e14 else 1))
