"""Waiting, on the event loop, for what Kafka's delivery thread reports; and a bound on what is not yet confirmed.

May import domain and errors.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from freshet.domain.progress import Position
from freshet.errors import DependencyDown


def gathered(futures: Sequence[Future[Position]], release: Callable[[], None]) -> asyncio.Future[list[Position]]:
    """All of these positions, or the first failure once every record is decided.

    One wake-up of the loop for the whole batch. `release` is called on the loop when all are decided, even if
    nobody waits any more.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[list[Position]] = loop.create_future()
    left = len(futures)
    lock = threading.Lock()

    def finish() -> None:
        release()
        if result.done():
            return
        failures = [error for future in futures if (error := future.exception()) is not None]
        if failures:
            result.set_exception(failures[0])
        else:
            result.set_result([future.result() for future in futures])

    def decided(_: Future[Position]) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last and not loop.is_closed():
            loop.call_soon_threadsafe(finish)

    for future in futures:
        future.add_done_callback(decided)
    if not futures:
        finish()
    return result


class Unconfirmed:
    """How many bytes may wait for Kafka at once. A full room makes callers wait: that is the back-pressure."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held = 0
        self._freed = asyncio.Event()

    @property
    def held_bytes(self) -> int:
        return self._held

    async def reserve(self, size: int, seconds: float) -> None:
        """Wait for room. Raises DependencyDown when there is none in time.

        A size beyond the limit fits an empty room.
        """
        try:
            async with asyncio.timeout(seconds):
                while self._held and self._held + size > self._limit:
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError as error:
            raise DependencyDown(
                "kafka", f"{self._held:,} bytes still wait for its confirmation; try again later"
            ) from error
        self._held += size

    def release(self, size: int) -> None:
        self._held -= size
        self._freed.set()
