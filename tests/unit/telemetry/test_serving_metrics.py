"""Metrics and health over HTTP: off by default, and a port that is taken is said in one line."""

from __future__ import annotations

import asyncio
import socket
import urllib.error
import urllib.request

import pytest

from freshet.errors import ConfigurationError
from freshet.local.ports import choose
from freshet.settings import Settings
from freshet.telemetry import HUNG_SECONDS, Heartbeat, serve_metrics


def test_no_port_is_opened_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freshet.telemetry.start_http_server", lambda *_, **__: pytest.fail("a port was opened"))
    serve_metrics(Settings())


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"cannot serve metrics on 127\.0\.0\.1:{port}"):
            serve_metrics(Settings(metrics_port=port - 1), offset=1)


def test_health_tells_of_an_event_loop_that_hangs_and_metrics_are_answered_all_the_same() -> None:
    now, port = [100.0], choose(0)
    heartbeat = Heartbeat(lambda: now[0])
    serve_metrics(Settings(metrics_port=port), heartbeat=heartbeat)
    assert asked(port, "healthz") == (200, "ok\n")
    now[0] += HUNG_SECONDS
    assert asked(port, "healthz") == (503, "the event loop has not come round for 30 s\n")
    status, text = asked(port, "metrics")
    assert status == 200
    assert "process_cpu_seconds_total" in text
    heartbeat.tick()
    assert asked(port, "healthz")[0] == 200


def test_a_process_without_a_loop_is_healthy_while_it_answers() -> None:
    port = choose(0)
    serve_metrics(Settings(metrics_port=port))
    assert asked(port, "healthz")[0] == 200


async def test_a_loop_that_comes_round_beats() -> None:
    now = [0.0]
    heartbeat = Heartbeat(lambda: now[0])
    now[0] = 99.0
    beating = asyncio.create_task(heartbeat.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert heartbeat.silent_seconds == 0.0
    beating.cancel()


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
