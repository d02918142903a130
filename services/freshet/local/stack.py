"""The whole system on this machine: what it is made of, in which order it starts and stops. May import bootstrap."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from freshet import bootstrap
from freshet.adapters.kafka import ensure_topics
from freshet.errors import ConfigurationError, FreshetError, StackError
from freshet.local import kafka, milvus, triton
from freshet.local.applications import WORKERS, GroupHealth, console_component, service_component, worker_component
from freshet.local.component import Component
from freshet.local.ports import choose, choose_run
from freshet.local.processes import start_time
from freshet.local.state import (
    ComponentStatus,
    StackState,
    StackStatus,
    environment_of,
    read_status,
    remove_status,
    stop_leftovers,
    take_lock,
    write_status,
)
from freshet.local.supervisor import Supervised
from freshet.settings import Settings

INFRASTRUCTURE = ("kafka", "triton", "milvus")
SERVICES = ("recommend", "ingest")
COMPONENTS = (*INFRASTRUCTURE, *WORKERS, *SERVICES, "console")
"""In the order in which they start; they stop by _STOP_ORDER."""
_STOP_ORDER = ("console", *WORKERS, *SERVICES, "milvus", "triton", "kafka")
METRICS_PORT = 7080
"""Where Freshet's own processes serve metrics, one after the other, when the settings name no port."""


@dataclass(frozen=True)
class _Ports:
    kafka: int
    controller: int
    triton: int
    milvus: Mapping[str, int]
    recommend: int
    ingest: int
    console: int
    metrics: Mapping[str, int]


class LocalStack:
    """Kafka, Triton, Milvus, the workers and the services, on loopback.

    `settings_overrides` are settings as nested mappings, e.g. {"recommend": {"exact_scan_products": 0}}; everything
    else comes from the environment as usual. `components` chooses among COMPONENTS. With `usual_ports` False every
    port is a free one. Nothing is started by building one: use it as a context manager, or call `start` and `stop`.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        settings_overrides: Mapping[str, Any] | None = None,
        components: Collection[str] = COMPONENTS,
        *,
        usual_ports: bool = True,
        report: Callable[[str], None] | None = None,
    ) -> None:
        if unknown := sorted(set(components) - set(COMPONENTS)):
            raise ConfigurationError(f"no component is called {', '.join(unknown)}; there are {', '.join(COMPONENTS)}")
        self._overrides = dict(settings_overrides or {})
        given = Settings(**self._overrides)
        self.data_dir = (data_dir or given.data_dir).absolute()
        self._given = given
        self._names = tuple(name for name in COMPONENTS if name in set(components))
        self._usual_ports = usual_ports
        self._listener = report
        self._settings: Settings | None = None
        self._parts: dict[str, Supervised] = {}
        self._groups: GroupHealth | None = None
        self._lock: IO[str] | None = None
        self._state: StackState = "stopped"
        self._writing = threading.Lock()
        self._changes: dict[str, Any] = {}
        self._started = start_time(os.getpid()) or 0.0

    @property
    def settings(self) -> Settings:
        """Settings that reach this stack. Raises StackError before it is started."""
        if self._settings is None:
            raise StackError("the stack has not been started")
        return self._settings

    @property
    def names(self) -> tuple[str, ...]:
        return self._names

    def __enter__(self) -> LocalStack:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until it works. Raises StackError, with nothing left running."""
        self._lock = take_lock(self.data_dir)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything in order. May be called again, and after a failed start."""
        if self._lock is None:
            return
        self._set_state("stopping")
        for group in (("console", *WORKERS, *SERVICES), ("milvus", "triton"), ("kafka",)):
            stopping = [
                threading.Thread(target=self._parts[name].stop, name=f"stop-{name}")
                for name in _STOP_ORDER
                if name in group and name in self._parts
            ]
            for thread in stopping:
                thread.start()
            for thread in stopping:
                thread.join()
        self._report("stopped")
        self._state = "stopped"
        remove_status(self.data_dir)
        self._lock.close()
        self._lock = None

    def status(self) -> StackStatus:
        """Where every component stands now."""
        waiting = [ComponentStatus(name=name, state="waiting") for name in self._names if name not in self._parts]
        return StackStatus(
            data_dir=str(self.data_dir),
            state=self._state,
            supervisor_pid=os.getpid(),
            supervisor_started=self._started,
            settings=self._changes,
            components=(*(self._parts[name].status for name in self._names if name in self._parts), *waiting),
        )

    def pid(self, name: str) -> int:
        """The process id of one component. Raises StackError while it has none."""
        pid = self._part(name).pid
        if not pid:
            raise StackError(f"{name} has no process now")
        return pid

    def restarts(self, name: str) -> int:
        return self._part(name).restarts

    def kill(self, name: str) -> None:
        """Kill a component as a crash would (its whole process group); it is started again with backoff."""
        self._part(name).kill()

    def stop_component(self, name: str) -> None:
        """End one component and leave it so, until `start_component`."""
        self._part(name).stop()

    def start_component(self, name: str) -> None:
        """Start one that was stopped, and wait until it works."""
        self._part(name).start()
        self.wait_healthy(name)

    def wait_healthy(self, *names: str, timeout_seconds: float = 120.0) -> None:
        """Wait until these components (default: all) pass their probes. Raises StackError, naming one that does not."""
        deadline = time.monotonic() + timeout_seconds
        for name in names or self._names:
            self._part(name).wait_healthy(max(0.0, deadline - time.monotonic()))

    def _start(self) -> None:
        left = read_status(self.data_dir)
        if left is not None and (ended := stop_leftovers(left)):
            self._report(f"ended what an earlier stack had left: {', '.join(ended)}")
        self._set_state("starting")
        ports = self._choose_ports()
        self._settings = self._settings_with(ports)
        infrastructure = [name for name in self._names if name in INFRASTRUCTURE]
        for name in infrastructure:
            self._add(name, ports)
        self._launch(infrastructure)
        applications = [name for name in self._names if name not in INFRASTRUCTURE]
        if applications:
            bootstrap.migrate(self.settings)
        if "kafka" in self._names:
            ensure_topics(self.settings.kafka_url, self.settings.topics)
        for name in applications:
            self._add(name, ports)
        self._launch(applications)
        self._set_state("ready")
        self._report("everything is healthy")

    def _launch(self, names: Collection[str]) -> None:
        for name in names:
            self._parts[name].start()
        for name in names:
            part = self._parts[name]
            part.wait_healthy(part.component.deadline_seconds + 30.0)

    def _add(self, name: str, ports: _Ports) -> None:
        self._parts[name] = Supervised(
            self._component(name, ports), self.data_dir / "logs" / f"{name}.log", self._write, self._report
        )

    def _component(self, name: str, ports: _Ports) -> Component:
        settings = self.settings
        match name:
            case "kafka":
                return kafka.kafka_component(self.data_dir / "kafka-data", ports.kafka, ports.controller)
            case "milvus":
                return milvus.milvus_component(self.data_dir / "milvus-data", ports.milvus)
            case "triton":
                model = self._model(settings)
                return triton.triton_component(
                    self.data_dir / "triton-run", model / "triton", ports.triton, lambda: _canary(settings)
                )
        environment = environment_of(settings)
        if name == "console":
            return console_component(settings.console, environment, self.data_dir)
        also = {"metrics": ports.metrics[name]}
        environment["FRESHET_METRICS_PORT"] = str(also["metrics"])
        if name in WORKERS:
            self._groups = self._groups or GroupHealth(settings.kafka_url.removeprefix("kafka://"))
            return worker_component(name, environment, self._groups, self.data_dir, also)
        port = ports.recommend if name == "recommend" else ports.ingest
        return service_component(name, {"grpc": port, **also}, environment, self.data_dir)

    @staticmethod
    def _model(settings: Settings) -> Path:
        """The model's folder. Raises StackError when there is none that this Freshet reads."""
        try:
            return bootstrap.model_manifest(settings).folder
        except FreshetError as error:
            raise StackError(
                f"{error}: run `freshet train` first, or `freshet demo`, which trains one on a shop of its own"
            ) from error

    def _choose_ports(self) -> _Ports:
        taken: set[int] = set()

        def one(usual: int) -> int:
            port = choose(usual if self._usual_ports else 0, taken)
            taken.add(port)
            return port

        return _Ports(
            kafka=one(9092),
            controller=one(9093),
            triton=one(triton.USUAL_PORT),
            milvus={name: one(usual) for name, usual in milvus.USUAL_PORTS.items()},
            recommend=one(self._given.recommend.port),
            ingest=one(self._given.ingest.port),
            console=one(self._given.console.port),
            metrics=self._choose_metrics_ports(taken),
        )

    def _choose_metrics_ports(self, taken: set[int]) -> dict[str, int]:
        """One for each process: those of `recommend`, which may be several, count on from its first."""
        usual = self._given.metrics_port or (METRICS_PORT if self._usual_ports else 0)
        chosen: dict[str, int] = {}
        for name in (*WORKERS, *SERVICES):
            count = self._given.recommend.workers if name == "recommend" else 1
            ports = choose_run(usual, count, taken)
            chosen[name] = ports[0]
            taken.update(ports)
            usual += count if usual else 0
        return chosen

    def _settings_with(self, ports: _Ports) -> Settings:
        """The given settings with this stack's addresses; those of components that it does not run are left alone."""
        changes: dict[str, Any] = {"data_dir": str(self.data_dir), "model_dir": str(self._given.model_dir.absolute())}
        if "kafka" in self._names:
            changes["kafka_url"] = f"kafka://127.0.0.1:{ports.kafka}"
        if "triton" in self._names:
            changes["encoder_url"] = f"triton://127.0.0.1:{ports.triton}"
        if "milvus" in self._names:
            changes["index_url"] = f"milvus://127.0.0.1:{ports.milvus['proxy']}"
        for service, port in (("recommend", ports.recommend), ("ingest", ports.ingest)):
            if service in self._names:
                changes[service] = {**self._overrides.get(service, {}), "port": port}
        if "console" in self._names:
            token = self._given.console.token or secrets.token_urlsafe(24)
            changes["console"] = {**self._overrides.get("console", {}), "port": ports.console, "token": token}
        if "database_url" not in self._given.model_fields_set:
            folder = self.data_dir / "data"
            folder.mkdir(parents=True, exist_ok=True)
            changes["database_url"] = f"sqlite:///{folder / 'freshet.db'}"
        self._changes = {**self._overrides, **changes}
        return Settings(**self._changes)

    def _part(self, name: str) -> Supervised:
        if name not in self._parts:
            raise StackError(f"this stack does not run {name!r}; it runs {', '.join(self._parts) or 'nothing yet'}")
        return self._parts[name]

    def _set_state(self, state: StackState) -> None:
        self._state = state
        self._write()

    def _write(self) -> None:
        with self._writing:
            if self._lock is not None:
                write_status(self.data_dir, self.status())

    def _report(self, line: str) -> None:
        log = self.data_dir / "logs" / "stack.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with self._writing, log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}\n")
        if self._listener is not None:
            self._listener(line)


def _canary(settings: Settings) -> str:
    bootstrap.encoders(settings).check_and_close()
    return "canary answers"
