"""The console's routes: the page, what the Stream shows (SSE), the Playground, dead letters. May import this room."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from freshet.console import letters
from freshet.console.guard import Guard
from freshet.console.playground import KINDS, MODALITIES, Playground, read_weights
from freshet.console.services import Services
from freshet.console.shoppers import Shoppers
from freshet.console.watch import Watch
from freshet.errors import DependencyDown, FreshetError, InvalidInput, NotFound
from freshet.settings import Settings

log = structlog.get_logger()
STATIC = Path(__file__).with_name("static")
BODY_BYTES = 64 * 1_024
_STATUS: dict[type[FreshetError], int] = {InvalidInput: 400, NotFound: 404, DependencyDown: 503}


class Console:
    """What the routes share. Building it connects nothing."""

    def __init__(self, settings: Settings, watching: bool) -> None:
        self.settings, self.watching = settings, watching
        self.services = Services(settings)
        self.watch = Watch(settings, self.services)
        self.playground = Playground(settings, self.services)
        self.shoppers = Shoppers(settings)

    async def health(self, _request: Request) -> Response:
        if self.watching and not self.watch.working:
            return PlainTextResponse("the console has stopped looking at the system\n", status_code=503)
        return PlainTextResponse("ok\n")

    async def live(self, _request: Request) -> Response:
        """Server-sent events: a snapshot each second."""

        async def events() -> AsyncIterator[str]:
            async for snapshot in self.watch.snapshots():
                yield f"data: {json.dumps(snapshot, allow_nan=False)}\n\n"

        return StreamingResponse(
            events(), media_type="text/event-stream", headers={"cache-control": "no-store", "x-accel-buffering": "no"}
        )

    async def state(self, _request: Request) -> Response:
        return _json(self.watch.snapshot)

    async def history(self, _request: Request) -> Response:
        return _json(self.watch.history.read())

    async def about(self, _request: Request) -> Response:
        return _json({"modalities": MODALITIES, "kinds": KINDS})

    async def latest_shoppers(self, _request: Request) -> Response:
        return _json({"shoppers": await self.shoppers.latest()})

    async def shopper(self, request: Request) -> Response:
        return _json(await self.shoppers.known(request.query_params.get("user", "")))

    async def recommend(self, request: Request) -> Response:
        weights = read_weights({name: value for name, value in request.query_params.items() if name != "user"})
        return _json(await self.playground.recommend(request.query_params.get("user", ""), weights))

    async def similar(self, request: Request) -> Response:
        weights = read_weights({name: value for name, value in request.query_params.items() if name != "product"})
        return _json(await self.playground.similar(request.query_params.get("product", ""), weights))

    async def search(self, request: Request) -> Response:
        """By words (GET), or with the file of a picture as the body (POST)."""
        picture = await _content(request, self.settings.images.content_bytes) if request.method == "POST" else b""
        return _json(await self.playground.search(request.query_params.get("text", ""), picture))

    async def picture(self, request: Request) -> Response:
        content, kind = await self.playground.picture(request.query_params.get("product", ""))
        return Response(content, media_type=kind, headers={"cache-control": "private, max-age=300"})

    async def interact(self, request: Request) -> Response:
        body = await _body(request)
        weights = read_weights(_mapping(body, "weights"))
        return _json(
            await self.playground.interact(_text(body, "user"), _text(body, "product"), _text(body, "kind"), weights)
        )

    async def available(self, request: Request) -> Response:
        body = await _body(request)
        if not isinstance(available := body.get("available"), bool):
            raise InvalidInput("available", "true or false is needed")
        weights = read_weights(_mapping(body, "weights"))
        return _json(
            await self.playground.set_available(_text(body, "user"), _text(body, "product"), available, weights)
        )

    async def list_letters(self, _request: Request) -> Response:
        return _json(await asyncio.to_thread(letters.listed, self.settings))

    async def show_letter(self, request: Request) -> Response:
        name = request.query_params.get("name", "")
        return _json(await asyncio.to_thread(letters.shown, self.settings, name))

    async def replay(self, request: Request) -> Response:
        names = (await _body(request)).get("letters")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InvalidInput("letters", "a list of names (partition/offset) is needed")
        return _json({"places": await asyncio.to_thread(letters.replayed, self.settings, names)})


def build(settings: Settings, *, watching: bool = True) -> Starlette:
    """The application. `settings.console.token` must be set. Without `watching` nothing is looked at by itself."""
    console = Console(settings, watching)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(console.watch.run()) if watching else None
        if task is not None:
            task.add_done_callback(_ended)
        try:
            yield
        finally:
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
            await console.playground.close()
            await console.shoppers.close()
            await console.services.close()

    return Starlette(
        routes=[
            Route("/", lambda _request: FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})),
            Route("/healthz", console.health),
            Mount("/static", StaticFiles(directory=STATIC), name="static"),
            Route("/api/live", console.live),
            Route("/api/state", console.state),
            Route("/api/history", console.history),
            Route("/api/about", console.about),
            Route("/api/shoppers", console.latest_shoppers),
            Route("/api/shopper", console.shopper),
            Route("/api/recommend", console.recommend),
            Route("/api/similar", console.similar),
            Route("/api/search", console.search, methods=["GET", "POST"]),
            Route("/api/picture", console.picture),
            Route("/api/interact", console.interact, methods=["POST"]),
            Route("/api/available", console.available, methods=["POST"]),
            Route("/api/letters", console.list_letters),
            Route("/api/letter", console.show_letter),
            Route("/api/replay", console.replay, methods=["POST"]),
        ],
        middleware=[
            Middleware(Guard, host=settings.console.host, token=settings.console.token, names=settings.console.names)
        ],
        exception_handlers={FreshetError: _refused},
        lifespan=lifespan,
    )


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the watch ended", exc_info=error)


async def _refused(_request: Request, error: Exception) -> Response:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    return JSONResponse({"error": str(error)}, status_code=status)


def _json(content: Any) -> Response:
    return JSONResponse(content, headers={"cache-control": "no-store"})


async def _content(request: Request, most_bytes: int) -> bytes:
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > most_bytes:
            raise InvalidInput("", f"the request is larger than {most_bytes:,} bytes")
    return bytes(content)


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await _content(request, BODY_BYTES))
    except ValueError as error:
        raise InvalidInput("", f"the request is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise InvalidInput("", "the request is no JSON object")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    if not isinstance(value := body.get(name), str):
        raise InvalidInput(name, "a text is needed")
    return value


def _mapping(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name, {})
    if not isinstance(value, dict):
        raise InvalidInput(name, "an object is needed")
    return value
