"""The database beneath the SQL stores: revisions, outages, locks, and the `freshet db` commands."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from typer.testing import CliRunner

from freshet.adapters import sql
from freshet.adapters.sql import checkpoints, engine
from freshet.adapters.sql.commands import app
from freshet.adapters.sql.tables import METADATA
from freshet.domain.progress import Advance
from freshet.errors import ConfigurationError, DependencyDown
from freshet.ports import ProfileRow, ProfileStore


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new folder/freshet.db"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/freshet.db"
    sql.migrate(url)
    return url


def test_the_revisions_add_up_to_the_tables(url: str) -> None:
    sql.migrate(url)
    database = engine.open_database(url)
    with database.reading() as connection:
        compared = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(compared, METADATA) == []
    database.close()


def test_processes_may_upgrade_at_once(url: str) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as processes:
        assert list(processes.map(sql.migrate, [url] * 4)) == [None] * 4
    store = sql.open_profile_store(url)
    assert store.progress("profiles") == {}
    store.close()


def test_a_store_on_a_database_that_was_never_upgraded_says_what_to_run(url: str) -> None:
    store = sql.open_serving_store(url)
    with pytest.raises(ConfigurationError, match="freshet db upgrade"):
        store.profile("u")
    sql.migrate(url)
    assert store.profile("u") is None
    store.close()


def test_opening_a_store_touches_nothing(tmp_path: Path) -> None:
    sql.open_catalog_store(f"sqlite:///{tmp_path}/none/freshet.db", "m").close()
    sql.open_profile_store("postgresql://nobody@127.0.0.1:1/none").close()
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_a_newer_freshet_is_refused(sqlite_url: str) -> None:
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    store = sql.open_profile_store(sqlite_url)
    with pytest.raises(ConfigurationError, match="newer Freshet"):
        store.progress("profiles")
    store.close()


@pytest.mark.parametrize("wrong", ["sqlite://", "sqlite:///:memory:", "mysql://h/d", "no url at all"])
def test_other_urls_are_refused_in_one_sentence(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="database_url"):
        sql.open_profile_store(wrong)


def test_a_locked_database_is_a_dependency_that_is_down_and_comes_back(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_SECONDS", 0.05)
    store, advance = sql.open_profile_store(sqlite_url), Advance("t", 0, 0, 1, 0)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DependencyDown, match="sql is not available: database is locked"):
        store.apply("profiles", [ProfileRow("u", b"1", 1)], [], [advance])
    assert store.load_profiles(["u"]) == {}  # readers go on
    other.execute("COMMIT")
    other.close()
    store.apply("profiles", [ProfileRow("u", b"1", 1)], [], [advance])
    assert store.load_profiles(["u"]) == {"u": b"1"}
    store.close()


def test_a_server_that_does_not_answer_is_a_dependency_that_is_down() -> None:
    store = sql.open_serving_store("postgresql://freshet@127.0.0.1:1/freshet")
    for ask in (store.change_counter, lambda: store.profile("u"), lambda: store.progress("profiles")):
        with pytest.raises(DependencyDown, match="sql is not available"):
            ask()
    store.close()


def test_a_store_goes_on_after_the_server_dropped_its_connections(postgresql_url: str) -> None:
    sql.migrate(postgresql_url)
    store = sql.open_profile_store(postgresql_url)
    store.apply("profiles", [ProfileRow("u", b"1", 1)], [], [])
    with psycopg.connect(postgresql_url, autocommit=True) as administrator:
        administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(DependencyDown):
        store.load_profiles(["u"])
    assert store.load_profiles(["u"]) == {"u": b"1"}
    store.close()


def test_a_failed_transaction_leaves_nothing_behind(url: str) -> None:
    sql.migrate(url)
    database = engine.open_database(url)

    def crash_after_writing() -> None:
        with database.writing() as connection:
            connection.exec_driver_sql("INSERT INTO product_numbers (product_id, number) VALUES ('p', 1)")
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        crash_after_writing()
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT * FROM product_numbers").fetchall() == []
    database.close()


def test_the_counter_does_not_repeat_itself_over_a_new_connection(sqlite_url: str) -> None:
    database, writer = engine.open_database(sqlite_url), sql.open_profile_store(sqlite_url)
    before = database.change_counter()
    database.close()  # the next call connects anew
    writer.product_numbers(["p"])
    assert database.change_counter() != before
    database.close()
    writer.close()


def test_the_commands_upgrade_and_tell(tmp_path: Path) -> None:
    run, url = CliRunner(), f"sqlite:///{tmp_path}/freshet.db"
    upgraded = run.invoke(app, ["upgrade", "--url", url])
    assert upgraded.exit_code == 0, upgraded.output
    store = sql.open_profile_store(url)
    store.apply("profiles", [ProfileRow("u", b"1", 1)], [], [Advance("freshet.interactions.v1", 2, 0, 41, 0)])
    store.close()
    told = run.invoke(app, ["status", "--url", url])
    assert told.exit_code == 0
    assert "newest" in told.output
    assert "profiles has applied freshet.interactions.v1/2 up to offset 41" in told.output


def test_status_of_an_empty_database_is_one(tmp_path: Path) -> None:
    (tmp_path / "freshet.db").touch()
    told = CliRunner().invoke(app, ["status", "--url", f"sqlite:///{tmp_path}/freshet.db"])
    assert told.exit_code == 1
    assert "freshet db upgrade" in told.output


def test_status_without_a_database_is_a_readable_error() -> None:
    for url in ("sqlite:////none/at/all.db", "memory://x"):
        with pytest.raises(ConfigurationError):
            CliRunner().invoke(app, ["status", "--url", url], catch_exceptions=False)


def _fill(store: ProfileStore, first: int) -> None:
    store.apply("profiles", [ProfileRow(f"u{first + i}", b"x" * 500, 0) for i in range(200)], [], [])


def _profiles(connection: sqlite3.Connection) -> int:
    [(count,)] = connection.execute("SELECT count(*) FROM profiles").fetchall()
    return int(count)


def test_a_long_log_begins_anew_and_nothing_of_it_is_lost(sqlite_url: str, tmp_path: Path) -> None:
    writer, reader = sql.open_profile_store(sqlite_url), sql.open_serving_store(sqlite_url)
    connection = sqlite3.connect(tmp_path / "freshet.db", isolation_level=None)
    for turn in range(3):
        _fill(writer, 200 * turn)
    longest = checkpoints.checkpoint(connection, renewed_frames=10)
    assert longest > 60, "no commit has copied the log back itself"
    _fill(writer, 600)
    assert checkpoints.checkpoint(connection, renewed_frames=10_000) < longest, "it began anew"
    assert all(reader.profile(f"u{i}") == b"x" * 500 for i in range(800))
    connection.close()
    writer.close()
    reader.close()


def test_an_old_read_only_delays_what_is_copied_back(sqlite_url: str, tmp_path: Path) -> None:
    writer = sql.open_profile_store(sqlite_url)
    _fill(writer, 0)
    old = sqlite3.connect(tmp_path / "freshet.db", isolation_level=None)
    old.execute("BEGIN")
    assert _profiles(old) == 200
    _fill(writer, 200)
    connection = sqlite3.connect(tmp_path / "freshet.db", timeout=0.01, isolation_level=None)
    before = checkpoints.checkpoint(connection, renewed_frames=1)
    _fill(writer, 400)
    assert _profiles(old) == 200, "the old state is still read"
    old.execute("COMMIT")
    checkpoints.checkpoint(connection, renewed_frames=1)
    _fill(writer, 600)
    assert checkpoints.checkpoint(connection, renewed_frames=1_000) < before
    assert _profiles(old) == 800
    for each in (old, connection, writer):
        each.close()


def test_a_writer_has_its_log_copied_back_beside_it(sqlite_url: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", 0.01)
    path = tmp_path / "freshet.db"
    before = path.stat().st_size
    writer = sql.open_profile_store(sqlite_url)
    _fill(writer, 0)
    until = time.monotonic() + 60.0
    while path.stat().st_size <= before:
        assert time.monotonic() < until, "the log was never copied back"
        time.sleep(0.01)
    writer.close()
