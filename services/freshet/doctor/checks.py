"""What can be wrong with a deployment: each thing is asked itself. May import local, bootstrap, adapters.

A check returns what it found, or raises a FreshetError that says what is wrong; what to do about it stands beside it.
"""

from __future__ import annotations

import asyncio
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

from freshet import bootstrap
from freshet.adapters.kafka import bootstrap_servers, topic_faults
from freshet.errors import ConfigurationError, DependencyDown, FreshetError, StackError
from freshet.local.applications import GroupHealth, ServiceHealth
from freshet.local.kafka import BrokerHealth, java_program
from freshet.local.milvus import MilvusHealth, find_package
from freshet.local.parts import part, parts_root
from freshet.local.triton import ServerHealth, installation
from freshet.settings import Settings

LEAST_FREE_GIGABYTES = 5.0
JAVA = 17
Group: TypeAlias = Literal["this machine", "dependencies", "freshet"]
State: TypeAlias = Literal["good", "wrong", "not looked at"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at. `advice` is for when it is not as it should be; `needs` names another check."""

    group: Group
    name: str
    look: Callable[[], str]
    advice: str
    needs: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """`advice` is empty unless `state` is wrong. What needs another thing that is wrong was not looked at."""

    group: str
    name: str
    state: State
    found: str
    advice: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Every check's finding, one after the other, as soon as it is known."""
    good: set[str] = set()
    for check in checks(settings):
        if check.needs and check.needs not in good:
            yield Finding(check.group, check.name, "not looked at", f"{check.needs} must be well first", "")
            continue
        try:
            found = check.look()
        except FreshetError as error:
            yield Finding(check.group, check.name, "wrong", str(error), check.advice)
        else:
            good.add(check.name)
            yield Finding(check.group, check.name, "good", found, "")


def checks(settings: Settings) -> list[Check]:
    """In the order in which they stand on each other."""
    stack = "`freshet local up` starts one here; for another, set "
    recommend, ingest, console = settings.recommend, settings.ingest, settings.console
    return [
        Check("this machine", "Python", _python, "install Python 3.11, 3.12 or 3.13, and run `make setup` again"),
        Check("this machine", "Java", _java, "install Java 17 (Debian: apt-get install openjdk-17-jre-headless)"),
        Check("this machine", "parts", _parts, "run `make setup`; only the local stack needs them"),
        Check("this machine", "disk", lambda: _disk(settings), "free some space, or move FRESHET_DATA_DIR"),
        Check(
            "this machine",
            "model",
            lambda: _model(settings),
            "run `freshet train` or `freshet demo`, or set FRESHET_MODEL_DIR to a model's folder",
        ),
        Check("dependencies", "Kafka", lambda: _kafka(settings), f"{stack}FRESHET_KAFKA_URL"),
        Check(
            "dependencies",
            "topics",
            lambda: _topics(settings),
            "a worker creates what is missing when it starts; change settings with Kafka's kafka-configs",
            "Kafka",
        ),
        Check(
            "dependencies",
            "database",
            lambda: _database(settings),
            "run `freshet db upgrade`; FRESHET_DATABASE_URL names the database",
        ),
        Check("dependencies", "Triton", lambda: _triton(settings), f"{stack}FRESHET_ENCODER_URL"),
        Check(
            "dependencies",
            "canary",
            lambda: _canary(settings),
            "Triton must serve the model in FRESHET_MODEL_DIR: restart it with that model's triton folder",
            "Triton",
        ),
        Check("dependencies", "Milvus", lambda: _milvus(settings), f"{stack}FRESHET_INDEX_URL"),
        Check(
            "dependencies",
            "collection",
            lambda: _collection(settings),
            "start `freshet worker index`: it makes the collection and fills it from Kafka",
            "Milvus",
        ),
        *(
            Check("freshet", f"{name} worker", _worker(settings, name), f"start `freshet worker {name}`", "Kafka")
            for name in ("catalog", "index", "profiles")
        ),
        Check(
            "freshet",
            "recommend",
            lambda: _service("recommend", recommend.host, recommend.port),
            "start `freshet serve recommend`; while it reads the catalogue it is not serving yet",
        ),
        Check(
            "freshet",
            "ingest",
            lambda: _service("ingest", ingest.host, ingest.port),
            "start `freshet serve ingest`, or publish to Kafka directly",
        ),
        Check(
            "freshet",
            "addresses",
            lambda: _addresses({"recommend": recommend.host, "ingest": ingest.host, "console": console.host}),
            "nothing asks for a password yet: listen on 127.0.0.1, or put a guard in front",
        ),
    ]


def _python() -> str:
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        raise ConfigurationError(f"Python {platform.python_version()} is not one of 3.11 to 3.13")
    return platform.python_version()


def _java() -> str:
    try:
        told = subprocess.run([java_program(), "-version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise StackError(f"java does not answer: {error}") from error
    line = told.stderr.splitlines()[0] if told.stderr else ""
    version = line.split('"')[1] if '"' in line else ""
    if int(version.split(".")[0] or 0) < JAVA:
        raise StackError(f"java is {version or 'unknown'}, {JAVA} or newer is needed")
    return version


def _parts() -> str:
    part("kafka", "libs")
    installation()
    find_package()
    return f"Kafka, Triton and Milvus in {parts_root()}"


def _disk(settings: Settings) -> str:
    folder = settings.data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free < LEAST_FREE_GIGABYTES:
        raise ConfigurationError(
            f"{free:.1f} GB are free for {settings.data_dir}, {LEAST_FREE_GIGABYTES:.0f} are needed"
        )
    return f"{free:.0f} GB free"


def _model(settings: Settings) -> str:
    manifest = bootstrap.model_manifest(settings)
    return f"{manifest.model_version}, {manifest.layout.dimension} dimensions, format {manifest.format}"


def _kafka(settings: Settings) -> str:
    servers = bootstrap_servers(settings.kafka_url)
    return _asked("Kafka", servers, BrokerHealth(servers))


def _topics(settings: Settings) -> str:
    if faults := topic_faults(settings.kafka_url, settings.topics):
        raise ConfigurationError("; ".join(faults))
    return "all there, kept as they should be"


def _database(settings: Settings) -> str:
    with closing(bootstrap.serving_store(settings)) as store:
        applied = store.progress("catalog")
    return f"at the newest revision; {sum(at.next_offset for at in applied.values()):,} catalogue records applied"


def _triton(settings: Settings) -> str:
    address = urlsplit(settings.encoder_url).netloc
    return _asked("Triton", address, ServerHealth(address))


def _canary(settings: Settings) -> str:
    bootstrap.encoders(settings).check_and_close()
    return "golden inputs give golden vectors"


def _milvus(settings: Settings) -> str:
    if settings.index_url.startswith("memory"):
        return "memory: nothing outside this process"
    address = urlsplit(settings.index_url).netloc
    return _asked("Milvus", address, MilvusHealth(address))


def _collection(settings: Settings) -> str:
    async def count() -> int:
        index = bootstrap.vector_index(settings, bootstrap.model_manifest(settings).layout)
        try:
            return await index.count()
        finally:
            await index.close()

    return f"{asyncio.run(count()):,} products"


def _worker(settings: Settings, name: str) -> Callable[[], str]:
    return lambda: GroupHealth(bootstrap_servers(settings.kafka_url)).check(name)


def _service(name: str, host: str, port: int) -> str:
    host = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return _asked(name, f"{host}:{port}", ServiceHealth(name, f"{host}:{port}"))


class _Health(Protocol):
    def check(self) -> str: ...
    def close(self) -> None: ...


def _asked(name: str, address: str, health: _Health) -> str:
    with closing(health):
        try:
            return f"{address}: {health.check()}"
        except DependencyDown as error:
            # gRPC tells every address that it tried and how; the first words say it.
            raise StackError(
                f"{name} does not answer at {address} ({error.detail.partition('; last error')[0]})"
            ) from error


def _addresses(hosts: dict[str, str]) -> str:
    wide = [name for name, host in hosts.items() if host not in ("127.0.0.1", "localhost", "::1")]
    if wide:
        raise ConfigurationError(f"{', '.join(wide)} would listen beyond this machine")
    return "services listen on loopback"
