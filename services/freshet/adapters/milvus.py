"""The index in Milvus: one collection per model version, behind the alias `freshet`. Imports domain and errors."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import grpc
import numpy as np
import structlog
from numpy.typing import NDArray
from pymilvus import AsyncMilvusClient, DataType, MilvusException

from freshet import tracing
from freshet.domain.representations import Layout, Matrix
from freshet.errors import ConfigurationError, DependencyDown, ModelMismatch

ALIAS = "freshet"
KEY, VECTOR = "number", "vector"
UPSERT_ROWS = 500
"""Rows per call: what Milvus took fastest here, at 416 dimensions."""
SEALED_ROWS = 50_000
"""Segments that grow are searched row by row. So many rows end one, and the graph is built over it."""
PAUSE_SECONDS = 2.0
"""When nothing was written for so long, `SEALED_LEAST_ROWS` are enough."""
SEALED_LEAST_ROWS = 5_000
_HNSW = {"index_type": "HNSW", "metric_type": "IP", "params": {"M": 16, "efConstruction": 200}}
_NOT_LOADED = 101

R = TypeVar("R")

log = structlog.get_logger()
# What fails is raised here, and said by whoever asked; pymilvus would write it beside, with a traceback.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


def collection_name(model_version: str) -> str:
    """Milvus allows letters, digits and underscores."""
    return "freshet_" + re.sub(r"\W", "_", model_version, flags=re.ASCII)


class MilvusIndex:
    """ports.VectorIndex over Milvus. Connects on first use; one per event loop.

    Reads are eventually consistent: a row is found some 200 ms after its upsert (measured at most 400). What must be
    seen at once comes from the recommend service's mirror.
    """

    def __init__(self, url: str, layout: Layout, *, timeout_seconds: float = 30.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("milvus", "milvus+tls") or not parts.netloc:
            raise ConfigurationError(f"index_url is {url!r}; milvus://HOST:PORT is needed")
        self._uri = f"{'https' if parts.scheme == 'milvus+tls' else 'http'}://{parts.netloc}"
        self._dimension, self._timeout_seconds = layout.searched, timeout_seconds
        self.collection = collection_name(layout.model_version)
        self._client: Any = None
        self._unsealed = 0
        self._pause: asyncio.TimerHandle | None = None
        self._sealing: asyncio.Task[None] | None = None

    async def ensure(self) -> None:
        """Create and load the collection where it is absent, and set the alias where there is none.

        Raises DependencyDown, or ModelMismatch when a collection of that name has other dimensions.
        """
        client = self._connected()
        if not await self._asked(client.has_collection(self.collection, timeout=self._timeout_seconds)):
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field(KEY, DataType.INT64, is_primary=True)
            schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=self._dimension)
            index = client.prepare_index_params()
            index.add_index(VECTOR, **_HNSW)
            await self._asked(
                client.create_collection(
                    self.collection,
                    schema=schema,
                    index_params=index,
                    consistency_level="Eventually",
                    timeout=self._timeout_seconds,
                )
            )
        described = await self._asked(client.describe_collection(self.collection, timeout=self._timeout_seconds))
        held = next(field["params"]["dim"] for field in described["fields"] if field["name"] == VECTOR)
        if int(held) != self._dimension:
            raise ModelMismatch(
                f"Milvus's collection {self.collection} has {held} dimensions, the model {self._dimension}; drop it "
                "and let the index worker fill it again"
            )
        await self._asked(client.load_collection(self.collection, timeout=self._timeout_seconds))
        if await self._active() is None:
            await self._asked(client.create_alias(self.collection, ALIAS, timeout=self._timeout_seconds))

    async def activate(self) -> None:
        """Point the alias at this model version's collection. Raises DependencyDown."""
        client, active = self._connected(), await self._active()
        if active is None:
            await self._asked(client.create_alias(self.collection, ALIAS, timeout=self._timeout_seconds))
        elif active != self.collection:
            await self._asked(client.alter_alias(self.collection, ALIAS, timeout=self._timeout_seconds))

    async def upsert(self, numbers: NDArray[np.int64], vectors: Matrix) -> None:
        """Insert or replace, in calls of `UPSERT_ROWS`. Raises DependencyDown; a part may then have been written."""
        client = self._connected()
        for start in range(0, len(numbers), UPSERT_ROWS):
            part = slice(start, start + UPSERT_ROWS)
            rows = [
                {KEY: number, VECTOR: vector}
                for number, vector in zip(numbers[part].tolist(), vectors[part, : self._dimension], strict=True)
            ]
            with tracing.span("milvus upsert", rows=len(rows)):
                await self._asked(client.upsert(self.collection, rows, timeout=self._timeout_seconds))
        self._unsealed += len(numbers)
        if self._unsealed >= SEALED_ROWS:
            self._seal()
        elif self._unsealed >= SEALED_LEAST_ROWS:
            self._seal_later()

    def _seal_later(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        self._pause = asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._seal)

    def _seal(self) -> None:
        """End the growing segments in the background. Milvus does so by itself only at hundreds of megabytes."""
        if self._sealing is not None and not self._sealing.done():
            self._seal_later()
            return
        rows, self._unsealed = self._unsealed, 0
        self._sealing = asyncio.get_running_loop().create_task(self._flush(rows))

    async def _flush(self, rows: int) -> None:
        try:
            await self._asked(self._connected().flush(self.collection, timeout=self._timeout_seconds))
        except DependencyDown as error:
            # Milvus takes one flush in ten seconds, and none while it is away.
            log.info("segments could not be sealed yet; searches are slower until they are", detail=error.detail)
            self._unsealed += rows
            self._seal_later()

    async def delete(self, numbers: NDArray[np.int64]) -> None:
        """Remove; numbers that are not there are no error. Raises DependencyDown."""
        if len(numbers):
            with tracing.span("milvus delete", rows=len(numbers)):
                await self._asked(
                    self._connected().delete(self.collection, ids=numbers.tolist(), timeout=self._timeout_seconds)
                )

    async def search(
        self, queries: Matrix, limit: int, timeout_seconds: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Numbers and scores, (queries, limit), best first; -1 where there are fewer. Raises DependencyDown."""
        found = await self._asked(
            self._connected().search(
                self.collection,
                list(queries[:, : self._dimension]),
                limit=limit,
                search_params={"params": {"ef": max(2 * limit, 128)}},
                timeout=timeout_seconds,
            ),
            timeout_seconds,
        )
        numbers = np.full((len(queries), limit), -1, dtype=np.int64)
        scores = np.full((len(queries), limit), -np.inf, dtype=np.float32)
        for row, hits in enumerate(found):
            ids, distances = hits.ids, hits.distances
            numbers[row, : len(ids)] = ids
            scores[row, : len(ids)] = distances
        return numbers, scores

    async def count(self) -> int:
        """Rows, deleted ones taken off. Raises DependencyDown."""
        rows = await self._asked(
            self._connected().query(
                self.collection, filter="", output_fields=["count(*)"], timeout=self._timeout_seconds
            )
        )
        return int(rows[0]["count(*)"])

    async def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._sealing is not None:
            self._sealing.cancel()
            await asyncio.gather(self._sealing, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _active(self) -> str | None:
        """The collection that the alias names."""
        try:
            described = await self._connected().describe_alias(ALIAS, timeout=self._timeout_seconds)
        except (TimeoutError, MilvusException, grpc.RpcError) as error:
            if isinstance(error, MilvusException) and "not" in str(error).lower() and "found" in str(error).lower():
                return None
            raise DependencyDown("milvus", _text(error)) from error
        return str(described["collection_name"]) or None

    async def _asked(self, answer: Awaitable[R], timeout_seconds: float | None = None) -> R:
        try:
            return await asyncio.wait_for(answer, timeout_seconds or self._timeout_seconds)
        except MilvusException as error:
            if error.code == _NOT_LOADED:
                raise DependencyDown("milvus", f"{self.collection} is still being loaded: {_text(error)}") from error
            raise DependencyDown("milvus", _text(error)) from error
        except (TimeoutError, grpc.RpcError, ConnectionError) as error:
            raise DependencyDown("milvus", _text(error)) from error

    def _connected(self) -> Any:
        if self._client is None:
            try:
                self._client = AsyncMilvusClient(self._uri)
            except MilvusException as error:
                raise DependencyDown("milvus", _text(error)) from error
        return self._client


def _text(error: BaseException) -> str:
    message = getattr(error, "message", "") or str(error)
    return message.splitlines()[0][:300] if message else type(error).__name__
