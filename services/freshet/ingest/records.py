"""An event of the contract becomes a Kafka record: checked, given an id, wrapped as a CloudEvent. May import codec.

Pure but for the ids it draws: the caller passes the time.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

from freshet import tracing
from freshet.codec import events, wire
from freshet.domain.progress import Position
from freshet.errors import InvalidInput, TooLarge
from freshet.settings import Topics
from freshet.v1 import interaction_pb2, product_pb2

Event: TypeAlias = "product_pb2.ProductEvent | product_pb2.Review | interaction_pb2.Interaction"


class Publishes(Protocol):
    """What publishing needs of a producer; freshet.adapters.kafka.Producer is the real one."""

    def publish(
        self,
        topic: str,
        key: str | bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] | None = None,
        timestamp_ms: int | None = None,
    ) -> Future[Position]: ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record, ready to publish."""

    topic: str
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes | None], ...]
    event_id: str

    def send(self, producer: Publishes) -> Future[Position]:
        publish = partial(producer.publish, self.topic, self.key, self.value)
        return tracing.publishing(self.topic, self.headers, publish)


class RecordWriter:
    """Makes records for one deployment's topics.

    `source` is the CloudEvents source; `record_bytes` what the workers accept.
    """

    def __init__(self, topics: Topics, *, source: str, record_bytes: int) -> None:
        self._topics = topics
        self._source = source
        self._record_bytes = record_bytes

    def write(self, event: Event, now_us: int) -> Outgoing:
        """The record of this event, which gets an event_id where it has none. Raises InvalidInput, TooLarge."""
        if isinstance(event, product_pb2.ProductEvent):
            key = events.product_id_of(events.read_product_event(event))
            time_us = events.event_time_us(event, now_us, now_us)
            topic, kind = self._topics.products, f"product.{event.WhichOneof('change')}"
        elif isinstance(event, product_pb2.Review):
            time_us = events.event_time_us(event, now_us, now_us)
            key = events.read_review(event, time_us, 0).product_id
            topic, kind = self._topics.reviews, "review"
        else:
            interaction = events.read_interaction(event, now_us, now_us)
            key, time_us = interaction.user_id, interaction.event_time_us
            topic, kind = self._topics.interactions, "interaction"
        event_id = _identify(event)
        value = wire.encode(event)
        if len(value) > self._record_bytes:
            raise TooLarge(
                "",
                f"the event has {len(value):,} bytes; workers accept {self._record_bytes:,}. "
                "Send the picture's address instead of its content",
            )
        headers = wire.cloud_event_headers(
            event_id=event_id,
            event_type=f"freshet.v1.{kind}",
            source=self._source,
            subject=key,
            time_us=time_us,
        )
        return Outgoing(topic, key, value, tuple(headers), event_id)


def _identify(event: Event) -> str:
    """The event's id; a review's is its review_id."""
    if isinstance(event, product_pb2.Review):
        return event.review_id
    if not event.event_id:
        event.event_id = str(uuid.uuid4())
    elif len(event.event_id) > events.ID_CHARACTERS:
        raise InvalidInput(
            "event_id", f"has {len(event.event_id)} characters; at most {events.ID_CHARACTERS} are allowed"
        )
    return event.event_id
