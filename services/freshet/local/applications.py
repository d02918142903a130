"""Freshet's own processes as components: workers and gRPC services. May import freshet.errors and freshet.settings."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient
from grpc_health.v1 import health_pb2, health_pb2_grpc

from freshet.errors import DependencyDown
from freshet.local.component import Component

WORKERS = ("catalog", "index", "profiles")

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONUNBUFFERED": "1",
}


def worker_component(name: str, environment: Mapping[str, str], groups: GroupHealth, folder: Path) -> Component:
    """`freshet worker NAME`, healthy when its consumer group has partitions assigned."""
    return Component(
        name=name,
        command=[*freshet_program(), "worker", name],
        ports={},
        prepare=lambda: groups.begin(name),
        probe=lambda: groups.check(name),
        environment={**_ONE_THREAD, **environment},
        folder=folder,
        deadline_seconds=90.0,
        patience_seconds=90.0,
        probe_every_seconds=3.0,
        stop_seconds=20.0,
    )


def service_component(name: str, port: int, environment: Mapping[str, str], folder: Path) -> Component:
    """`freshet serve NAME`, healthy when it says so by grpc.health.v1."""
    health = ServiceHealth(name, f"127.0.0.1:{port}")
    return Component(
        name=name,
        command=[*freshet_program(), "serve", name],
        ports={"grpc": port},
        probe=health.check,
        close=health.close,
        environment={**_ONE_THREAD, **environment},
        folder=folder,
        deadline_seconds=90.0,
        patience_seconds=30.0,
        stop_seconds=15.0,
    )


def freshet_program() -> list[str]:
    """The `freshet` command of this environment."""
    script = Path(sys.executable).with_name("freshet")
    return [str(script)] if script.exists() else [sys.executable, "-c", "from freshet.cli import main; main()"]


class GroupHealth:
    """Asks the broker whether a worker's consumer group is at work. One client for all workers.

    A killed worker's membership stays, stable and assigned, until its session ends: so members that were there before
    the present process began do not count.
    """

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None
        self._earlier: dict[str, set[str]] = {}

    def begin(self, worker: str) -> None:
        """Call before every start of this worker's process."""
        with contextlib.suppress(DependencyDown):
            self._earlier[worker] = {member.member_id for member in self._describe(worker).members}

    def check(self, worker: str) -> str:
        """Raises DependencyDown while the group is not stable, or this worker's process has no partitions in it."""
        described = self._describe(worker)
        if described.state != ConsumerGroupState.STABLE:
            raise DependencyDown(worker, f"its consumer group is {described.state.name.lower().replace('_', ' ')}")
        earlier = self._earlier.get(worker, set())
        members = [member for member in described.members if member.member_id not in earlier and member.assignment]
        partitions = sum(len(member.assignment.topic_partitions) for member in members)
        if not partitions:
            raise DependencyDown(worker, "no partitions are assigned to it yet")
        return f"{partitions} partitions"

    def _describe(self, worker: str) -> Any:
        with self._lock:
            if self._admin is None:
                self._admin = AdminClient({"bootstrap.servers": self._servers, "log_level": 0})
            admin = self._admin
        group = f"freshet-{worker}"
        try:
            return admin.describe_consumer_groups([group], request_timeout=3.0)[group].result(timeout=5.0)
        except (KafkaException, TimeoutError) as error:
            raise DependencyDown("kafka", f"cannot describe the group {group}: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._admin = None


class ServiceHealth:
    """Asks a gRPC service for its health, over one channel."""

    def __init__(self, name: str, target: str) -> None:
        self._name = name
        self._target = target
        self._channel: grpc.Channel | None = None

    def check(self) -> str:
        """Raises DependencyDown while it is not serving."""
        if self._channel is None:
            self._channel = grpc.insecure_channel(
                self._target,
                options=[("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)],
            )
        try:
            answer = health_pb2_grpc.HealthStub(self._channel).Check(health_pb2.HealthCheckRequest(), timeout=2.0)
        except grpc.RpcError as error:
            raise DependencyDown(self._name, str(error.details())) from error
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise DependencyDown(self._name, health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status).lower())
        return "serving"

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
