"""A store that cannot be read is an outage by name, whatever the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from freshet import bootstrap
from freshet.errors import DependencyDown
from freshet.recommend.reads import Reads
from freshet.settings import Settings


@pytest.mark.parametrize("embedded", [True, False])
async def test_a_database_that_needs_an_upgrade_is_down_and_says_what_to_do(tmp_path: Path, embedded: bool) -> None:
    """It can be another one than at the start: answers go on without it until somebody upgrades."""
    store = bootstrap.serving_store(Settings(database_url=f"sqlite:///{tmp_path}/none.db"))
    store.embedded = embedded
    reads = Reads(store, threads=1)
    with pytest.raises(DependencyDown, match="freshet db upgrade"):
        await reads.call(1.0, store.profile, "u1")
    reads.close()
