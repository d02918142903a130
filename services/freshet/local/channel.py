"""How probes reach a gRPC server that comes and goes. Imports nothing of Freshet."""

from __future__ import annotations

import grpc

_OPTIONS = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]


class ProbeChannel:
    """One channel for all probes of a server, made for the first of them."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._channel: grpc.Channel | None = None

    def get(self) -> grpc.Channel:
        """Tries again within half a second, however long the server was away."""
        if self._channel is None:
            self._channel = grpc.insecure_channel(self._target, options=_OPTIONS)
        return self._channel

    def close(self) -> None:
        """May be called again; the next `get` makes a new channel."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
