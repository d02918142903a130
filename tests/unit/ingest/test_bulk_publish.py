"""A bulk run publishes what is good, tells what is bad, and confirms all of it."""

from __future__ import annotations

import pytest
from kept_log import KeptLog

from freshet.domain.progress import Position
from freshet.errors import ConfigurationError, DependencyDown, InvalidInput
from freshet.ingest.files import Read
from freshet.ingest.mapping import Columns, What
from freshet.ingest.publish import events_of, publish_events
from freshet.ingest.records import RecordWriter
from freshet.settings import Topics

ROWS = [
    Read("a.csv:2", {"user_id": "u1", "product_id": "p1", "kind": "VIEW"}),
    Read("a.csv:3", {"user_id": "u1", "product_id": "", "kind": "VIEW"}),
    Read("a.csv:4", {}, InvalidInput("", "has 2 cells; the header has 3")),
    Read("a.csv:5", {"user_id": "u2", "product_id": "p1", "kind": "RATING", "value": "9"}),
    Read("a.csv:6", {"user_id": "u2", "product_id": "p2", "kind": "LIKE"}),
]


TOPICS = Topics()
RECORDS = RecordWriter(TOPICS, source="test", record_bytes=1_000_000)


def test_bad_rows_are_told_with_place_and_field_and_the_rest_is_published() -> None:
    told: list[tuple[str, str]] = []
    log = KeptLog()
    summary = publish_events(
        events_of(ROWS, Columns(What.INTERACTIONS)),
        log,
        RECORDS,
        rejected=lambda place, error: told.append((place, error.field)),
    )
    assert (summary.read, summary.published, summary.rejected) == (5, 2, 3)
    assert told == [("a.csv:3", "product_id"), ("a.csv:4", ""), ("a.csv:5", "value")]
    assert [key for key, _, _ in log.records[TOPICS.interactions]] == ["u1", "u2"]
    assert list(summary.last.values()) == [Position("freshet.interactions.v1", 0, 1)]


def test_strict_stops_at_the_first_bad_row() -> None:
    log = KeptLog()
    with pytest.raises(ConfigurationError, match=r"a\.csv:3: product_id"):
        publish_events(
            events_of(ROWS, Columns(What.INTERACTIONS)), log, RECORDS, rejected=lambda place, error: None, strict=True
        )
    assert [key for key, _, _ in log.records[TOPICS.interactions]] == ["u1"]


def test_a_record_that_kafka_did_not_take_is_no_success() -> None:
    with pytest.raises(DependencyDown, match="kafka"):
        publish_events(
            events_of(ROWS, Columns(What.INTERACTIONS)),
            KeptLog(error=DependencyDown("kafka", "away")),
            RECORDS,
            rejected=lambda place, error: None,
        )


def test_an_event_larger_than_the_workers_accept_is_told() -> None:
    told: list[str] = []
    small = RecordWriter(Topics(), source="test", record_bytes=10)
    publish_events(
        events_of(ROWS[:1], Columns(What.INTERACTIONS)),
        KeptLog(),
        small,
        rejected=lambda place, error: told.append(error.description),
    )
    assert "workers accept 10" in told[0]
