"""docs/grpcurl.md, typed as it stands there: every command runs, and its answer has the lines that the page shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from freshet.local.stack import LocalStack

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```sh\n(?P<typed>.*?)```\n```text\n(?P<shown>.*?)```", re.DOTALL)


def test_the_pages_commands_run_and_answer_what_it_shows(stack: LocalStack) -> None:
    path = f"{ROOT / '.freshet' / 'tools'}{os.pathsep}{os.environ.get('PATH', '')}"
    if shutil.which("grpcurl", path=path) is None:
        pytest.skip("no grpcurl here (`make tools` builds it with Go)")
    page = (ROOT / "docs" / "grpcurl.md").read_text()
    blocks = [(found["typed"], found["shown"].splitlines()) for found in BLOCK.finditer(page)]
    assert len(blocks) == page.count("```sh")
    recommend, ingest = stack.settings.recommend, stack.settings.ingest
    script = "".join(f"{typed}echo '== end of {i}'\n" for i, (typed, _) in enumerate(blocks))
    script = script.replace("127.0.0.1:7070", f"{recommend.host}:{recommend.port}")
    script = script.replace("127.0.0.1:7071", f"{ingest.host}:{ingest.port}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rest = done.stdout
    for i, (typed, shown) in enumerate(blocks):
        answer, found, rest = rest.partition(f"== end of {i}\n")
        assert found, f"nothing came of: {typed}"
        missing = [line for line in shown if line not in answer]
        assert not missing, f"{typed}\nanswers\n{answer}"
