"""What a process does now for others, so that its work ahead of requests gives way. Imports nothing of this room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LONGEST_SECONDS = 0.02
"""Work ahead waits no longer than this for a moment without requests, so that it goes on in a busy process too."""
MANY = 50
"""Products that arrive together are a part of a catalogue being loaded."""
LOADED_SECONDS = 0.5
"""After the last such arrival: until then, what is found ahead would soon be out of date."""


class UnderWay:
    """One per process; used from the event loop."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()
        self._loading_until = 0.0

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

    def arrived(self, products: int) -> None:
        """So many products were read at once."""
        if products >= MANY:
            self._loading_until = time.monotonic() + LOADED_SECONDS

    async def none(self) -> None:
        """Wait for a moment without requests, but not for long."""
        if self._count:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._none.wait(), LONGEST_SECONDS)

    async def loaded(self) -> None:
        """Wait until no catalogue is being loaded, and then as `none`."""
        while (left := self._loading_until - time.monotonic()) > 0.0:  # noqa: ASYNC110 - time is what is waited for
            await asyncio.sleep(left)
        await self.none()
