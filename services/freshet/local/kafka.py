"""A real Kafka broker on this machine: one node, KRaft, loopback only. May import freshet.errors."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from freshet.errors import DependencyDown, StackError
from freshet.local.component import Component
from freshet.local.parts import part
from freshet.local.ports import choose
from freshet.local.single import running

HEAP_MEGABYTES = 512

_PROPERTIES = """\
# Written at every start of the local broker: edit freshet/local/kafka.py instead.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
log.cleaner.dedupe.buffer.size=33554432
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
message.max.bytes=33554432
"""


def kafka_component(folder: Path, port: int, controller_port: int, heap_megabytes: int = HEAP_MEGABYTES) -> Component:
    """The broker that keeps its log in `folder`/data. Raises StackError without Java or without Kafka's jars."""
    java = java_program()
    libraries = part("kafka", "libs")
    folder = folder.absolute()
    properties = folder / "server.properties"
    health = BrokerHealth(f"127.0.0.1:{port}")
    base = [java, "-cp", f"{libraries}/*", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]

    def prepare() -> None:
        data = folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        properties.write_text(_PROPERTIES.format(port=port, controller_port=controller_port, data=data))
        if not (data / "meta.properties").exists():
            _format(base, properties)

    return Component(
        name="kafka",
        command=[
            *base[:1],
            f"-Xms{min(256, heap_megabytes)}m",
            f"-Xmx{heap_megabytes}m",
            # C2 and G1's own threads kept one of two cores busy for minutes, and clicks waited.
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            *base[1:],
            "kafka.Kafka",
            str(properties),
        ],
        ports={"kafka": port, "controller": controller_port},
        probe=health.check,
        close=health.close,
        prepare=prepare,
        folder=folder,
        deadline_seconds=60.0,
        stop_seconds=20.0,
    )


class BrokerHealth:
    """Asks a broker for its metadata. Keeps one client, since each has threads of its own."""

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self._admin: AdminClient | None = None

    def check(self) -> str:
        """Raises DependencyDown when the broker does not answer within two seconds."""
        if self._admin is None:
            self._admin = AdminClient(
                {
                    "bootstrap.servers": self._servers,
                    "log_level": 0,
                    "reconnect.backoff.ms": 50,
                    "reconnect.backoff.max.ms": 250,
                }
            )
        try:
            topics = self._admin.list_topics(timeout=2.0).topics
        except KafkaException as error:
            raise DependencyDown("kafka", str(error.args[0].str())) from error
        return f"{sum(not name.startswith('__') for name in topics)} topics"

    def close(self) -> None:
        self._admin = None


@contextmanager
def temporary_broker(data_dir: Path | None = None, *, port: int = 0) -> Iterator[str]:
    """A broker of one's own, as its kafka:// URL; stopped at the end, and its data deleted unless `data_dir` was given.

    Raises StackError when it does not answer in time; the text ends with the last lines of its log.
    """
    folder = data_dir or Path(tempfile.mkdtemp(prefix="freshet-kafka-"))
    port = choose(port)
    component = kafka_component(folder, port, choose(0, {port}))
    try:
        with running(component, folder / "kafka.log", stop_seconds=None if data_dir else 0.0):
            yield f"kafka://127.0.0.1:{port}"
    finally:
        if data_dir is None:
            shutil.rmtree(folder, ignore_errors=True)


def java_program() -> str:
    """Java 17 or newer. Raises StackError when there is none."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which(str(Path(home) / "bin" / "java")) if home else None
    found = found or shutil.which("java")
    if found is None:
        raise StackError("Kafka needs Java 17 or newer, and there is no `java` on PATH: run `make setup`")
    return found


def _format(base: list[str], properties: Path) -> None:
    cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
    done = subprocess.run(
        [*base, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise StackError(f"Kafka's storage could not be made ready: {(done.stderr or done.stdout).strip()[-800:]}")
