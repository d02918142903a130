"""Who may ask the console: by name, by token, and with which headers it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from freshet.console.app import build
from freshet.console.guard import is_loopback
from freshet.settings import ConsoleSettings, Settings

TOKEN = "a-token-of-this-test"
ROUTES_THAT_CHANGE = ("/api/interact", "/api/available", "/api/replay")


class Browser:
    """Asks the application without a network."""

    def __init__(self, settings: Settings, called: str) -> None:
        self._settings, self._address = settings, f"http://{called}"

    def get(self, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._ask("GET", path, options))

    def post(self, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._ask("POST", path, options))

    async def _ask(self, method: str, path: str, options: Mapping[str, Any]) -> httpx.Response:
        app = build(self._settings, watching=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=self._address) as client,
        ):
            return await client.request(method, path, **options)


def opened(
    tmp_path: Path, host: str = "127.0.0.1", called: str = "127.0.0.1:7072", names: tuple[str, ...] = ()
) -> Browser:
    """Nothing of the system runs: what a route then answers is 503, and what the guard refuses it never sees."""
    return Browser(
        Settings(
            kafka_url="kafka://127.0.0.1:9",
            database_url=f"memory://{tmp_path.name}",
            data_dir=tmp_path,
            recommend={"port": 9},  # type: ignore[arg-type]
            ingest={"port": 9},  # type: ignore[arg-type]
            console=ConsoleSettings(host=host, token=TOKEN, names=names),
        ),
        called,
    )


def test_every_answer_has_a_strict_policy(tmp_path: Path) -> None:
    client = opened(tmp_path)
    for path in ("/", "/healthz", "/static/main.js", "/api/state", "/nowhere"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_the_page_has_no_script_or_style_in_it_and_loads_nothing_from_elsewhere() -> None:
    static = Path(build.__code__.co_filename).with_name("static")
    page = (static / "index.html").read_text()
    assert "<style" not in page
    assert "style=" not in page
    assert " onclick" not in page
    assert page.count("<script") == page.count('<script type="module" src="static/main.js">')
    for file in static.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, file
        assert "https://" not in text, file
        assert "innerHTML" not in text, file


@pytest.mark.parametrize("called", ["evil.example:7072", "evil.example", "127.0.0.1.evil.example", "10.0.0.5:7072", ""])
def test_another_name_is_refused(tmp_path: Path, called: str) -> None:
    client = opened(tmp_path)
    answer = client.get("/api/state", headers={"host": called})
    assert answer.status_code == 421
    assert "address that was printed" in answer.json()["error"]
    assert client.get("/", headers={"host": called}).status_code == 421


@pytest.mark.parametrize("called", ["127.0.0.1:7072", "localhost:7072", "[::1]:7072", "LOCALHOST"])
def test_loopback_names_are_served(tmp_path: Path, called: str) -> None:
    client = opened(tmp_path)
    assert client.get("/api/state", headers={"host": called}).status_code == 200


def test_on_loopback_looking_needs_no_token(tmp_path: Path) -> None:
    client = opened(tmp_path)
    assert client.get("/api/history").json()["series"] == {}


@pytest.mark.parametrize("path", ROUTES_THAT_CHANGE)
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], "é"])
def test_what_changes_something_always_needs_the_token(tmp_path: Path, path: str, token: str | None) -> None:
    headers = {} if token is None else {"x-freshet-token": token.encode("latin-1")}
    client = opened(tmp_path)
    answer = client.post(path, json={}, headers=headers)
    assert answer.status_code == 401
    assert "#token=" in answer.json()["error"]


@pytest.mark.parametrize("path", ROUTES_THAT_CHANGE)
def test_what_changes_something_is_no_get(tmp_path: Path, path: str) -> None:
    client = opened(tmp_path)
    assert client.get(path, headers={"x-freshet-token": TOKEN}).status_code == 405


def test_the_token_opens_what_changes_something(tmp_path: Path) -> None:
    body = {"user": "u", "product": "p", "kind": "CLICK"}
    client = opened(tmp_path)
    answer = client.post("/api/interact", json=body, headers={"x-freshet-token": TOKEN})
    assert answer.status_code == 503
    assert "ingest is not available" in answer.json()["error"]


def test_the_token_does_not_count_in_the_address(tmp_path: Path) -> None:
    client = opened(tmp_path)
    assert client.post(f"/api/replay?token={TOKEN}", json={"letters": ["0/0"]}).status_code == 401


@pytest.mark.parametrize("path", ["/api/state", "/api/history", "/api/live", "/api/picture?product=p", "/api/letters"])
def test_beyond_loopback_every_datum_needs_the_token(tmp_path: Path, path: str) -> None:
    client = opened(tmp_path, host="0.0.0.0", called="192.168.7.3:7072")
    assert client.get(path).status_code == 401


def test_beyond_loopback_the_empty_page_and_the_probe_are_open_and_the_token_opens_the_rest(tmp_path: Path) -> None:
    client = opened(tmp_path, host="192.168.7.3", called="192.168.7.3:7072")
    assert client.get("/").status_code == 200
    assert client.get("/static/api.js").status_code == 200
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/api/state", headers={"x-freshet-token": TOKEN}).status_code == 200


def test_listening_everywhere_a_name_is_refused_and_an_address_is_not(tmp_path: Path) -> None:
    headers = {"x-freshet-token": TOKEN}
    client = opened(tmp_path, host="0.0.0.0")
    assert client.get("/api/state", headers=headers | {"host": "192.168.7.3:7072"}).status_code == 200
    assert client.get("/api/state", headers=headers | {"host": "evil.example:7072"}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_behind_a_proxy_it_goes_by_that_name_and_looking_needs_the_token(tmp_path: Path, host: str) -> None:
    client = opened(tmp_path, host=host, called="console.shop.example", names=("Console.shop.example",))
    assert client.get("/healthz").status_code == 200
    assert client.get("/api/state").status_code == 401
    headers = {"x-freshet-token": TOKEN}
    assert client.get("/api/state", headers=headers).status_code == 200
    assert client.get("/api/state", headers=headers | {"host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"no json", "no JSON"),
        (b"[]", "no JSON object"),
        (b'{"user": 1, "product": "p", "kind": "CLICK"}', "user"),
        (b'{"user": "u", "product": "p", "kind": "RATING"}', "kind"),
        (b'{"user": "u", "product": "p", "kind": "CLICK", "weights": {"x": 1}}', "names 'x'"),
        (b'{"user": "u", "product": "p", "kind": "CLICK", "weights": {"text": "nan"}}', "finite"),
        (b'{"user": "' + b"u" * 70_000 + b'"}', "larger than 65,536 bytes"),
    ],
)
def test_a_bad_request_says_what_is_wrong(tmp_path: Path, body: bytes, text: str) -> None:
    client = opened(tmp_path)
    answer = client.post("/api/interact", content=body, headers={"x-freshet-token": TOKEN})
    assert answer.status_code == 400
    assert text in answer.json()["error"]


def test_no_file_outside_the_static_folder_is_served(tmp_path: Path) -> None:
    client = opened(tmp_path)
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd"):
        assert client.get(path).status_code == 404


def test_a_picture_that_the_catalogue_has_not_is_not_found(tmp_path: Path) -> None:
    client = opened(tmp_path)
    assert client.get("/api/picture?product=/etc/passwd").status_code == 404


def test_loopback_is_what_only_this_machine_reaches() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "127.9.9.9")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.4", "shop.example")] == [False] * 4
