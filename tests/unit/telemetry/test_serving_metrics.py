"""Metrics over HTTP: off by default, and a port that is taken is said in one line."""

from __future__ import annotations

import socket

import pytest

from freshet.errors import ConfigurationError
from freshet.settings import Settings
from freshet.telemetry import serve_metrics


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
