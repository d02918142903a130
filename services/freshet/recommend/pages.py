"""Later pages of a ranking that was made once. May import nothing of Freshet but `errors`.

A ranking is kept in this process for ten minutes. A client's channel stays with one process, so its pages find it;
after a restart or a reconnect to another process the token is refused, and the caller asks for a first page again.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from freshet.errors import InvalidInput

LIFETIME_SECONDS = 600.0
_TOKEN = struct.Struct(">16sI")
_STALE = "is not good any more, or was made for other arguments; ask again without it"

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[R]):
    ranking: R
    fingerprint: bytes
    until: float


class Pages(Generic[R]):
    """The latest rankings, at most `limit`; ids are random, so a token cannot be guessed."""

    def __init__(self, limit: int = 2_000) -> None:
        self._limit = limit
        self._kept: OrderedDict[bytes, _Kept[R]] = OrderedDict()

    def keep(self, ranking: R, fingerprint: bytes, now: float) -> bytes:
        """Keep a ranking until ten minutes after `now` (monotonic seconds); returns its id."""
        name = secrets.token_bytes(16)
        self._kept[name] = _Kept(ranking, fingerprint, now + LIFETIME_SECONDS)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return name

    def token(self, name: bytes, offset: int) -> str:
        return base64.urlsafe_b64encode(_TOKEN.pack(name, offset)).rstrip(b"=").decode()

    def open(self, token: str, fingerprint: bytes, now: float) -> tuple[bytes, R, int]:
        """(id, ranking, offset). Raises InvalidInput: unknown, too old, or made for other arguments."""
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            name, offset = _TOKEN.unpack(data)
        except (binascii.Error, struct.error, ValueError) as error:
            raise InvalidInput("page_token", "is no page token; pass what an earlier answer returned") from error
        kept = self._kept.get(name)
        if kept is None or kept.until < now or kept.fingerprint != fingerprint:
            raise InvalidInput("page_token", _STALE)
        return name, kept.ranking, offset
