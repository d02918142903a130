"""A stack whose every process is watched: metrics on free ports, and a real Prometheus that scrapes them."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from collecting import Collector
from installed import require
from watching import Prometheus, Shop

from freshet.local.ports import choose, is_free
from freshet.local.stack import COMPONENTS, LocalStack

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """An OTLP receiver on loopback."""
    with closing(Collector()) as receiving:
        yield receiving


@pytest.fixture(scope="session")
def observed(small_model: Path, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """The whole line with metrics and traces."""
    require()
    first = next(base for base in iter(lambda: choose(0), None) if _room_after(base))
    overrides = {"model_dir": small_model, "metrics_port": first, "otlp_endpoint": collector.endpoint}
    with LocalStack(tmp_path_factory.mktemp("observed"), overrides, usual_ports=False) as running:
        yield running


@pytest.fixture(scope="session")
def shop(observed: LocalStack) -> Iterator[Shop]:
    """A shop in the observed stack: everything it published is applied, and one answer was given."""
    with closing(Shop(observed.settings)) as opened:
        yield opened


def _room_after(base: int) -> bool:
    return base + len(COMPONENTS) < 65_536 and all(is_free(base + i) for i in range(len(COMPONENTS)))


@pytest.fixture(scope="session")
def prometheus(observed: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A real Prometheus with the sample configuration, its targets moved to the observed stack's ports."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no Prometheus here (Debian: apt-get install prometheus)")
    folder = tmp_path_factory.mktemp("prometheus")
    configuration = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "1s"}
    shutil.copy(DEPLOY / "prometheus" / "freshet.rules.yml", folder)
    ports = {part.name: part.metrics_port for part in observed.status().components if part.metrics_port}
    for group in (group for job in configuration["scrape_configs"] for group in job["static_configs"]):
        group["targets"] = [f"127.0.0.1:{ports.pop(group['labels']['component'])}"]
    assert not ports, f"the sample configuration does not scrape {', '.join(ports)}"
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{choose(0)}"
    command = [
        program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}", "--log.level=warn",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            server = Prometheus(address)
            _wait_ready(server, process, folder / "log")
            yield server
        finally:
            process.terminate()
            process.wait(60)


def _wait_ready(server: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline and process.poll() is None:
        try:
            server.get("/api/v1/status/buildinfo")
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"Prometheus does not start: {log.read_text()[-2000:]}")
