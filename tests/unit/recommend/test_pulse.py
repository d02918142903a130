"""What a process looks up beside answering: which products anybody has chosen is read page by page, and is whole."""

from __future__ import annotations

import numpy as np
import pytest

from freshet.adapters import memory
from freshet.domain.representations import Layout, Modality, Segment
from freshet.ports import BehaviourRow
from freshet.recommend import pulse as module
from freshet.recommend.mirror import Mirror
from freshet.recommend.pulse import Pulse
from freshet.recommend.reads import Reads
from freshet.recommend.under_way import UnderWay
from freshet.settings import Topics

NUMBERS = np.arange(1, 30)


@pytest.mark.parametrize("page", [1, 4, 5, 100])
async def test_what_was_chosen_is_known_at_once_and_later_choices_within_one_round(
    page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHOSEN_PAGE", page)
    url = f"memory://pulse-{page}"
    writer, reads = memory.open_profile_store(url), Reads(memory.open_serving_store(url))
    layout = Layout("m1", (Segment(Modality.TEXT, 4),))
    pulse = Pulse(reads, Mirror(layout, Topics().representations), UnderWay())

    def choose(*numbers: int) -> None:
        writer.apply("profiles", [], [BehaviourRow(number, 1.0, b"") for number in numbers], [])

    choose(*range(3, 30, 3))
    assert pulse.tried(NUMBERS).all(), "nobody is called untried before it is known"
    await pulse.refresh(0.0)
    assert NUMBERS[pulse.tried(NUMBERS)].tolist() == list(range(3, 30, 3))
    choose(1, 14, 29)
    expected = sorted({*range(3, 30, 3), 1, 14, 29})
    for look in range(1, len(expected) // page + 3):
        await pulse.refresh(float(look))
        assert set(range(3, 30, 3)) <= set(NUMBERS[pulse.tried(NUMBERS)].tolist()), "a page never loses another's"
    assert NUMBERS[pulse.tried(NUMBERS)].tolist() == expected
    reads.close()
