"""Every error that Freshet raises on purpose. Imports nothing of Freshet.

FreshetError
├── ConfigurationError      a setting, file or command-line value is wrong             → exit code 2
├── InvalidInput            an event, request or row breaks a rule; names the field    → INVALID_ARGUMENT or dead letter
│   ├── UnreadableRecord    bytes that are neither protobuf nor JSON of the message    → dead letter UNREADABLE
│   ├── TooLarge            larger than a limit that is named                          → dead letter TOO_LARGE
│   └── ImageRejected       a picture that cannot or must not be read                  → dead letter IMAGE
├── NotFound                a product, user or file that does not exist                → NOT_FOUND
├── DependencyDown          Kafka, SQL, Milvus or Triton is away: wait and try again   → UNAVAILABLE, degraded answer
├── ModelMismatch           model files, vectors or layouts of two versions meet       → exit code 2
├── ProgressConflict        another worker has applied records of this partition       → the worker stops
└── StackError              the local stack cannot do what was asked                   → exit code 2
"""

from __future__ import annotations

DESCRIPTION_CHARACTERS = 300
"""Descriptions quote what was sent: they are cut, and escaped, so that any log, terminal and answer can take them."""


class FreshetError(Exception):
    """The root. Its text is one readable sentence that says what to do."""


class ConfigurationError(FreshetError):
    """A setting, file or command-line value is wrong."""


class InvalidInput(FreshetError):
    """An event, request or row breaks a rule of the contract.

    `field` is the path of what was wrong, in the contract's names (``upsert.price``); empty for the whole.
    """

    def __init__(self, field: str, description: str) -> None:
        description = _one_line(description)
        super().__init__(f"{field}: {description}" if field else description)
        self.field = field
        self.description = description


def _one_line(text: str) -> str:
    """`text` with escapes for what cannot be printed or is no Unicode (half a pair), cut to DESCRIPTION_CHARACTERS."""
    begins = text[: DESCRIPTION_CHARACTERS + 1]
    if not begins.isprintable():
        begins = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in begins)
    if len(begins) <= DESCRIPTION_CHARACTERS:
        return begins
    return f"{begins[:DESCRIPTION_CHARACTERS]}… ({len(text):,} characters)"


class UnreadableRecord(InvalidInput):
    """Bytes that are neither protobuf nor JSON of the expected message."""


class TooLarge(InvalidInput):
    """Larger than a limit, which the description names."""


class ImageRejected(InvalidInput):
    """A picture that cannot be read (format, size) or must not be fetched (address)."""


class NotFound(FreshetError):
    """What was asked for does not exist."""


class DependencyDown(FreshetError):
    """An outside system does not answer. Retried by workers; answered around by the recommend service."""

    def __init__(self, dependency: str, detail: str) -> None:
        super().__init__(f"{dependency} is not available: {detail}")
        self.dependency = dependency
        self.detail = detail


class ModelMismatch(FreshetError):
    """Model files, vectors or layouts of two versions meet."""


class ProgressConflict(FreshetError):
    """Another worker has already applied records of a partition that this worker believed its own."""


class StackError(FreshetError):
    """The local stack cannot do what was asked."""
