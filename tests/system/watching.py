"""What tests of a watched stack hold in hand: its shop's publisher and shopper, and a running Prometheus."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from freshet.settings import Settings
from freshet.v1 import ingestion_service_pb2 as ingest
from freshet.v1 import ingestion_service_pb2_grpc as ingest_rpc
from freshet.v1 import recommendation_service_pb2 as pb
from freshet.v1 import recommendation_service_pb2_grpc as rpc
from freshet.v1.interaction_pb2 import Interaction
from freshet.v1.product_pb2 import Product, ProductEvent, Review

PRODUCTS = 30
KINDS = ("red dress", "wool coat", "running shoe")


class Shop:
    """Publishes to a stack over gRPC and asks it for recommendations."""

    def __init__(self, settings: Settings) -> None:
        self._channels = [grpc.insecure_channel(f"{at.host}:{at.port}") for at in (settings.ingest, settings.recommend)]
        self._publisher: Any = ingest_rpc.IngestionServiceStub(self._channels[0])
        self._service: Any = rpc.RecommendationServiceStub(self._channels[1])
        self.first_answer = self.round(1.0)

    def round(self, price: float) -> pb.RecommendResponse:
        """Products with this price, a review, clicks and a hide; and an answer that knows of all of them."""
        tokens = [self.publish_product(f"m{i}", f"{KINDS[i % 3]} {i}", price + i) for i in range(PRODUCTS)]
        review = Review(review_id=f"r{price}", product_id="m1", rating=5, text="warm")
        clicks = [Interaction(user_id="m-user", product_id=f"m{i}", kind=Interaction.CLICK) for i in range(3)]
        clicks.append(Interaction(user_id="m-user", product_id="m9", kind=Interaction.HIDE))
        reviewed = self._publisher.PublishReviews(ingest.PublishReviewsRequest(reviews=[review]), timeout=30)
        seen = self._publisher.PublishInteractions(ingest.PublishInteractionsRequest(interactions=clicks), timeout=30)
        tokens += [reviewed.consistency_token, seen.consistency_token]
        return self.recommend(tokens)

    def publish_product(
        self, product_id: str, title: str, price: float, metadata: tuple[tuple[str, str], ...] = ()
    ) -> str:
        """The consistency token."""
        product = Product(product_id=product_id, title=title, price=price, currency="EUR")
        request = ingest.PublishProductsRequest(events=[ProductEvent(upsert=product)])
        return str(self._publisher.PublishProducts(request, timeout=30, metadata=metadata).consistency_token)

    def recommend(self, at_least: list[str], page_size: int = 5) -> pb.RecommendResponse:
        request = pb.RecommendRequest(user_id="m-user", page_size=page_size, at_least=at_least)
        request.at_least_wait.FromSeconds(25)
        response: pb.RecommendResponse = self._service.Recommend(request, timeout=30)
        return response

    def close(self) -> None:
        for channel in self._channels:
            channel.close()


@dataclass(frozen=True)
class Prometheus:
    """A running server's HTTP API."""

    address: str

    def query(self, promql: str) -> list[dict[str, Any]]:
        """An instant query's series, each with `metric` and `value`. Raises AssertionError where PromQL is wrong."""
        data = self.get(f"/api/v1/query?{urllib.parse.urlencode({'query': promql})}")
        assert data["resultType"] == "vector", promql
        found: list[dict[str, Any]] = data["result"]
        return found

    def value(self, promql: str) -> float | None:
        """The one number that a query gives, or None while there is none."""
        found = self.query(promql)
        assert len(found) <= 1, f"{promql} gives {len(found)} series"
        return float(found[0]["value"][1]) if found else None

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=60) as answer:
            return json.load(answer)["data"]

    def wait(self, promql: str, holds: Callable[[float], bool], seconds: float = 60.0) -> float:
        """The first value for which `holds`."""
        deadline, value = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            value = self.value(promql)
            if value is not None and holds(value):
                return value
            time.sleep(0.2)
        raise AssertionError(f"not within {seconds:.0f} s: {promql} is {value}")
