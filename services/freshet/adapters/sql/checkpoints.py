"""Checkpoints of an SQLite database in write-ahead mode, beside its writer. Imports sqlite3 and structlog.

SQLite's own automatic checkpoint runs inside whichever commit fills the log: at a few hundred commits a second, one in
two hundred took 20 to 40 ms for it, and who waited for it was a shopper's click. A thread with a connection of its
own copies the log back meanwhile, and no commit waits, but for the moment in which the log begins anew.
Source: https://sqlite.org/wal.html (checkpointing), https://sqlite.org/c3ref/wal_checkpoint_v2.html.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import structlog

EVERY_SECONDS = 1.0
RENEWED_FRAMES = 8_000
"""A log this long (32 MB) begins anew; a writer waits for that as long as the last few frames take to copy."""
ROUNDS = 3
"""Each round copies what was written during the one before, so that few frames are left for the last."""
BUSY_SECONDS = 0.05

log = structlog.get_logger()


class Checkpoints:
    """One thread for one writer. Building it starts nothing; the first `written` does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written, self._closing = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def written(self) -> None:
        """Something was committed. Called by one thread at a time."""
        self._written.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="sqlite-checkpoint", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread; the next `written` starts another."""
        self._closing.set()
        self._written.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._closing.clear()
        self._written.clear()

    def _run(self) -> None:
        while not self._closing.wait(EVERY_SECONDS):
            self._written.wait()
            self._written.clear()
            if self._closing.is_set():
                return
            try:
                with closing(_connected(self._path)) as connection:
                    checkpoint(connection)
            except sqlite3.Error as error:
                log.warning("the database's log could not be copied back; it is tried again", detail=str(error))


def _connected(path: Path) -> sqlite3.Connection:
    """A connection to a database that is there; `sqlite3.connect(path)` would make one."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def checkpoint(connection: sqlite3.Connection, renewed_frames: int = RENEWED_FRAMES) -> int:
    """Copy the log back into the database, and let it begin anew once it is long. Returns its length in frames.

    Where somebody reads an old state for long, the rest is left for the next time.
    """
    frames = _pass(connection, "PASSIVE")
    if frames >= renewed_frames:
        for _ in range(ROUNDS - 1):
            _pass(connection, "PASSIVE")
        _pass(connection, "RESTART")
    return frames


def _pass(connection: sqlite3.Connection, mode: str) -> int:
    _, frames, _ = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    return int(frames)
