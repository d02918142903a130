"""`freshet dead-letters list | show | replay`, run as an operator runs it, on letters that the line itself wrote."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from line import Line
from PIL import Image as Pictures
from typer.testing import CliRunner

from freshet.domain.progress import Position
from freshet.domain.representations import Modality
from freshet.local.applications import freshet_program
from freshet.local.stack import LocalStack
from freshet.stream.commands import dead_letters_app
from freshet.stream.dead_letters import Letter

pytestmark = pytest.mark.stack


@pytest.fixture(autouse=True)
def this_stack(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRESHET_KAFKA_URL", stack.settings.kafka_url)
    monkeypatch.setenv("COLUMNS", "400")


def printed(*arguments: str) -> str:
    done = CliRunner().invoke(dead_letters_app, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def answer(*arguments: str) -> Any:
    return json.loads(printed(*arguments, "--json"))


def replayed_place(letter: Letter) -> Position:
    (place,) = answer("replay", letter.name)["places"]
    topic, partition, offset = place.rsplit("/", 2)
    return Position(topic, int(partition), int(offset))


def picture() -> bytes:
    written = io.BytesIO()
    Pictures.new("RGB", (40, 40), "red").save(written, "PNG")
    return written.getvalue()


def test_a_letter_is_listed_by_its_reason_and_shown_with_its_bytes(line: Line) -> None:
    (letter,) = line.letters(line.products(line.good(price=-5.0)))
    invalid = answer("list", "--reason", "invalid", "--limit", "0")
    assert {row["reason"] for row in invalid} == {"INVALID"}
    assert letter.name in {row["letter"] for row in invalid}
    assert letter.name not in {row["letter"] for row in answer("list", "--reason", "IMAGE", "--limit", "0")}
    shown = answer("show", letter.name)
    assert "upsert.price: is -5" in shown["detail"]
    assert (shown["key"], shown["value_bytes"]) == (line.name, len(letter.message.value))
    assert line.name in shown["value"]


def test_the_table_and_the_plain_text_take_what_strangers_wrote(line: Line) -> None:
    """Brackets that are no markup, and bytes that would steer a terminal."""
    patch = line.good()
    patch.patch.product.product_id = line.name
    patch.patch.update_mask.paths.append("[/red]\x1b[2J")
    (letter,) = line.letters(line.products(patch))
    listed, shown = printed("list", "--limit", "0"), printed("show", letter.name)
    assert "names '[/red]\\x1b[2J'" in listed
    assert "\x1b" not in listed + shown


def test_a_letter_that_is_not_there_is_said_in_one_line() -> None:
    """As the whole program says it, in a process of its own."""
    refused = subprocess.run(
        [*freshet_program(), "dead-letters", "show", "0/999999999"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 2
    assert "no dead letter '0/999999999'" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_what_is_replayed_as_bad_as_it_was_is_kept_again(line: Line) -> None:
    (letter,) = line.letters(line.products(line.good(price=-5.0)))
    assert answer("replay", letter.name, "--dry-run")["replayed"] == 0
    (again,) = line.letters([replayed_place(letter)])
    assert again.message.value == letter.message.value
    assert again.reason == "INVALID"


def test_after_a_repair_a_replayed_letter_is_whole(line: Line, pictures: Path) -> None:
    file = pictures / f"{line.name}.png"
    (letter,) = line.letters(line.products(line.good(image={"uri": file.as_uri()})))
    assert (letter.reason, "No such file" in letter.message.detail) == ("IMAGE", True)

    file.write_bytes(picture())

    assert line.letters([replayed_place(letter)]) == []
    row = line.row()
    assert row is not None
    assert row.encoding is not None
    assert Modality.IMAGE in row.encoding.parts


def test_a_replayed_letter_does_not_undo_what_came_after_it(line: Line, pictures: Path) -> None:
    """Invariant 3: an event that does not say its time is as old as its record was."""
    missing = (pictures / f"{line.name}.png").as_uri()
    (letter,) = line.letters(line.products(line.good(title="as it was", price=10.0, image={"uri": missing})))
    line.products(line.good(title="as it is now", price=12.0))

    line.letters([replayed_place(letter)])

    now = line.product()
    assert now is not None
    assert (now.title, now.price, now.image) == ("as it is now", 12.0, None)
