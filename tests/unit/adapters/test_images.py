"""Pictures are fetched within limits, and no address leads into a private network (invariant 8)."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpcore
import pytest

from freshet.adapters.images import ImageLoader, is_public
from freshet.domain.products import Image
from freshet.errors import ImageRejected
from freshet.settings import ImageSettings

ANSWERS: dict[str, bytes] = {
    "/ok": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd",
    "/missing": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "/broken": b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    "/moved": b"HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n",
    "/circle": b"HTTP/1.1 302 Found\r\nLocation: /circle\r\nContent-Length: 0\r\n\r\n",
    "/to-file": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
    "/inwards": b"HTTP/1.1 302 Found\r\nLocation: http://inner.example/x.png\r\nContent-Length: 0\r\n\r\n",
    "/large": b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2_000,
}


class Server:
    """Answers by path on a loopback port, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.hosts: list[str] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ")[1].decode()
                self.asked.append(path)
                self.hosts += [line[6:] for line in head.decode().split("\r\n") if line.lower().startswith("host: ")]
                if path == "/silent":
                    await reader.read()
                    return
                writer.write(ANSWERS[path])
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    answering = Server()
    listening = await asyncio.start_server(answering.answer, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    yield answering, f"http://127.0.0.1:{port}"
    listening.close()


@pytest.fixture
async def loader() -> AsyncIterator[Callable[..., ImageLoader]]:
    made: list[ImageLoader] = []

    def make(**settings: Any) -> ImageLoader:
        made.append(ImageLoader(ImageSettings(**({"allow_private_networks": True, "content_bytes": 1_000} | settings))))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def test_inline_and_fetched_pictures_arrive(server: Any, loader: Any) -> None:
    answering, base = server
    assert await loader().load(Image(content=b"1234")) == b"1234"
    assert await loader().load(Image(uri=f"{base}/moved")) == b"abcd"
    assert answering.asked == ["/moved", "/ok"]


@pytest.mark.parametrize(
    ("path", "says", "requests"),
    [
        ("/missing", "404", 1),
        ("/broken", "503", 2),
        ("/circle", "redirects more than 3", 4),
        ("/to-file", "refused", 1),
        ("/large", "larger than 1,000 bytes", 1),
    ],
)
async def test_what_cannot_be_had_is_refused_with_its_reason(
    server: Any, loader: Any, path: str, says: str, requests: int
) -> None:
    answering, base = server
    with pytest.raises(ImageRejected, match=says):
        await loader().load(Image(uri=base + path))
    assert len(answering.asked) == requests


async def test_a_server_that_says_nothing_is_given_up_after_the_limit(server: Any, loader: Any) -> None:
    answering, base = server
    with pytest.raises(ImageRejected, match=r"did not come within|ReadTimeout"):
        await loader(fetch_seconds=0.2).load(Image(uri=f"{base}/silent"))
    assert answering.asked == ["/silent", "/silent"]


async def test_too_large_content_is_refused_before_anybody_decodes_it(loader: Any) -> None:
    with pytest.raises(ImageRejected, match="1,001 bytes"):
        await loader().load(Image(content=b"x" * 1_001))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:10.0.0.1]",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "0x7f000001",
        "[64:ff9b::7f00:1]",
        "[fe80::1]",
        "[fd00::1]",
    ],
)
async def test_a_private_address_is_refused_however_it_is_written(loader: Any, host: str) -> None:
    with pytest.raises(ImageRejected, match=r"not on the public internet|has no address"):
        await loader(allow_private_networks=False).load(Image(uri=f"http://{host}/x.png"))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_on_the_open_internet_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["2002:7f00:1::", "224.0.0.1", "ff02::1", "240.0.0.1", "2001:0:7f00:1::", "fec0::1"]
)
def test_wrapped_multicast_and_reserved_addresses_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


async def test_the_connection_goes_to_the_address_that_was_checked(
    server: Any, loader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that answers differently the second time gains nothing: there is no second time."""
    answering, base = server
    port = int(base.rpartition(":")[2])
    lookups: list[str] = []

    async def resolve(_loop: Any, host: str, port: int, **_options: Any) -> list[Any]:
        lookups.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", resolve)
    assert await loader().load(Image(uri=f"http://shop.example:{port}/ok")) == b"abcd"
    assert lookups.count("shop.example") == 1
    assert answering.hosts == [f"shop.example:{port}"]


async def test_a_redirect_into_a_private_network_is_not_followed(
    server: Any, loader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering, base = server
    port = int(base.rpartition(":")[2])
    names = {"shop.example": "8.8.8.8", "inner.example": "10.0.0.7"}
    connected: list[str] = []
    connect = httpcore.AnyIOBackend.connect_tcp

    async def resolve(_loop: Any, host: str, port: int, **_options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (names.get(host, host), port))]

    async def to_the_server(self: httpcore.AnyIOBackend, host: str, _port: int, *more: Any, **options: Any) -> Any:
        connected.append(host)
        return await connect(self, "127.0.0.1", port, *more, **options)

    monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", resolve)
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", to_the_server)
    with pytest.raises(ImageRejected, match=r"inner\.example is 10\.0\.0\.7"):
        await loader(allow_private_networks=False).load(Image(uri="http://shop.example/inwards"))
    assert answering.asked == ["/inwards"]
    assert connected == ["8.8.8.8"]


async def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, loader: Any) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageRejected, match="is no file"):
        await loader(file_roots=(tmp_path,)).load(Image(uri=f"file://{tmp_path}/pipe"))


async def test_files_are_read_from_allowed_folders_alone(tmp_path: Path, loader: Any) -> None:
    allowed, secret = tmp_path / "allowed", tmp_path / "secret.png"
    allowed.mkdir()
    secret.write_bytes(b"secret")
    (allowed / "a b.png").write_bytes(b"fine")
    (allowed / "link.png").symlink_to(secret)
    reading = loader(file_roots=(allowed,))
    assert await reading.load(Image(uri=f"file://{allowed}/a%20b.png")) == b"fine"
    for path in (secret, allowed / "link.png", allowed / ".." / "secret.png"):
        with pytest.raises(ImageRejected, match="outside the allowed folders"):
            await reading.load(Image(uri=f"file://{path}"))
    with pytest.raises(ImageRejected, match="cannot be read"):
        await reading.load(Image(uri=f"file://{allowed}/nothing.png"))
    with pytest.raises(ImageRejected, match="FILE_ROOTS"):
        await loader().load(Image(uri=f"file://{allowed}/a%20b.png"))


@pytest.mark.parametrize("uri", ["ftp://shop.example/x.png", "x.png", "http:///x.png", "javascript:1"])
async def test_other_addresses_are_refused(loader: Any, uri: str) -> None:
    with pytest.raises(ImageRejected):
        await loader().load(Image(uri=uri))
