"""The compose file: whole, without a password of its own, and with settings that Freshet has."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from freshet.settings import Settings

DEPLOY = Path(__file__).parents[3] / "deploy"
TEXT = (DEPLOY / "compose" / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROCESSES = ("catalog", "index", "profiles", "recommend", "ingest")
OURS = (*PROCESSES, "console")


def test_it_has_every_part() -> None:
    assert set(SERVICES) == {"kafka", "postgres", "milvus", "triton", *OURS, "prometheus", "grafana"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_a_fixed_image_a_health_check_and_no_open_port(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    if "build" not in service and name not in OURS:
        assert re.search(r":v?\d", service["image"]), "an image without a version is another one tomorrow"
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")
    assert not service.get("privileged")
    for other, wanted in service.get("depends_on", {}).items():
        assert other in SERVICES
        assert wanted == {"condition": "service_healthy"}
    for volume in service.get("volumes", ()):
        source = volume.split(":")[0]
        assert source.startswith("${") or source in COMPOSE["volumes"] or (DEPLOY / "compose" / source).exists()


@pytest.mark.parametrize("name", OURS)
def test_an_image_of_ours_is_built_and_not_looked_for_in_a_registry(name: str) -> None:
    build = SERVICES[name]["build"]
    assert (DEPLOY / "compose" / build["context"] / build["dockerfile"]).exists()


@pytest.mark.parametrize("name", OURS)
def test_our_processes_run_as_nobody_on_a_file_system_that_they_cannot_write(name: str) -> None:
    service = SERVICES[name]
    assert (service["user"], service["read_only"], service["cap_drop"]) == ("10001:10001", True, ["ALL"])
    known = {f"FRESHET_{field.upper()}" for field in Settings.model_fields}
    assert {name.split("__")[0] for name in service["environment"]} <= known


def test_triton_writes_nothing_but_its_scratch() -> None:
    triton = SERVICES["triton"]
    assert (triton["user"], triton["read_only"], triton["cap_drop"]) == ("1000:1000", True, ["ALL"])
    assert triton["tmpfs"] == ["/tmp"]


def test_nothing_secret_has_a_default() -> None:
    for line in TEXT.splitlines():
        if "PASSWORD" in line or "TOKEN" in line:
            assert re.search(r"\$\{\w*(PASSWORD|TOKEN):\?", line), line
    example = (DEPLOY / "compose" / ".env.example").read_text()
    given = dict(line.split("=", 1) for line in example.splitlines() if line and not line.startswith("#"))
    assert set(given) == set(re.findall(r"\$\{(\w+):\?", TEXT))
    assert set(given.values()) == {""}


def test_prometheus_scrapes_each_of_our_processes() -> None:
    configuration = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text())
    targets = [
        target for job in configuration["scrape_configs"] for s in job["static_configs"] for target in s["targets"]
    ]
    assert {f"{name}:9100" for name in PROCESSES} < set(targets)
    assert {target.split(":")[0] for target in targets} <= set(SERVICES)


def test_the_console_reads_the_metrics_of_processes_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SERVICES["console"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.console.metrics == {name: f"{name}:9100" for name in PROCESSES if name != "ingest"}
    assert (settings.recommend.host, settings.ingest.host) == ("recommend", "ingest")


@pytest.mark.parametrize("kind", ["worker", "recommend"])
def test_an_image_is_slim_and_runs_as_nobody(kind: str) -> None:
    lines = (DEPLOY / "images" / f"Containerfile.{kind}").read_text().splitlines()
    last = lines[max(i for i, line in enumerate(lines) if line.startswith("FROM")) :]
    assert "USER 10001:10001" in last
    assert not any(word in line for line in last for word in ("pip install", "apt-get", "COPY . "))
    assert not any(extra in line for line in lines for extra in ("[train", ",train", "[local", "[dev"))
    variables = set(re.findall(r"(FRESHET_\w+)=", "\n".join(lines)))
    assert {name.removeprefix("FRESHET_").split("__")[0].lower() for name in variables} <= set(Settings.model_fields)


def test_what_is_installed_for_serving_brings_no_torch() -> None:
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    listed = [*project["dependencies"], *project["optional-dependencies"]["telemetry"]]
    wanted: list[tuple[str, frozenset[str]]] = []
    seen: set[tuple[str, frozenset[str]]] = set()

    def want(lines: Iterable[str], extras: frozenset[str] = frozenset()) -> None:
        for requirement in map(Requirement, lines):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                wanted.append((requirement.name.lower(), frozenset(requirement.extras)))

    want(listed)
    while wanted:
        name, extras = wanted.pop()
        if (name, extras) not in seen:
            seen.add((name, extras))
            want(distribution(name).requires or (), extras)
    names = {name for name, _ in seen}
    assert {"numpy", "opentelemetry-sdk"} <= names
    assert not names & {"torch", "onnx", "onnxscript", "scipy", "milvus", "pytest"}
