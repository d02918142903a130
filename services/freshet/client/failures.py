"""What a status of the services means to a caller, and whether to try again. May import `calls` and errors."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import grpc
from google.rpc import error_details_pb2, status_pb2

from freshet.client.calls import Call
from freshet.errors import DependencyDown, FreshetError, InvalidInput, NotFound

RpcError: TypeAlias = "grpc.RpcError | grpc.aio.AioRpcError"

TRANSIENT = frozenset((grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED))
"""What may be over in a moment. A publish that timed out may have arrived: its events carry ids, and count once."""
AWAY = frozenset((grpc.StatusCode.UNAVAILABLE,))
"""What may be over in a moment, and was hardly answered: only a connection that broke may have had an answer in it."""
FIRST_PAUSE_SECONDS = 0.2


class Unavailable(DependencyDown):
    """The service did not answer, or not in time, however often it was asked."""


class Refused(InvalidInput):
    """The request broke rules; `violations` are (field, description), all that the service named.

    `field` and `description` are the first one's.
    """

    def __init__(self, violations: list[tuple[str, str]]) -> None:
        super().__init__(*violations[0])
        self.violations = violations


class Patience:
    """The attempts at one call: each may take what is left of the call's seconds, and none begins when they are over.

    `clock` is in seconds.
    """

    def __init__(self, call: Call[Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._worth = TRANSIENT if call.repeatable else AWAY
        self._clock, self._end = clock, clock() + call.seconds
        self._pause = FIRST_PAUSE_SECONDS

    @property
    def left(self) -> float:
        """Seconds, not below 0."""
        return max(0.0, self._end - self._clock())

    def again(self, error: Exception) -> bool | float:
        """The pause before the next attempt, in seconds; False where there should be none."""
        if not isinstance(error, grpc.RpcError) or error.code() not in self._worth:
            return False
        pause, self._pause = self._pause * random.uniform(0.75, 1.25), 2 * self._pause
        return pause if pause < self.left else False


def failure(service: str, error: RpcError) -> FreshetError:
    """The error to raise instead: Refused, NotFound, or Unavailable with the status's name."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.NOT_FOUND:
        return NotFound(details)
    if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED):
        return Refused(_violations(error) or [("", details)])
    return Unavailable(service, f"{code.name}: {details}")


def _violations(error: RpcError) -> list[tuple[str, str]]:
    """Of the google.rpc.Status that travels in the trailing metadata."""
    found: list[tuple[str, str]] = []
    metadata: Any = error.trailing_metadata()
    for key, value in metadata or ():
        if key == "grpc-status-details-bin":
            for packed in status_pb2.Status.FromString(value).details:
                refusal = error_details_pb2.BadRequest()
                if packed.Unpack(refusal):
                    found += [(violation.field, violation.description) for violation in refusal.field_violations]
    return found
