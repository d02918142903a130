"""What the processes of a running stack write into their logs while a shopper shops: nothing that names the shopper."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from freshet.adapters.kafka import Producer
from freshet.client import Freshet, Refused
from freshet.codec.wire import JSON
from freshet.local.stack import LocalStack
from freshet.telemetry import user_hash
from freshet.v1.product_pb2 import Product, Review
from freshet.v1.recommendation_service_pb2 import Filter

pytestmark = pytest.mark.stack
SHOPPER = "shopper.of.the.logs@example.org"
OURS = ("catalog", "index", "profiles", "recommend", "ingest", "console", "stack")


def wait_for(text: str, log: Path, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while text not in log.read_text(errors="replace"):
        assert time.monotonic() < deadline, f"{log.name} never says {text}"
        time.sleep(0.1)


def test_no_log_names_a_shopper(stack: LocalStack) -> None:
    settings, logs = stack.settings, stack.data_dir / "logs"
    assert settings.log_level == "info"
    recommend, ingest = settings.recommend, settings.ingest
    addresses = (f"{recommend.host}:{recommend.port}", f"{ingest.host}:{ingest.port}")
    with Freshet(*addresses, timeout=30.0) as freshet:
        freshet.publish_products([Product(product_id="logs-1", title="Red leather boot", price=89.0)])
        freshet.publish_reviews([Review(review_id="logs-r", product_id="logs-1", user_id=SHOPPER, rating=5)])
        freshet.click(SHOPPER, "logs-1")
        assert freshet.recommend(SHOPPER, wait=30.0).freshness.at_least_reached
        with pytest.raises(Refused):
            freshet.recommend(SHOPPER, filter=Filter(min_price=float("nan")))
        with pytest.raises(Refused):
            freshet.click(SHOPPER, "")
    asked = httpx.get(
        f"http://{settings.console.host}:{settings.console.port}/api/recommend", params={"user": SHOPPER}, timeout=30.0
    )
    assert asked.is_success, asked.text
    producer = Producer(settings.kafka_url)
    refused = f'{{"userId": "{SHOPPER}", "productId": "logs-1", "kind": "RATING", "value": 17}}'
    headers = [("content-type", JSON.encode())]
    producer.publish(settings.topics.interactions, SHOPPER, refused.encode(), headers).result(20.0)
    producer.close()

    wait_for(user_hash(SHOPPER), logs / "profiles.log")
    written = {path.stem: path.read_text(errors="replace") for path in logs.glob("*.log*")}
    assert written.keys() >= set(OURS)
    assert [name for name, text in written.items() if SHOPPER in text] == []
    line = next(line for line in written["profiles"].splitlines() if user_hash(SHOPPER) in line)
    assert "put aside" in line
    assert "INVALID" in line
    assert settings.topics.interactions in line
