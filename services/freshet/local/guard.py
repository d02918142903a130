"""Outlives a killed supervisor just long enough to end what it had started. Imports nothing of Freshet.

Run as a file, by `processes.py`. Reads `add GROUP` and `remove GROUP` (process group ids) from standard input. When
that ends, for whatever reason, it kills the groups that are left. A group reaches grandchildren; a parent-death signal
does not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        word, _, group = line.partition(" ")
        if word == "add":
            groups.add(int(group))
        else:
            groups.discard(int(group))
    for group_id in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group_id, signal.SIGKILL)


if __name__ == "__main__":
    main()
