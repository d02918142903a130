"""What a status of the services means to a caller. May import errors."""

from __future__ import annotations

from typing import Any, TypeAlias

import grpc
from google.rpc import error_details_pb2, status_pb2

from freshet.errors import DependencyDown, FreshetError, InvalidInput, NotFound

RpcError: TypeAlias = "grpc.RpcError | grpc.aio.AioRpcError"

TRANSIENT = frozenset((grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED))
"""What may be over in a moment. A publish that timed out may have arrived: its events carry ids, and count once."""


class Unavailable(DependencyDown):
    """The service did not answer, or not in time, however often it was asked."""


class Refused(InvalidInput):
    """The request broke rules; `violations` are (field, description), all that the service named.

    `field` and `description` are the first one's.
    """

    def __init__(self, violations: list[tuple[str, str]]) -> None:
        super().__init__(*violations[0])
        self.violations = violations


def is_transient(error: Exception) -> bool:
    return isinstance(error, grpc.RpcError) and error.code() in TRANSIENT


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
