"""Topics of one test alone."""

from __future__ import annotations

import uuid

from freshet.settings import Topics

NAMES = ("products", "reviews", "interactions", "representations", "exposures", "dead_letters")


def own_topics(partitions: int) -> Topics:
    """Topics of which no other test has heard, with a common beginning; nothing has made them yet."""
    mark = uuid.uuid4().hex[:8]
    return Topics.model_validate({name: f"{mark}.{name}" for name in NAMES} | {"partitions": partitions})
