"""Files are read row by row; a bad row is named and the rest goes on."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet
import pytest

from freshet.errors import ConfigurationError
from freshet.ingest.files import Format, format_of, read_rows


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.jsonl", Format.JSONL), ("a.csv.gz", Format.CSV), ("A.PARQUET", Format.PARQUET), ("-", Format.JSONL)],
)
def test_the_format_follows_from_the_name(name: str, format: Format) -> None:
    assert format_of(name, None) is format


def test_a_name_that_says_nothing_asks_for_the_format() -> None:
    with pytest.raises(ConfigurationError, match="--format"):
        format_of("events.txt", None)
    assert format_of("events.txt", Format.CSV) is Format.CSV


@pytest.mark.parametrize("packed", [False, True])
def test_bad_json_lines_are_named_by_line_and_the_rest_is_read(tmp_path: Path, packed: bool) -> None:
    data = b'{"user_id": "u1"}\n\nnot json\n[1]\n{"user_id": "u\xff"}\n{"user_id": "u2"}\n'
    path = tmp_path / ("a.jsonl.gz" if packed else "a.jsonl")
    path.write_bytes(gzip.compress(data) if packed else data)
    rows = list(read_rows(str(path), Format.JSONL))
    assert [read.row for read in rows if read.error is None] == [{"user_id": "u1"}, {"user_id": "u2"}]
    assert [read.place.rsplit(":")[-1] for read in rows if read.error] == ["3", "4", "5"]


def test_a_csv_row_of_another_width_and_one_that_is_no_utf8_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfid,title\n1,"two\nlines"\n2\n3,caf\xe9\n4,caf\xc3\xa9\n')
    rows = list(read_rows(str(path), Format.CSV))
    assert [read.error is None for read in rows] == [True, False, False, True]
    assert rows[0].row == {"id": "1", "title": "two\nlines"}
    assert rows[1].place.endswith(":4")
    assert rows[3].row["title"] == "café"


def test_a_broken_gzip_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 1000)[:40])
    with pytest.raises(ConfigurationError, match="breaks off"):
        list(read_rows(str(path), Format.JSONL))


def test_a_broken_gzip_of_csv_too(tmp_path: Path) -> None:
    path, packed = tmp_path / "a.csv.gz", gzip.compress(b"id,title\n" + b"1,boot\n" * 100_000)
    for length in (20, len(packed) // 2):
        path.write_bytes(packed[:length])
        with pytest.raises(ConfigurationError, match=r"a\.csv\.gz (breaks off|cannot be read)"):
            list(read_rows(str(path), Format.CSV))
    path.write_bytes(packed[: len(packed) // 2] + b"\xff" * 200)
    with pytest.raises(ConfigurationError, match=r"a\.csv\.gz (breaks off|cannot be read)"):
        list(read_rows(str(path), Format.CSV))


def test_a_cell_with_an_emoji_and_a_byte_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("id,title\n1,😀 boot\n2,😀 ".encode() + b"\xe9\n")
    assert [read.error is None for read in read_rows(str(path), Format.CSV)] == [True, False]


def test_a_damaged_page_of_parquet_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"id": [f"p{i}" for i in range(10_000)]}), path, compression="snappy")
    written = bytearray(path.read_bytes())
    written[40:4000] = b"\xff" * 3960
    path.write_bytes(bytes(written))
    with pytest.raises(ConfigurationError, match=r"a\.parquet cannot be read"):
        list(read_rows(str(path), Format.PARQUET))


def test_parquet_rows_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"id": ["a", "b"], "price": [1.5, None]}), path)
    assert [read.row for read in read_rows(str(path), Format.PARQUET)] == [
        {"id": "a", "price": 1.5},
        {"id": "b", "price": None},
    ]


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"no parquet at all")
    with pytest.raises(ConfigurationError, match="cannot be read as Parquet"):
        list(read_rows(str(path), Format.PARQUET))


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.csv"):
        list(read_rows("nowhere.csv", Format.CSV))
