"""A product's picture as bytes: inline, from a file, or over http(s). Imports domain, settings and errors.

Nothing that an image address names reaches a private network (invariant 8): every host is resolved here, every address
it has must be public, and the connection goes to the very address that was checked, so that a second answer of the
name server changes nothing. Redirects are followed by hand and checked alike.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import httpcore
import httpx
from httpcore import AsyncNetworkBackend, AsyncNetworkStream

from freshet.domain.products import Image
from freshet.errors import ImageRejected
from freshet.settings import ImageSettings

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ATTEMPTS = 2
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(address: Address) -> bool:
    """Whether an address is on the open internet; one that wraps an IPv4 address is as public as what it wraps."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is None and address.teredo is not None:
            return False
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved and not address.is_unspecified


class _GuardedNetwork(AsyncNetworkBackend):
    """Resolves, refuses, and connects to the address that was checked."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} has no address: {error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
        private = [address for address in addresses if not is_public(ipaddress.ip_address(address))]
        if private and not self._allow_private:
            raise ImageRejected("image.uri", f"{host} is {private[0]}, which is not on the public internet; refused")
        return await self._inner.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> AsyncNetworkStream:
        raise ImageRejected("image.uri", "names a socket file; refused")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ImageLoader:
    """Fetches pictures within `settings`' limits. Every failure is ImageRejected: a dead picture server stops nothing.

    Time-outs, refused connections and answers of 500 and more are tried twice before they count.
    """

    def __init__(self, settings: ImageSettings) -> None:
        self._settings = settings
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def load(self, image: Image) -> bytes:
        """The encoded file, not larger than `content_bytes`. It is not decoded here."""
        if image.content:
            return self._within(image.content)
        try:
            return await self._load_from(image.uri)
        except ValueError as error:
            # Addresses (of redirects, too) that urllib, the name's encoding or a file name's rules cannot take.
            raise ImageRejected("image.uri", f"{image.uri[:200]!r} is no address: {error}") from error

    async def _load_from(self, uri: str) -> bytes:
        parts = urlsplit(uri)
        if parts.scheme == "file":
            return await asyncio.to_thread(self._read_file, unquote(parts.path), parts.netloc)
        if parts.scheme in ("http", "https"):
            return await self._fetch(uri)
        raise ImageRejected("image.uri", f"{uri[:200]!r} begins with none of file:, http:, https:")

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()

    def _within(self, content: bytes) -> bytes:
        if len(content) > self._settings.content_bytes:
            raise ImageRejected(
                "image", f"has {len(content):,} bytes; at most {self._settings.content_bytes:,} are allowed"
            )
        return content

    def _read_file(self, path: str, host: str) -> bytes:
        roots = [root.resolve() for root in self._settings.file_roots]
        if not roots:
            raise ImageRejected(
                "image.uri", "file: addresses are refused; set FRESHET_IMAGES__FILE_ROOTS to allow folders"
            )
        if host not in ("", "localhost"):
            raise ImageRejected("image.uri", f"names the host {host!r}; file: addresses are read from this machine")
        # resolve() follows links, so that a link out of an allowed folder is outside it.
        file = Path(path).resolve()
        if not any(file.is_relative_to(root) for root in roots):
            raise ImageRejected("image.uri", f"{path} is outside the allowed folders")
        try:
            if file.exists() and not file.is_file():
                # Opening a pipe would wait for its writer.
                raise ImageRejected("image.uri", f"{path} is no file")
            with file.open("rb") as opened:
                return self._within(opened.read(self._settings.content_bytes + 1))
        except OSError as error:
            raise ImageRejected("image.uri", f"{path} cannot be read: {error.strerror}") from error

    async def _fetch(self, uri: str) -> bytes:
        for attempt in range(_ATTEMPTS):
            try:
                async with asyncio.timeout(self._settings.fetch_seconds):
                    return await self._follow(uri)
            except _Passing as error:
                if attempt == _ATTEMPTS - 1:
                    raise ImageRejected("image.uri", f"{uri[:200]}: {error}") from error
            except TimeoutError as error:
                if attempt == _ATTEMPTS - 1:
                    raise ImageRejected(
                        "image.uri", f"{uri[:200]} did not come within {self._settings.fetch_seconds:g} s"
                    ) from error
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _follow(self, uri: str) -> bytes:
        for _ in range(self._settings.redirects + 1):
            answer = await self._get(uri)
            if isinstance(answer, bytes):
                return answer
            uri = urljoin(uri, answer)
            if urlsplit(uri).scheme not in ("http", "https"):
                raise ImageRejected("image.uri", f"redirects to {uri[:200]!r}; refused")
        raise ImageRejected("image.uri", f"redirects more than {self._settings.redirects} times")

    async def _get(self, uri: str) -> bytes | str:
        """The body, or where it redirects to."""
        try:
            url = httpx.URL(uri)
            host = url.raw_host.decode()
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ImageRejected("image.uri", f"{uri[:200]!r} is no address: {error}") from error
        if not host:
            raise ImageRejected("image.uri", f"{uri[:200]!r} names no host")
        limits = {"connect": self._settings.fetch_seconds, "read": self._settings.fetch_seconds}
        request = httpcore.Request(
            "GET",
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=[(b"host", url.netloc), (b"user-agent", b"freshet"), (b"accept", b"image/*")],
            extensions={"timeout": limits},
        )
        try:
            response = await self._connections().handle_async_request(request)
            try:
                return await self._body(response)
            finally:
                await response.aclose()
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, ssl.SSLError) as error:
            raise _Passing(f"{type(error).__name__}: {error}") from error

    async def _body(self, response: httpcore.Response) -> bytes | str:
        headers = {name.lower(): value for name, value in response.headers}
        if response.status in _REDIRECTS and b"location" in headers:
            return headers[b"location"].decode("latin-1")
        if response.status >= 500:
            raise _Passing(f"the server answered {response.status}")
        if response.status != 200:
            raise ImageRejected("image.uri", f"the server answered {response.status}")
        content = bytearray()
        async for chunk in response.aiter_stream():
            content += chunk
            if len(content) > self._settings.content_bytes:
                raise ImageRejected("image.uri", f"is larger than {self._settings.content_bytes:,} bytes")
        return bytes(content)

    def _connections(self) -> httpcore.AsyncConnectionPool:
        if self._pool is None:
            self._pool = httpcore.AsyncConnectionPool(
                max_connections=16,
                keepalive_expiry=5.0,
                network_backend=_GuardedNetwork(self._settings.allow_private_networks),
            )
        return self._pool


class _Passing(Exception):
    """A failure that may be over at the next attempt."""
