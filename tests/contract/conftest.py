"""The stores of the contract suites, and a real PostgreSQL: Debian's server binaries, a cluster of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from stores import Backend

from freshet.adapters import memory, sql


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    match request.param:
        case "memory":
            opened = Backend(f"memory://{uuid4()}", memory)
        case "sqlite":
            opened = Backend(f"sqlite:///{tmp_path}/data/freshet.db", sql)
        case _:
            opened = Backend(request.getfixturevalue("postgresql_url"), sql)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def postgresql_cluster() -> Iterator[str]:
    """The URL of an empty server, without a database's name at its end; skips where none can run."""
    binaries = _binaries()
    home = Path(tempfile.mkdtemp(prefix="freshet-postgresql-", dir="/tmp"))
    as_owner = _owner(home)
    data, port = home / "data", _free_port()
    try:
        _run([*as_owner, str(binaries / "initdb"), "-D", str(data), "-U", "freshet", "-A", "trust", "-E", "UTF8"], home)
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={home} -c fsync=off"
        control = [*as_owner, str(binaries / "pg_ctl"), "-D", str(data), "-w"]
        _run([*control, "-o", options, "-l", str(home / "server.log"), "start"], home)
        try:
            yield f"postgresql://freshet@127.0.0.1:{port}"
        finally:
            _run([*control, "-m", "immediate", "stop"], home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql_cluster: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of this test's own."""
    name = f"test_{abs(hash(request.node.nodeid))}"
    with psycopg.connect(f"{postgresql_cluster}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield f"{postgresql_cluster}/{name}"
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _binaries() -> Path:
    on_path = shutil.which("postgres")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    if not found:
        pytest.skip("no PostgreSQL server here (Debian: apt-get install postgresql)")
    return found[-1]


def _owner(home: Path) -> list[str]:
    """What to put before a command so that it does not run as root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return []
    switch = shutil.which("setpriv")
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = known.get("postgres") or known.get("nobody")
    if switch is None or user is None:
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv or no other user")
    os.chown(home, user.pw_uid, user.pw_gid)
    return [switch, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _run(command: list[str], folder: Path) -> None:
    # Output goes to a file: the server inherits it, and a pipe would stay open as long as the server runs.
    with (folder / "commands.log").open("ab") as log:
        done = subprocess.run(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, timeout=60, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command} failed: {(folder / 'commands.log').read_text()}")
