"""The doctor on a running stack: all is well, and a topic that would lose records is not."""

from __future__ import annotations

import pytest
from topics import NAMES, own_topics

from freshet.adapters.kafka import ensure_topics, topic_faults
from freshet.doctor.checks import examine
from freshet.local.stack import LocalStack

pytestmark = pytest.mark.stack


def test_on_a_stack_that_runs_all_is_well(stack: LocalStack) -> None:
    # How much room this machine has is no matter of the stack.
    assert [found for found in examine(stack.settings) if found.state != "good" and found.name != "disk"] == []


def test_topics_that_would_lose_records_are_told(kafka: str) -> None:
    topics = own_topics(1)
    assert topic_faults(kafka, topics) == [f"topic {getattr(topics, name)} is missing" for name in NAMES]
    ensure_topics(kafka, topics)
    assert topic_faults(kafka, topics) == []
    # Made by somebody for exposures, which Kafka deletes after a month, and then used for interactions.
    mixed = topics.model_copy(update={"interactions": topics.exposures, "exposures": topics.dead_letters})
    assert f"topic {topics.exposures} has retention.ms=2592000000, -1 is needed" in topic_faults(kafka, mixed)
