"""The encoders that Triton hosts, over gRPC. The model's layout and golden vectors come from its manifest."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import grpc
import numpy as np
from numpy.typing import NDArray
from prometheus_client import Histogram
from tritonclient.grpc import aio as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from freshet import tracing
from freshet.domain.representations import Layout, Matrix, Modality
from freshet.errors import ConfigurationError, DependencyDown, ModelMismatch
from freshet.representation.manifest import ENCODED, OUTPUT, SENTIMENT, Manifest, golden_inputs

MOST_ROWS = 256
"""Rows per call: the served models' max_batch_size."""
GOLDEN_TOLERANCE = {"float32": 2e-3, "int8": 5e-2}
"""Largest difference from a golden vector: of float32 ten times what other processors were seen to differ by."""
_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]
"""gRPC's own waits grow to two minutes: so long a Triton that is back would not be noticed."""

CALL_SECONDS = Histogram(
    "freshet_triton_call_seconds", "Time of one call of Triton, answered or failed.", ["model"],
    buckets=[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30],
)  # fmt: skip


class TritonEncoders:
    """ports.Encoders and ports.QueryEncoders over one Triton server. Connects on first use."""

    def __init__(self, url: str, manifest: Manifest, *, timeout_seconds: float = 30.0, calls_at_once: int = 4) -> None:
        parts = urlsplit(url)
        if parts.scheme != "triton" or not parts.netloc:
            raise ConfigurationError(f"encoder_url is {url!r}; triton://HOST:PORT is needed")
        self.layout: Layout = manifest.layout
        self.manifest = manifest
        self._address, self._timeout_seconds = parts.netloc, timeout_seconds
        self._calls = asyncio.Semaphore(calls_at_once)
        self._client: Any = None
        self._golden: dict[str, NDArray[np.generic]] | None = None

    @property
    def connected(self) -> bool:
        """Whether the connection stands that the last call was made on. Whoever answers on the next may be another."""
        return self._client is not None and self._client._channel.get_state() is grpc.ChannelConnectivity.READY

    async def encode(self, modality: Modality, inputs: Mapping[str, NDArray[np.generic]]) -> Matrix:
        """One vector per row. Raises DependencyDown, or ModelMismatch when Triton's answer has another shape."""
        return await self._infer(modality.value, inputs, self.manifest.encoded_size(modality))

    async def fuse(self, parts: Mapping[Modality, Matrix], present: NDArray[np.bool_]) -> Matrix:
        """Whole vectors (rows, dimension). A modality that `parts` leaves out is absent for every row."""
        rows = len(present)
        inputs: dict[str, NDArray[np.generic]] = {
            modality.value: np.asarray(
                parts[modality]
                if modality in parts
                else np.zeros((rows, self.manifest.encoded_size(modality)), np.float32),
                np.float32,
            )
            for modality in ENCODED
        }
        inputs["present"] = present.astype(np.float32)
        return await self._infer("fusion", inputs, self.layout.dimension)

    async def caption(self, texts: Matrix) -> Matrix:
        """Where pictures of what texts say would lie: from learned text vectors (rows, text) to (rows, image)."""
        return await self._infer("caption", {"text": texts}, self.manifest.size(Modality.IMAGE))

    async def sentiment(self, inputs: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float32] | None:
        """How well each text speaks, 0 to 1, (rows,); None for a model that was trained without a judge of it."""
        if not self.manifest.judges_sentiment:
            return None
        scores: NDArray[np.float32] = (await self._infer(SENTIMENT, inputs, 1))[:, 0]
        return scores

    async def canary(self) -> None:
        """Run every model on its golden inputs. Raises DependencyDown, or ModelMismatch when an answer differs."""
        if self._golden is None:
            self._golden = self.manifest.golden()
        golden = self._golden
        for name in self.manifest.served:
            inputs = golden_inputs(golden, name)
            expected = np.asarray(golden[f"{name}/{OUTPUT}"], np.float32)
            answered = await self._infer(name, inputs, expected.shape[1])
            worst = float(np.abs(answered - expected).max())
            if not worst <= GOLDEN_TOLERANCE[self.manifest.weights]:
                raise ModelMismatch(
                    f"Triton's model {name!r} at {self._address} differs from the golden vectors of "
                    f"{self.manifest.model_version} by {worst:.2g}; it serves another version, or is broken"
                )

    def check_and_close(self) -> None:
        """`canary` for a caller without an event loop, of encoders that are not needed afterwards."""

        async def check() -> None:
            try:
                await self.canary()
            finally:
                await self.close()

        asyncio.run(check())

    async def repair(self) -> None:
        """Load every model again: what mends a server whose Python process died while it still calls itself ready."""
        client = self._connected()
        try:
            for name in self.manifest.served:
                await client.unload_model(name)
                await client.load_model(name)
        except (InferenceServerException, grpc.RpcError) as error:
            raise DependencyDown("triton", _text(error)) from error

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _connected(self) -> Any:
        if self._client is None:
            self._client = triton.InferenceServerClient(self._address, channel_args=_CHANNEL)
        return self._client

    async def _infer(self, model: str, inputs: Mapping[str, NDArray[np.generic]], size: int) -> Matrix:
        rows = len(next(iter(inputs.values())))
        if rows == 0:
            return np.zeros((0, size), dtype=np.float32)
        slices = [slice(start, min(start + MOST_ROWS, rows)) for start in range(0, rows, MOST_ROWS)]
        answers = await asyncio.gather(
            *(self._call(model, {name: value[part] for name, value in inputs.items()}) for part in slices)
        )
        vectors = answers[0] if len(answers) == 1 else np.concatenate(answers)
        if vectors.shape != (rows, size):
            raise ModelMismatch(
                f"Triton's model {model!r} answered with shape {vectors.shape}; {self.manifest.model_version} "
                f"has ({rows}, {size})"
            )
        return vectors

    async def _call(self, model: str, inputs: Mapping[str, NDArray[np.generic]]) -> Matrix:
        tensors: Sequence[Any] = [_tensor(name, value) for name, value in inputs.items()]
        async with self._calls:
            rows = len(next(iter(inputs.values())))
            with CALL_SECONDS.labels(model).time(), tracing.span(f"triton {model}", rows=rows):
                return await self._ask(model, tensors)

    async def _ask(self, model: str, tensors: Sequence[Any]) -> Matrix:
        try:
            answer = await self._connected().infer(
                model,
                tensors,
                outputs=[triton.InferRequestedOutput(OUTPUT)],
                client_timeout=self._timeout_seconds,
            )
        except (InferenceServerException, grpc.RpcError) as error:
            raise DependencyDown("triton", f"model {model!r}: {_text(error)}") from error
        vectors: Matrix = answer.as_numpy(OUTPUT)
        return vectors


def _tensor(name: str, value: NDArray[np.generic]) -> Any:
    tensor = triton.InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype))
    tensor.set_data_from_numpy(np.ascontiguousarray(value))
    return tensor


def _text(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
