"""What Triton says of every model that it serves: by its statistics extension, over gRPC. No model is run.

May import `scrape` and errors.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import grpc
from tritonclient.grpc import aio as triton
from tritonclient.utils import InferenceServerException

from freshet.console.scrape import WINDOW_SECONDS, Sample, Series, total, values
from freshet.errors import DependencyDown

TIMEOUT_SECONDS = 1.0
_WORK = ("compute_input", "compute_infer", "compute_output")


class Models:
    """Triton's counters, and what was added to them in the last minute. Building it connects nothing."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = parts.netloc if parts.scheme == "triton" else ""
        self._client: Any = None
        self._series = Series()

    async def read(self, now: float) -> str:
        """Look; returns what was wrong, or empty."""
        try:
            self._series.add(now, await self._statistics())
        except DependencyDown as error:
            self._series.clear()
            return error.detail
        return ""

    def rows(self) -> list[dict[str, Any]]:
        """By model, of the last minute: rows per second and per run, mean seconds a request waits and a run takes.

        None where nothing ran.
        """
        seconds, added = self._series.added(WINDOW_SECONDS)
        return [_row(name, added, seconds) for name in values(self._series.latest, "rows", "model")]

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _statistics(self) -> Sample:
        if not self._address:
            raise DependencyDown("triton", "encoder_url names no Triton")
        if self._client is None:
            self._client = triton.InferenceServerClient(self._address)
        try:
            answer = await self._client.get_inference_statistics(client_timeout=TIMEOUT_SECONDS)
        except (InferenceServerException, grpc.aio.AioRpcError) as error:
            detail = error.message() if isinstance(error, InferenceServerException) else error.details()
            raise DependencyDown("triton", str(detail)) from error
        return sample_of(answer)


def sample_of(answer: Any) -> Sample:
    """Triton's ModelStatisticsResponse as counters by model; the versions of a model are added up."""
    sample: Sample = {}
    for model in answer.model_stats:
        told = model.inference_stats
        work = (getattr(told, name) for name in _WORK)
        for name, value in (
            ("rows", model.inference_count),
            ("runs", model.execution_count),
            ("requests", told.success.count),
            ("failed", told.fail.count),
            ("queue_ns", told.queue.ns),
            ("work_ns", sum(part.ns for part in work)),
        ):
            key = (name, (("model", model.name),))
            sample[key] = sample.get(key, 0.0) + value
    return sample


def _row(name: str, added: Sample, seconds: float) -> dict[str, Any]:
    def of(counter: str) -> float:
        return total(added, counter, model=name)

    requests, runs = of("requests"), of("runs")
    return {
        "model": name,
        "rate": of("rows") / seconds if seconds else None,
        "batch": of("rows") / runs if runs else None,
        "queue": of("queue_ns") / requests / 1e9 if requests else None,
        "work": of("work_ns") / requests / 1e9 if requests else None,
        "failed": of("failed"),
    }
