"""Reading the serving store from the event loop, within a time limit. May import `ports` and `errors`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from freshet.errors import ConfigurationError, DependencyDown
from freshet.ports import ServingStore

P = ParamSpec("P")
T = TypeVar("T")


class Reads:
    """An embedded store is called where we stand, since a thread hop costs more than the read; others in a thread."""

    def __init__(self, store: ServingStore, threads: int = 8) -> None:
        self.store = store
        self._threads = None if store.embedded else ThreadPoolExecutor(threads, thread_name_prefix="store")

    async def call(
        self, timeout_seconds: float, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs
    ) -> T:
        """`function(*arguments)`. Raises DependencyDown, also when time runs out or the database needs an upgrade."""
        if self._threads is None:
            return self._connected(function, *arguments, **named)
        if timeout_seconds <= 0.0:
            raise DependencyDown("sql", "no time left for it")
        hop = asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: self._connected(function, *arguments, **named)
        )
        try:
            return await asyncio.wait_for(hop, timeout_seconds)
        except TimeoutError as error:
            raise DependencyDown("sql", f"no answer within {timeout_seconds * 1e3:.0f} ms") from error

    @staticmethod
    def _connected(function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
        try:
            return function(*arguments, **named)
        except ConfigurationError as error:
            # Of a running service it is an outage like any other: answers are degraded until somebody upgrades.
            raise DependencyDown("sql", str(error)) from error

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
