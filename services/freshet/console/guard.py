"""Who may ask: the Host header, the token, and the headers of every answer. Plain ASGI; imports settings."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Collection, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-freshet-token"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""blob: is for pictures, which are fetched with the token's header."""
_SECURITY: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}
_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Whether a server that listens on `host` is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_of(header: str) -> str:
    """The name in a Host header, without its port; IPv6 without brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


class Guard:
    """Refuses what must not be asked, before any route sees it.

    A name that another web page made point at this machine (DNS rebinding) is refused by the Host header. Data need
    the token beyond loopback and behind a proxy, and every POST needs it always: a page of another origin cannot set
    that header.
    The page's own files hold no data and need none.
    """

    def __init__(self, app: ASGIApp, *, host: str, token: str, names: Collection[str] = ()) -> None:
        """`names`: by which a proxy in front of it is called; with one, other machines reach it."""
        self._app, self._token = app, token
        self._needs_token = not is_loopback(host) or bool(names)
        self._names = _NAMES | {host.strip("[]").lower()} | {name.lower() for name in names}
        self._any_address = host in ("0.0.0.0", "::")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    headers[name] = value
            await send(message)

        refused = self._refusal(scope)
        await (refused or self._app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        name = host_of(headers.get("host", ""))
        if not self._allowed(name):
            return _refuse(421, f"this console is not called {name!r}; open it by the address that was printed")
        guarded = scope["path"].startswith("/api/")
        if (guarded and self._needs_token) or scope["method"] not in ("GET", "HEAD"):
            given = headers.get(TOKEN_HEADER, "")
            if not secrets.compare_digest(given.encode(), self._token.encode()):
                return _refuse(401, "the token is missing or wrong; open the address that was printed, with #token=…")
        return None

    def _allowed(self, name: str) -> bool:
        if name in self._names:
            return True
        # Listening on every interface: an address cannot be rebound, a name can.
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address


def _refuse(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status_code=status)
