"""A shop that publishes at a steady rate: products, price changes, removals, reviews and clicks, drawn by a seed."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import Future

from freshet.adapters.kafka import Producer
from freshet.codec.wire import PROTOBUF
from freshet.domain.progress import Position
from freshet.settings import Settings
from freshet.v1.interaction_pb2 import Interaction
from freshet.v1.product_pb2 import Product, ProductEvent, Review

HEADERS = [("content-type", PROTOBUF.encode())]
PRODUCTS, USERS = 120, 40
KINDS = ("dress", "coat", "boot", "lamp", "chair", "mug")
COLOURS = ("red", "blue", "green", "black")
ACTIONS = (
    Interaction.VIEW, Interaction.CLICK, Interaction.ADD_TO_CART, Interaction.PURCHASE, Interaction.LIKE,
    Interaction.DISLIKE, Interaction.HIDE,
)  # fmt: skip


class Shop:
    """Publishes `events` records at `rate` a second in a thread; entering starts it, leaving waits for it to end.

    Every record must be confirmed: what Kafka could not take, while it was away, is sent again by the producer.
    """

    def __init__(self, settings: Settings, seed: int, events: int, rate: float) -> None:
        self._topics, self._events, self._rate = settings.topics, events, rate
        self._random, self._seed = random.Random(seed), seed
        self._producer = Producer(settings.kafka_url, linger_ms=1)
        self._published: list[tuple[bytes, Future[Position]]] = []
        self._half = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Shop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._producer.flush(90.0)
        self._producer.close()

    def wait_for_half(self) -> None:
        assert self._half.wait(60.0), "the shop published nothing"

    def confirmed(self) -> dict[Position, bytes]:
        """Where Kafka put every record's value. Raises what it refused one for."""
        return {future.result(timeout=30.0): value for value, future in self._published}

    def _run(self) -> None:
        due = time.perf_counter()
        for number in range(self._events):
            topic, key, value = self._event(number)
            self._published.append((value, self._producer.publish(topic, key, value, HEADERS)))
            if number == self._events // 2:
                self._half.set()
            due += 1.0 / self._rate
            time.sleep(max(due - time.perf_counter(), 0.0))

    def _event(self, number: int) -> tuple[str, str, bytes]:
        chance = self._random.random()
        product = f"p{self._random.randrange(PRODUCTS)}"
        if chance < 0.6:
            action = Interaction(
                event_id=f"{self._seed}-{number}",
                user_id=f"u{self._random.randrange(USERS)}",
                product_id=product,
                kind=self._random.choice(ACTIONS),
            )
            return self._topics.interactions, action.user_id, action.SerializeToString()
        if chance < 0.7:
            review = Review(
                review_id=f"r{self._random.randrange(60)}",
                product_id=product,
                rating=self._random.randint(1, 5),
                text=f"a {self._random.choice(COLOURS)} {self._random.choice(KINDS)}",
            )
            return self._topics.reviews, product, review.SerializeToString()
        return self._topics.products, product, self._change(product, chance).SerializeToString()

    def _change(self, product: str, chance: float) -> ProductEvent:
        if chance < 0.74:
            event = ProductEvent()
            event.removal.product_id = product
            return event
        described = Product(
            product_id=product,
            title=f"{self._random.choice(COLOURS)} {self._random.choice(KINDS)}",
            price=round(self._random.uniform(5.0, 90.0), 2),
            currency="EUR",
        )
        if chance < 0.86:
            event = ProductEvent()
            event.patch.product.CopyFrom(described)
            event.patch.update_mask.paths.append("price")
            return event
        return ProductEvent(upsert=described)
