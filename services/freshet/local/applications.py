"""Freshet's own processes as components: workers and gRPC services. May import freshet.errors and freshet.settings."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import httpx
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError
from grpc_health.v1 import health_pb2, health_pb2_grpc

from freshet.errors import DependencyDown
from freshet.local.channel import ProbeChannel
from freshet.local.component import Component
from freshet.settings import ConsoleSettings

WORKERS = ("catalog", "index", "profiles")
GROUP_SECONDS = 5.0

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONUNBUFFERED": "1",
}


def worker_component(
    name: str, environment: Mapping[str, str], groups: GroupHealth, folder: Path, ports: Mapping[str, int]
) -> Component:
    """`freshet worker NAME`, healthy when its consumer group has partitions assigned."""
    return Component(
        name=name,
        command=[*freshet_program(), "worker", name],
        ports=ports,
        prepare=lambda: groups.begin(name),
        probe=lambda: groups.check(name),
        environment={**_ONE_THREAD, **environment},
        folder=folder,
        deadline_seconds=90.0,
        patience_seconds=90.0,
        probe_every_seconds=3.0,
        stop_seconds=20.0,
    )


def service_component(name: str, ports: Mapping[str, int], environment: Mapping[str, str], folder: Path) -> Component:
    """`freshet serve NAME`, healthy when it says so by grpc.health.v1 at `ports["grpc"]`."""
    health = ServiceHealth(name, f"127.0.0.1:{ports['grpc']}")
    return Component(
        name=name,
        command=[*freshet_program(), "serve", name],
        ports=ports,
        probe=health.check,
        close=health.close,
        environment={**_ONE_THREAD, **environment},
        folder=folder,
        deadline_seconds=90.0,
        patience_seconds=30.0,
        stop_seconds=15.0,
    )


def console_component(settings: ConsoleSettings, environment: Mapping[str, str], folder: Path) -> Component:
    """`freshet console`, healthy when its page's server answers."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)

    def check() -> str:
        try:
            answer = httpx.get(f"http://{host}:{settings.port}/healthz", timeout=2.0, trust_env=False)
        except httpx.HTTPError as error:
            raise DependencyDown("console", str(error) or type(error).__name__) from error
        if answer.status_code != httpx.codes.OK:
            raise DependencyDown("console", f"answers {answer.status_code}")
        return "serving"

    return Component(
        name="console",
        command=[*freshet_program(), "console"],
        ports={"http": settings.port},
        probe=check,
        environment={**_ONE_THREAD, **environment},
        folder=folder,
        deadline_seconds=60.0,
        patience_seconds=30.0,
        stop_seconds=5.0,
    )


def freshet_program() -> list[str]:
    """The `freshet` command of this environment."""
    script = Path(sys.executable).with_name("freshet")
    return [str(script)] if script.exists() else [sys.executable, "-c", "from freshet.cli import main; main()"]


class GroupHealth:
    """Asks the broker whether a worker's consumer group is at work, over a connection of its own each time.

    A killed worker's membership stays, stable and assigned, until its session ends: so members that were there before
    the present process began do not count. Not by librdkafka's administration client: one whose broker was killed while
    it asked about a group never ends.
    """

    def __init__(self, servers: str) -> None:
        self._servers = servers
        self._earlier: dict[str, set[str]] = {}

    def begin(self, worker: str) -> None:
        """Call before every start of this worker's process."""
        with contextlib.suppress(DependencyDown):
            self._earlier[worker] = set(self._describe(worker)[1])

    def check(self, worker: str) -> str:
        """Raises DependencyDown while the group is not stable, or this worker's process has no partitions in it."""
        state, members = self._describe(worker)
        if state != "Stable":
            raise DependencyDown(worker, f"its consumer group is {state.lower() or 'unknown'}")
        earlier = self._earlier.get(worker, set())
        partitions = sum(count for member, count in members.items() if member not in earlier)
        if not partitions:
            raise DependencyDown(worker, "no partitions are assigned to it yet")
        return f"{partitions} partitions"

    def _describe(self, worker: str) -> tuple[str, dict[str, int]]:
        """The group's state, and by member id how many partitions it has."""
        group = f"freshet-{worker}"
        try:
            described = asyncio.run(asyncio.wait_for(self._ask(group), GROUP_SECONDS))
        except (KafkaError, OSError, TimeoutError) as error:
            raise DependencyDown("kafka", f"cannot describe the group {group}: {error}") from error
        members = {member["member_id"]: _partitions(member["member_assignment"]) for member in described["members"]}
        return described["state"], members

    async def _ask(self, group: str) -> dict[str, Any]:
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self._servers, request_timeout_ms=int(GROUP_SECONDS * 1_000), client_id="freshet-local"
        )
        try:
            await admin.start()
            (answer,) = await admin.describe_consumer_groups([group])
        finally:
            await admin.close()
        described: dict[str, Any] = answer.to_object()["groups"][0]
        return described


def _partitions(assignment: bytes) -> int:
    if not assignment:
        return 0
    return sum(len(partitions) for _, partitions in ConsumerProtocolMemberAssignment.decode(assignment).assignment)


class ServiceHealth:
    """Asks a gRPC service for its health."""

    def __init__(self, name: str, target: str) -> None:
        self._name = name
        self._channel = ProbeChannel(target)

    def check(self) -> str:
        """Raises DependencyDown while it is not serving."""
        try:
            stub = health_pb2_grpc.HealthStub(self._channel.get())
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=2.0)
        except grpc.RpcError as error:
            raise DependencyDown(self._name, str(error.details())) from error
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise DependencyDown(self._name, health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status).lower())
        return "serving"

    def close(self) -> None:
        self._channel.close()
