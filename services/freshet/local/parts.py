"""Where `make setup` put the programs that the stack runs. May import freshet.errors."""

from __future__ import annotations

import os
from pathlib import Path

from freshet.errors import StackError


def part(*names: str) -> Path:
    """The folder of one installed part, absolute, e.g. part("kafka", "libs"). Raises StackError when it is nowhere.

    Looked for under $FRESHET_PARTS_DIR when that is set, else in .freshet here and in the checkout of this code.
    """
    looked = []
    for root in _roots():
        folder = root.joinpath(*names)
        if folder.exists():
            return folder.absolute()
        looked.append(str(folder))
    raise StackError(f"{'/'.join(names)} is not installed (looked for {', '.join(looked)}): run `make setup`")


def parts_root() -> Path:
    """Where parts are, or would be put."""
    roots = _roots()
    return next((root for root in roots if root.is_dir()), roots[0]).absolute()


def _roots() -> list[Path]:
    if told := os.environ.get("FRESHET_PARTS_DIR"):
        return [Path(told)]
    return [Path(".freshet"), Path(__file__).resolve().parents[3] / ".freshet"]
