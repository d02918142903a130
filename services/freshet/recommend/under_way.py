"""Requests that are being answered now: what is done ahead of them gives way. Imports nothing of this room."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LONGEST_SECONDS = 0.02
"""Work ahead waits no longer than this for a moment without requests, so that it goes on in a busy process too."""


class UnderWay:
    """One per process; used from the event loop."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """A request, from its arrival to its answer."""
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._none.set()

    async def none(self) -> None:
        """Wait for a moment without requests, but not for long."""
        if self._count:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._none.wait(), LONGEST_SECONDS)
