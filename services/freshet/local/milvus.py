"""A real Milvus standalone on this machine, with its embedded etcd. May import freshet.errors.

Runs the server out of the PyPI package `milvus` directly: the package's own launcher leaves its child behind when
killed. All its ports but etcd's listen on every interface, and it has no setting for that: see docs/operations.md.
"""

from __future__ import annotations

import fcntl
import importlib.util
import lzma
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
from pymilvus import grpc_gen

from freshet.errors import DependencyDown, StackError
from freshet.local.channel import ProbeChannel
from freshet.local.component import Component
from freshet.local.parts import parts_root
from freshet.local.ports import choose
from freshet.local.single import running

USUAL_PORTS: Mapping[str, int] = {
    "proxy": 19530,
    "metrics": 9091,
    "proxy_internal": 19529,
    "etcd": 2379,
    "etcd_peer": 2380,
    "root_coord": 53100,
    "query_coord": 19531,
    "query_node": 21123,
    "index_coord": 22930,
    "index_node": 21121,
    "data_coord": 13333,
    "data_node": 21124,
}
"""The first is the one that clients use."""

SESSION_SECONDS = 10
"""How long Milvus keeps the place of a part that died. Its own 30 makes a restart after a crash as long."""


def milvus_component(folder: Path, ports: Mapping[str, int]) -> Component:
    """The server that keeps everything in `folder`. `ports` has the keys of USUAL_PORTS. Raises StackError."""
    folder = folder.absolute()
    package = find_package()
    programs = parts_root() / "milvus"
    health = MilvusHealth(f"127.0.0.1:{ports['proxy']}")

    def prepare() -> None:
        unpack(package, programs)
        configs = folder / "configs"
        for made in (configs, folder / "data", folder / "run"):
            made.mkdir(parents=True, exist_ok=True)
        template = (package / "data" / "config.yaml.template").read_text(encoding="utf-8")
        (configs / "milvus.yaml").write_text(_configuration(template, folder, ports), encoding="utf-8")
        (configs / "etcd.yaml").write_text(_etcd_configuration(ports), encoding="utf-8")
        shutil.copyfile(package / "data" / "glog.conf", configs / "glog.conf")

    return Component(
        name="milvus",
        command=[str(programs / "milvus"), "run", "standalone"],
        ports=dict(ports),
        probe=health.check,
        close=health.close,
        prepare=prepare,
        environment={
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(ports["metrics"]),
            "MILVUS_RUN_DIR": str(folder / "run"),
            "LD_LIBRARY_PATH": str(programs),
            "GOMEMLIMIT": "1GiB",
        },
        folder=folder,
        deadline_seconds=120.0,
        patience_seconds=60.0,
        stop_seconds=10.0,
    )


class MilvusHealth:
    """Asks Milvus for its collections."""

    def __init__(self, target: str) -> None:
        self._channel = ProbeChannel(target)

    def check(self) -> str:
        """Raises DependencyDown when Milvus does not list its collections within two seconds."""
        stub = grpc_gen.milvus_pb2_grpc.MilvusServiceStub(self._channel.get())
        try:
            answer = stub.ShowCollections(grpc_gen.milvus_pb2.ShowCollectionsRequest(), timeout=2.0)
        except grpc.RpcError as error:
            raise DependencyDown("milvus", str(error.details())) from error
        if answer.status.error_code or answer.status.code:
            raise DependencyDown("milvus", answer.status.reason)
        number = len(answer.collection_names)
        return f"{number} {'collection' if number == 1 else 'collections'}"

    def close(self) -> None:
        self._channel.close()


@contextmanager
def temporary_milvus(data_dir: Path | None = None) -> Iterator[str]:
    """A Milvus of one's own, as its milvus:// URL; its data is deleted at the end unless `data_dir` was given."""
    folder = data_dir or Path(tempfile.mkdtemp(prefix="freshet-milvus-"))
    component = milvus_component(folder, choose_ports(anywhere=True))
    try:
        with running(component, folder / "milvus.log", stop_seconds=None if data_dir else 0.0):
            yield f"milvus://127.0.0.1:{component.port}"
    finally:
        if data_dir is None:
            shutil.rmtree(folder, ignore_errors=True)


def choose_ports(*, anywhere: bool = False) -> dict[str, int]:
    """The usual port for each of Milvus's listeners where it is free, another where it is not."""
    ports: dict[str, int] = {}
    for name, usual in USUAL_PORTS.items():
        ports[name] = choose(0 if anywhere else usual, set(ports.values()))
    return ports


def install() -> None:
    """What `make setup` does, so that the first start is quick."""
    unpack(find_package(), parts_root() / "milvus")


def unpack(package: Path, folder: Path) -> None:
    """Write the package's programs into `folder`, once (about 15 s); several processes may ask at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for packed in sorted((package / "data" / "bin").glob("*.lzma")):
            program = folder / packed.stem
            if program.exists() and program.stat().st_mtime >= packed.stat().st_mtime:
                continue
            unfinished = program.with_name(f".{program.name}.part")
            with lzma.open(packed) as source, unfinished.open("wb") as target:
                shutil.copyfileobj(source, target, 2**20)
            unfinished.chmod(0o755)
            unfinished.replace(program)


def find_package() -> Path:
    spec = importlib.util.find_spec("milvus")
    if spec is None or spec.origin is None:
        raise StackError("the package `milvus` is not installed: run `make setup` (or pip install 'freshet[local]')")
    return Path(spec.origin).parent


def _configuration(template: str, folder: Path, ports: Mapping[str, int]) -> str:
    """The package's template with our folders and ports: addresses on loopback, logs to the standard output."""
    values = {f"{name}_port": str(port) for name, port in ports.items()} | {
        "etcd_log_level": "error",
        "etcd_log_path": "stdout",
        "etcd_data_dir": str(folder / "data" / "etcd"),
        "local_storage_dir": str(folder / "data"),
        "rocksmq_data_dir": str(folder / "data" / "rocksmq"),
        "system_log_path": "",
    }

    def value(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        if name not in values and default is None:
            raise StackError(f"this version of the package `milvus` asks for {name}, which Freshet does not know")
        return values.get(name, default)

    text = re.sub(r"\{\{\s*(\w+)(?:\(\w+\))?(?::\s*(.*?))?\s*\}\}", value, template)
    for pattern, line in (
        (r"^etcd:$", f"etcd:\n  config:\n    path: {folder / 'configs' / 'etcd.yaml'}"),
        (r"^  ip:.*$", "  ip: 127.0.0.1"),
        (r"^  level: info.*$", "  level: warn"),
        (r"^    ttl: 30 #.*$", f"    ttl: {SESSION_SECONDS}"),
    ):
        text, found = re.subn(pattern, line, text, flags=re.MULTILINE)
        if not found:
            raise StackError(f"this version of the package `milvus` has no line {pattern!r} in its template")
    return text


def _etcd_configuration(ports: Mapping[str, int]) -> str:
    client = f"http://127.0.0.1:{ports['etcd']}"
    peer = f"http://127.0.0.1:{ports['etcd_peer']}"
    return (
        f"name: default\nlisten-client-urls: {client}\nadvertise-client-urls: {client}\n"
        f"listen-peer-urls: {peer}\ninitial-advertise-peer-urls: {peer}\ninitial-cluster: default={peer}\n"
        # A vector index can be made again from the log: no need to wait for the disk at every change of its metadata.
        "unsafe-no-fsync: true\n"
    )
