"""Encoders that are believed only while they answer the model's golden inputs (invariant 5). May import `ports`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray
from prometheus_client import Gauge

from freshet.domain.representations import Layout, Matrix, Modality
from freshet.errors import DependencyDown, ModelMismatch
from freshet.ports import Encoders

EVERY_SECONDS = 30.0
TRUSTED_SECONDS = 90.0
"""After so long without a look the encoders are not believed, whatever became of the looks."""

UP = Gauge("freshet_triton_canary_up", "1 while Triton answers the model's golden inputs as it should, else 0.")
SECONDS = Gauge("freshet_triton_canary_seconds", "How long Triton took to answer all golden inputs, the last time.")

log = structlog.get_logger()


class Connected(Encoders, Protocol):
    """Encoders that somebody else may answer for once the connection is another."""

    @property
    def connected(self) -> bool:
        """Whether the connection stands that the last call was made on."""
        ...


class TrustedEncoders:
    """ports.Encoders that raise DependencyDown until the golden inputs are answered right.

    They are asked when the connection is new, after a call that failed, and every EVERY_SECONDS beside the work. What
    answers wrong is a dependency that is down, not an error for good: Triton may come to this model while we wait.
    """

    def __init__(self, encoders: Connected) -> None:
        self.layout: Layout = encoders.layout
        self._encoders = encoders
        self._trusted_until = 0.0
        self._turn = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._complaint = ""

    async def open(self) -> None:
        """Have the encoders believed, and look again from time to time. Raises DependencyDown."""
        await self.canary()
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="canary")

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await self._encoders.close()

    async def canary(self) -> None:
        """Look once. Raises DependencyDown, for another model's answers too."""
        async with self._turn:
            await self._look()

    async def encode(self, modality: Modality, inputs: Mapping[str, NDArray[np.generic]]) -> Matrix:
        """As `Encoders.encode`. Raises DependencyDown."""
        async with self._trusted():
            return await self._encoders.encode(modality, inputs)

    async def sentiment(self, inputs: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float32] | None:
        """As `Encoders.sentiment`. Raises DependencyDown."""
        async with self._trusted():
            return await self._encoders.sentiment(inputs)

    async def fuse(self, parts: Mapping[Modality, Matrix], present: NDArray[np.bool_]) -> Matrix:
        """As `Encoders.fuse`. Raises DependencyDown."""
        async with self._trusted():
            return await self._encoders.fuse(parts, present)

    @asynccontextmanager
    async def _trusted(self) -> AsyncIterator[None]:
        """For one call: a look before it where one is due, and before the next where this fails."""
        if not self._believed():
            async with self._turn:
                # Whoever had the turn before may have looked.
                if not self._believed():
                    await self._look()
        try:
            yield
        except DependencyDown:
            self._trusted_until = 0.0
            raise
        except ModelMismatch as error:
            self._trusted_until = 0.0
            raise DependencyDown("triton", str(error)) from error

    def _believed(self) -> bool:
        return self._encoders.connected and time.monotonic() < self._trusted_until

    async def _look(self) -> None:
        if not self._encoders.connected:
            # The look itself connects: what is asked meanwhile must wait for what it finds.
            self._trusted_until = 0.0
        begun = time.perf_counter()
        try:
            await self._encoders.canary()
        except (DependencyDown, ModelMismatch) as error:
            self._trusted_until = 0.0
            UP.set(0)
            self._complain(error)
            if isinstance(error, ModelMismatch):
                raise DependencyDown("triton", str(error)) from error
            raise
        self._trusted_until = time.monotonic() + TRUSTED_SECONDS
        UP.set(1)
        SECONDS.set(time.perf_counter() - begun)
        if self._complaint:
            log.info("Triton answers the golden inputs again", model=self.layout.model_version)
            self._complaint = ""

    def _complain(self, error: DependencyDown | ModelMismatch) -> None:
        """Once for each thing that is wrong, however often it is seen."""
        if str(error) == self._complaint:
            return
        self._complaint = str(error)
        if isinstance(error, ModelMismatch):
            log.error("Triton serves another model; no product is encoded", error=str(error))
        else:
            log.warning("Triton does not answer the golden inputs", error=str(error))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            with suppress(DependencyDown):
                await self.canary()
