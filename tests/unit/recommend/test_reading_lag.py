"""How far a process's reading is behind: records, and the age of the oldest one not read."""

from __future__ import annotations

from freshet.recommend.lag import KEPT_LOOKS, Lag, ReadingLag


def test_who_has_read_everything_is_not_behind() -> None:
    lag = ReadingLag()
    assert lag.behind({}, 100.0) == Lag(0, 0.0)
    lag.look({0: 5, 1: 3}, 100.0)
    assert lag.behind({0: 5, 1: 4}, 101.0) == Lag(0, 0.0)


def test_the_age_is_that_of_the_oldest_look_not_caught_up_with() -> None:
    lag = ReadingLag()
    lag.look({0: 5}, 100.0)
    lag.look({0: 9}, 110.0)
    assert lag.behind({0: 4}, 112.0) == Lag(5, 12.0)
    assert lag.behind({0: 6}, 113.0) == Lag(3, 3.0)
    assert lag.behind({0: 9}, 114.0) == Lag(0, 0.0)


def test_a_partition_that_was_never_read_counts_whole() -> None:
    lag = ReadingLag()
    lag.look({0: 5, 7: 2}, 100.0)
    assert lag.behind({0: 5}, 100.5) == Lag(2, 0.5)


def test_of_a_long_lag_the_age_stays_right_and_the_memory_bounded() -> None:
    lag = ReadingLag()
    for look in range(2 * KEPT_LOOKS):
        lag.look({0: 1 + look}, float(look))
    assert lag.behind({0: 0}, 2.0 * KEPT_LOOKS) == Lag(2 * KEPT_LOOKS, 2.0 * KEPT_LOOKS)
    assert len(lag._looks) == KEPT_LOOKS
