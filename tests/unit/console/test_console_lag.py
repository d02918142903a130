"""Lag is what waits, in records and in seconds; a stall is work that nobody moves."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path

from freshet.console import findings as console_findings
from freshet.console.findings import AWAY_PAGES, Health, findings
from freshet.console.history import HOUR_STEPS, History
from freshet.console.lag import Member, Movement, Row, Topic, first_waiting, rows_of, summary
from freshet.domain.progress import Progress

NOW_MS = 1_800_000_000_000
PLACE = ("freshet.interactions.v1", 0)


def rows(
    applied: int | None,
    end: int,
    *,
    first: int = 0,
    written_ms: int | None = None,
    movement: Movement | None = None,
    now: float = 0.0,
    committed: int | None = None,
) -> Row:
    progress = {} if applied is None else {PLACE: Progress(*PLACE, applied)}
    (row,) = rows_of(
        "profiles",
        Topic({PLACE: first}, {PLACE: end}),
        progress,
        {} if committed is None else {PLACE: committed},
        {PLACE: Member("profiles-host-0", "10.0.0.7")},
        {} if written_ms is None else {PLACE: written_ms},
        movement or Movement(),
        now_ms=NOW_MS,
        now=now,
    )
    return row


def test_a_partition_that_is_applied_to_its_end_is_not_behind() -> None:
    row = rows(745, 745, committed=740)
    assert (row.waiting, row.behind_seconds, row.applied, row.committed, row.end) == (0, 0.0, 745, 740, 745)
    assert row.owner == Member("profiles-host-0", "10.0.0.7")


def test_seconds_behind_are_the_age_of_the_first_record_that_waits() -> None:
    row = rows(700, 745, written_ms=NOW_MS - 12_500)
    assert (row.waiting, row.behind_seconds) == (45, 12.5)


def test_seconds_behind_are_unknown_until_that_record_was_read() -> None:
    assert rows(700, 745).behind_seconds is None


def test_a_record_from_a_clock_that_is_ahead_is_not_behind_by_less_than_nothing() -> None:
    assert rows(744, 745, written_ms=NOW_MS + 3_000).behind_seconds == 0.0


def test_records_that_kafka_has_deleted_do_not_wait() -> None:
    assert rows(None, 745, first=700, written_ms=NOW_MS).waiting == 45
    assert first_waiting(0, 745, 745) is None
    assert first_waiting(750, 0, 745) is None


def test_work_that_nobody_moves_for_some_seconds_is_a_stall() -> None:
    movement = Movement()
    seen = [rows(700, 745, written_ms=NOW_MS, movement=movement, now=now) for now in (100.0, 104.9, 105.0, 123.0)]
    assert [row.stalled for row in seen] == [False, False, True, True]
    assert seen[-1].still_seconds == 23.0
    # A batch that waits for encoders or for the index may take longer.
    for worker in ("catalog", "index"):
        assert [replace(row, worker=worker).stalled for row in seen] == [
            False,
            False,
            False,
            True,
        ]


def test_one_applied_record_ends_a_stall() -> None:
    movement = Movement()
    rows(700, 745, written_ms=NOW_MS, movement=movement, now=0.0)
    assert rows(700, 745, written_ms=NOW_MS, movement=movement, now=30.0).stalled
    assert not rows(701, 745, written_ms=NOW_MS, movement=movement, now=31.0).stalled


def test_idle_time_is_no_stall_when_work_comes() -> None:
    movement = Movement()
    rows(745, 745, movement=movement, now=0.0)
    rows(745, 745, movement=movement, now=3_600.0)
    assert rows(745, 746, written_ms=NOW_MS, movement=movement, now=3_601.0).still_seconds == 0.0


def test_a_stalled_worker_is_named_with_how_long_how_much_and_what_to_do() -> None:
    movement = Movement()
    rows(0, 1_204, written_ms=NOW_MS - 23_000, movement=movement, now=0.0)
    row = rows(0, 1_204, written_ms=NOW_MS - 23_000, movement=movement, now=23.0)
    healths = [Health("profiles", "healthy", logs=True, pid=4711)]
    (found,) = findings(healths, [summary("profiles", [row], 0.0, 0.0)], {}, supervised=True)
    assert found.level == "red"
    assert found.title == "profiles has not moved for 23 s while 1,204 records wait."
    assert found.next.startswith("look at `freshet local logs profiles`: it says what it waits for")
    assert "kill -9 4711" in found.next
    assert found.cost.startswith("What shoppers did since then does not count")


def test_a_stalled_worker_that_is_stopped_is_one_finding_and_not_two() -> None:
    movement = Movement()
    rows(0, 1, written_ms=NOW_MS, movement=movement, now=0.0)
    row = rows(0, 1, written_ms=NOW_MS, movement=movement, now=11.0)
    healths = [Health("profiles", "stopped", logs=True)]
    (found,) = findings(healths, [summary("profiles", [row], 0.0, 0.0)], {}, supervised=True)
    assert found.title == "profiles has not moved for 11 s while 1 record waits: it is stopped."
    assert "freshet local up" in found.next


def test_a_stalled_partition_that_nobody_owns_says_so() -> None:
    row = replace(rows(0, 7, written_ms=NOW_MS), owner=None, still_seconds=9.0)
    (found,) = findings([Health("profiles", "healthy")], [summary("profiles", [row], 0.0, 0.0)], {}, supervised=None)
    assert found.title == "profiles has not moved for 9.0 s while 7 records wait: nobody owns their partitions."
    assert "start it again" in found.next


def test_a_worker_that_waits_for_something_that_is_away_names_it_and_is_not_to_be_ended() -> None:
    row = replace(rows(0, 7, written_ms=NOW_MS), worker="catalog", still_seconds=12.0)
    healths = [Health("triton", "unhealthy", "it does not answer", logs=True), Health("catalog", "healthy", pid=4711)]
    triton, catalog = findings(healths, [summary("catalog", [row], 0.0, 0.0)], {}, supervised=True)
    assert triton.title == "triton is unhealthy: it does not answer."
    assert catalog.title == "catalog has not moved for 12 s while 7 records wait: it waits for triton."
    assert catalog.next == "mend triton first; catalog then goes on by itself"


def test_processes_of_two_models_are_told() -> None:
    (found,) = findings([], [], {}, supervised=None, models=["m1", "m2"])
    assert found.title == "Processes work with 2 models: m1 and m2."
    assert findings([], [], {}, supervised=None, models=["m1"]) == []


def test_every_page_that_is_named_is_there() -> None:
    pages = {path.stem for path in (Path(__file__).parents[3] / "docs" / "runbooks").glob("*.md")}
    named = {*AWAY_PAGES.values()}
    source = inspect.getsource(console_findings)
    named |= set(re.findall(r'page="([\w-]+)"', source)) | {"stalled", "models-differ"}
    assert named <= pages
    assert len(named) >= 9


def test_answers_that_came_early_follow_from_what_is_wrong_already() -> None:
    row = replace(rows(0, 7, written_ms=NOW_MS), still_seconds=9.0)
    flow = {"late": 1}
    red, early = findings([], [summary("profiles", [row], 0.0, 0.0)], flow, supervised=None)
    assert (red.level, early.title[:14]) == ("red", "1 answer came ")
    assert early.next == "mend what is named above: they follow from it"
    (alone,) = findings([], [], flow, supervised=None)
    assert "which worker takes long" in alone.next


def test_a_worker_that_has_applied_nothing_yet_is_not_said_to_gain_or_to_lose() -> None:
    row = replace(rows(0, 3_000, written_ms=NOW_MS - 6_000), worker="catalog", still_seconds=6.0)
    one = summary("catalog", [row], 40.0, 0.0)
    (found,) = findings([], [one], {}, supervised=None)
    assert found.level == "amber"
    assert "start another worker" not in found.next


def test_a_worker_that_gains_says_how_long_it_needs() -> None:
    one = summary("catalog", [rows(0, 3_000, written_ms=NOW_MS - 60_000)], 400.0, -300.0)
    assert one.seconds_to_go == 10.0
    (found,) = findings([], [one], {}, supervised=None)
    assert (found.level, found.title) == ("amber", "catalog is 60 s behind: 3,000 records wait.")
    assert "10 s to go" in found.next


def test_what_a_delay_costs_is_told_by_the_events_that_go_through_that_worker() -> None:
    fresh = [
        {"event": "click", "recent": True, "p50": 0.25, "p99": 64.0},
        {"event": "product", "recent": True, "p50": 7.0, "p99": 12.5},
        {"event": "removal", "recent": False, "p50": 90.0, "p99": 99.0},
    ]
    told = {}
    for worker in ("catalog", "profiles"):
        one = summary(worker, [rows(0, 3_000, written_ms=NOW_MS - 60_000)], 0.0, 0.0)
        (found,) = findings([], [one], {"freshness": fresh}, supervised=None)
        told[worker] = found.title
    assert told["catalog"].endswith("Events count 7.0 s late at the median, 12 s at the 99th percentile.")
    assert told["profiles"].endswith("Events count 0.2 s late at the median, 64 s at the 99th percentile.")


def test_the_worst_comes_first() -> None:
    flow = {"answers": 100, "degraded": 20, "dead_letters": [{"minute": 1}]}
    found = findings(
        [Health("milvus", "unhealthy", "milvus is not available: gone", logs=True)], [], flow, supervised=True
    )
    assert [one.level for one in found] == ["red", "amber", "amber"]
    assert found[0].title == "milvus is unhealthy: gone."
    assert found[2].title == "1 record could not be applied in the last minute."


def test_a_stack_whose_supervisor_is_gone_is_named() -> None:
    (found,) = findings([], [], {}, supervised=False)
    assert "freshet local down" in found.next


def test_history_keeps_the_largest_value_of_each_step_and_an_hour_of_them() -> None:
    history = History()
    for now, value in ((1_000.0, 1.0), (1_004.0, 9.0), (1_009.0, 2.0), (1_031.0, 5.0)):
        history.add(now, {"lag": value})
    read = history.read()
    assert read["series"] == {"lag": [9.0, None, None, 5.0]}
    assert read["end"] == 1_030
    history.add(100_000.0, {"lag": 3.0, "other": 1.0})
    series = history.read()["series"]
    assert isinstance(series, dict)
    assert len(series["lag"]) == HOUR_STEPS
    assert [value for value in series["lag"] if value is not None] == [3.0]
    assert len(series["other"]) == HOUR_STEPS


def test_a_partition_that_nobody_owns_has_no_owner() -> None:
    (row,) = rows_of("index", Topic({}, {PLACE: 5}), {}, {}, {}, {}, Movement(), now_ms=NOW_MS, now=0.0)
    assert (row.committed, row.owner, row.waiting) == (None, None, 5)
