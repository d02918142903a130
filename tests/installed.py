"""What must be installed for a test. Without it the test is skipped; in CI, where set-up installs it, it fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import pytest

from freshet.errors import StackError


def _kafka() -> None:
    from freshet.local.kafka import java_program
    from freshet.local.parts import part

    java_program()
    part("kafka", "libs")


def _milvus() -> None:
    from freshet.local.milvus import find_package

    find_package()


def _triton() -> None:
    from freshet.local.triton import installation

    installation()


_LOOKS: Mapping[str, Callable[[], None]] = {"kafka": _kafka, "milvus": _milvus, "triton": _triton}


def require(*parts: str) -> None:
    """Of `kafka`, `milvus` and `triton` all that the test needs; where none is named, the whole stack."""
    for name in parts or tuple(_LOOKS):
        try:
            _LOOKS[name]()
        except StackError as error:
            if os.environ.get("CI", "").lower() in {"1", "true"}:
                pytest.fail(f"{name} must run here: {error}")
            pytest.skip(f"{name} does not run here: {error}")
