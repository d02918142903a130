"""A real Triton on this machine, out of the PyPI package nvidia-pytriton. May import freshet.errors.

It has an environment of its own, since under numpy 2 the Python backend's stub corrupts tensors without an error.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tritonclient.grpc as client
import xxhash
from tritonclient.utils import InferenceServerException

from freshet.errors import DependencyDown, StackError
from freshet.local.component import Component
from freshet.local.parts import part
from freshet.local.ports import choose
from freshet.local.single import running

USUAL_PORT = 8001

_ASK = """
import json, sys, sysconfig
print(json.dumps({"version": "%d.%d" % sys.version_info[:2], "library_folder": sysconfig.get_config_var("LIBDIR"),
    "multiarch": sysconfig.get_config_var("MULTIARCH") or "", "packages": sysconfig.get_path("purelib")}))
"""


@dataclass(frozen=True)
class Installation:
    """Where Triton's environment has its pieces."""

    programs: Path
    packages: Path
    version: str
    library_folders: tuple[Path, ...]

    @property
    def server(self) -> Path:
        return self.packages / "pytriton" / "tritonserver"


def triton_component(folder: Path, repository: Path, port: int, probe: Callable[[], str] | None = None) -> Component:
    """The server of the model repository `repository` (a folder of models), on gRPC alone.

    `probe` should be a canary inference: after its stub is killed, Triton still says ready. Raises StackError.
    """
    found = installation()
    folder = folder.absolute()
    health = ServerHealth(f"127.0.0.1:{port}")
    backends = folder / "backends"
    shared_memory = f"freshet-{xxhash.xxh64_hexdigest(os.fsencode(folder))}-"

    def prepare() -> None:
        if not repository.is_dir():
            raise StackError(
                f"there is no model repository at {repository}: run `freshet train` or `freshet demo` first"
            )
        _make_backend(found, backends / "python")
        # A server that was killed leaves its shared memory behind.
        for region in Path("/dev/shm").glob(f"{shared_memory}*"):
            region.unlink(missing_ok=True)

    return Component(
        name="triton",
        command=[
            str(found.server / "bin" / "tritonserver"),
            f"--model-repository={repository.absolute()}",
            f"--backend-directory={backends}",
            # Explicit control, so that a model whose stub died can be loaded again over gRPC.
            f"--backend-config=python,shm-region-prefix-name={shared_memory}",
            "--model-control-mode=explicit",
            "--load-model=*",
            "--allow-http=false",
            "--allow-metrics=false",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={port}",
            "--exit-timeout-secs=5",
            "--disable-auto-complete-config",
        ],
        ports={"grpc": port},
        probe=probe or health.check,
        close=health.close,
        prepare=prepare,
        environment={
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, found.library_folders)),
            # The stub's Python ignores PYTHONPATH (it is isolated) and takes its prefix from the python3 first on PATH.
            "PATH": os.pathsep.join([str(found.programs), os.environ.get("PATH", os.defpath)]),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
        folder=folder,
        deadline_seconds=90.0,
        patience_seconds=10.0,
        stop_seconds=10.0,
    )


class ServerHealth:
    """Asks Triton whether it and all its models are ready. Does not notice a dead stub: a canary does."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._client: client.InferenceServerClient | None = None

    def check(self) -> str:
        """Raises DependencyDown when the server does not answer within two seconds, or a model is not ready."""
        if self._client is None:
            self._client = client.InferenceServerClient(self._target)
        try:
            if not self._client.is_server_ready(client_timeout=2.0):
                raise DependencyDown("triton", "not ready yet")
            index = self._client.get_model_repository_index(client_timeout=2.0).models
        except InferenceServerException as error:
            raise DependencyDown("triton", str(error.message())) from error
        missing = [f"{model.name} ({model.reason or model.state})" for model in index if model.state != "READY"]
        if missing:
            raise DependencyDown("triton", f"not ready: {', '.join(missing)}")
        return f"{len(index)} models"

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


@contextmanager
def temporary_triton(repository: Path) -> Iterator[str]:
    """A Triton of one's own over a model repository, as its triton:// URL; stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="freshet-triton-"))
    component = triton_component(folder, repository, choose(0))
    try:
        with running(component, folder / "triton.log", stop_seconds=3.0):
            yield f"triton://127.0.0.1:{component.port}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def installation() -> Installation:
    """Triton's environment. Raises StackError when it is missing or has no stub for its Python."""
    python = part("triton", "bin", "python")
    asked = subprocess.run([str(python), "-c", _ASK], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise StackError(f"Triton's environment does not run ({asked.stderr.strip()[-300:]}): run `make setup`")
    said: dict[str, str] = json.loads(asked.stdout)
    packages, version = Path(said["packages"]), said["version"]
    if not (packages / "pytriton" / "tritonserver" / "python_backend_stubs" / version).is_dir():
        raise StackError(f"nvidia-pytriton has no stub for Python {version} in {packages}: run `make setup`")
    library = f"libpython{version}.so.1.0"
    places = [
        Path(said["library_folder"]),
        Path(said["library_folder"]) / said["multiarch"],
        Path("/usr/lib") / said["multiarch"],
    ]
    with_library = [place for place in places if (place / library).exists()]
    if not with_library:
        raise StackError(
            f"Triton needs {library}, which this Python does not bring: apt-get install libpython{version}"
        )
    return Installation(python.parent, packages, version, (packages / "nvidia_pytriton.libs", with_library[0]))


def _make_backend(found: Installation, folder: Path) -> None:
    """Put the Python backend and the stub of the right Python version into one folder, as the server wants it."""
    stub = found.server / "python_backend_stubs" / found.version / "triton_python_backend_stub"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(found.server / "backends" / "python", folder)
    shutil.copy2(stub, folder / stub.name)
