"""Free TCP ports on loopback: the usual one, or any other where that is taken. Imports nothing of Freshet."""

from __future__ import annotations

import socket
from collections.abc import Collection


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now (connections in TIME_WAIT do not count)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose_run(preferred: int, count: int, taken: Collection[int] = ()) -> range:
    """`count` free ports in a row, from `preferred` where they are free, else anywhere. 0 prefers none."""
    first = choose(preferred, taken)
    while first + count > 65_536 or any(port in taken or not is_free(port) for port in range(first, first + count)):
        first = choose(0, taken)
    return range(first, first + count)


def choose(preferred: int, taken: Collection[int] = ()) -> int:
    """`preferred` where it is free and not among `taken`, else any free port. 0 prefers none."""
    if preferred and preferred not in taken and is_free(preferred):
        return preferred
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port
