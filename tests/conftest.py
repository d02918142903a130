"""The real parts that tests share: started when the first test asks, one of each per session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from freshet.errors import StackError


def unavailable(part: str, error: StackError) -> None:
    """Skip where a part cannot run; in CI, where set-up should have installed it, fail instead."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"{part} must run here: {error}")
    pytest.skip(f"{part} does not run here: {error}")


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """A real broker, as its kafka:// URL. Topics are not created by themselves: make some with names of your own."""
    from freshet.local.kafka import java_program, temporary_broker
    from freshet.local.parts import part

    try:
        java_program()
        part("kafka", "libs")
    except StackError as error:
        unavailable("Kafka", error)
    with temporary_broker() as url:
        yield url


@pytest.fixture(scope="session")
def milvus() -> Iterator[str]:
    """A real Milvus, as its milvus:// URL."""
    from freshet.local.milvus import find_package, temporary_milvus

    try:
        find_package()
    except StackError as error:
        unavailable("Milvus", error)
    with temporary_milvus() as url:
        yield url
