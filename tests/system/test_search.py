"""Searching through the whole line: published with words and a picture, read by Triton, found by SearchProducts."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from PIL import Image

from freshet.local.state import environment_of
from freshet.v1 import ingestion_service_pb2 as ingest
from freshet.v1 import ingestion_service_pb2_grpc as ingest_rpc
from freshet.v1 import product_pb2
from freshet.v1 import recommendation_service_pb2 as pb
from freshet.v1 import recommendation_service_pb2_grpc as rpc

if TYPE_CHECKING:
    from freshet.local.stack import LocalStack

pytestmark = pytest.mark.stack

TITLES = ("Zircon lantern", "Walnut chair", "Copper kettle", "Zircon kettle", "Wicker basket", "Linen curtain")


def picture(seed: int, kind: str = "PNG") -> bytes:
    """Large coloured fields, so that a picture survives being compressed."""
    fields = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(fields).resize((96, 96), Image.Resampling.NEAREST).save(out, kind)
    return out.getvalue()


class Shop:
    """Publishes to a stack and searches it. Product ids begin with a prefix of its own."""

    def __init__(self, stack: LocalStack) -> None:
        self.prefix = f"s{uuid.uuid4().hex[:8]}"
        settings = stack.settings
        self._channels = [grpc.insecure_channel(f"127.0.0.1:{at.port}") for at in (settings.ingest, settings.recommend)]
        self._publisher: Any = ingest_rpc.IngestionServiceStub(self._channels[0])
        self.stub: Any = rpc.RecommendationServiceStub(self._channels[1])
        self.titles = {f"{self.prefix}-{i}": title for i, title in enumerate(TITLES)}
        events = [
            self.upsert(product_id, title, picture(i), 10.0 + i)
            for i, (product_id, title) in enumerate(self.titles.items())
        ]
        self.token = self.publish(*events)

    def upsert(self, product_id: str, title: str, content: bytes, price: float) -> product_pb2.ProductEvent:
        event = product_pb2.ProductEvent()
        event.upsert.product_id, event.upsert.title, event.upsert.price = product_id, title, price
        event.upsert.description = f"Order number {product_id.replace('-', 'x')}, made by hand."
        event.upsert.categories.append(self.prefix)
        event.upsert.image.content = content
        return event

    def publish(self, *events: product_pb2.ProductEvent) -> str:
        answer = self._publisher.PublishProducts(ingest.PublishProductsRequest(events=events), timeout=30)
        return str(answer.consistency_token)

    def search(self, text: str = "", content: bytes = b"", token: str = "", **arguments: Any) -> Any:
        request = pb.SearchProductsRequest(text=text, at_least=[token or self.token], **arguments)
        request.at_least_wait.FromSeconds(30)
        request.model_wait.FromSeconds(10)
        request.filter.categories.append(self.prefix)
        if content:
            request.image.content = content
        answer = self.stub.SearchProducts(request, timeout=40)
        assert answer.freshness.at_least_reached
        assert not answer.freshness.degraded, answer.freshness.degraded_reasons
        return answer

    def found(self, *arguments: Any, **named: Any) -> list[str]:
        return [product.product_id for product in self.search(*arguments, **named).products]

    def close(self) -> None:
        for channel in self._channels:
            channel.close()


@pytest.fixture(scope="module")
def shop(stack: LocalStack) -> Iterator[Shop]:
    with closing(Shop(stack)) as opened:
        yield opened


def test_a_product_is_found_by_its_own_titles_words(shop: Shop) -> None:
    for product_id, title in shop.titles.items():
        answer = shop.search(title.upper())
        assert answer.products[0].product_id == product_id
        assert answer.products[0].reason.startswith("Has ")
        assert answer.products[0].price > 0.0


def test_a_product_is_found_by_a_rare_word_of_its_description(shop: Shop) -> None:
    for product_id in shop.titles:
        assert shop.found(product_id.replace("-", "x"), page_size=1) == [product_id]


def test_a_product_is_found_by_its_own_picture_whatever_its_format(shop: Shop) -> None:
    for i, product_id in enumerate(shop.titles):
        assert shop.found(content=picture(i), page_size=1) == [product_id]
        assert shop.found(content=picture(i, "WEBP"), page_size=1) == [product_id]


def test_words_and_a_picture_together_find_the_product_that_has_both(shop: Shop) -> None:
    ids = list(shop.titles)
    # Two products are of zircon and two are kettles: the picture decides.
    assert shop.found("zircon", picture(0))[0] == ids[0]
    assert shop.found("zircon", picture(3))[0] == ids[3]
    answer = shop.search("kettle", picture(2))
    assert answer.products[0].product_id == ids[2]
    assert {"terms", "image"} <= {part.modality for part in answer.products[0].contributions}


def test_a_product_published_a_moment_ago_is_found_and_one_withdrawn_is_not(shop: Shop) -> None:
    product_id, content = f"{shop.prefix}-new", picture(99)
    token = shop.publish(shop.upsert(product_id, "Obsidian lantern", content, 5.0))
    answer = shop.search("obsidian", token=token)
    assert answer.products[0].product_id == product_id
    assert answer.freshness.representations
    assert shop.found(content=content, token=token)[0] == product_id
    change = product_pb2.ProductEvent()
    change.patch.product.product_id = product_id
    change.patch.product.available = False
    change.patch.update_mask.paths.append("available")
    token = shop.publish(change)
    assert product_id not in shop.found("obsidian lantern", content, token=token)


def test_a_filter_holds(shop: Shop) -> None:
    answer = shop.search("kettle", filter=pb.Filter(min_price=13.0, max_price=14.0))
    assert {product.price for product in answer.products} <= {13.0, 14.0}


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(stack: LocalStack) -> Run:
    """The `freshet` command, speaking to the stack."""

    def run_(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from freshet.cli import main; main()", *arguments],
            env=environment_of(stack.settings) | {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    return run_


def test_the_command_finds_by_words_and_by_a_file(shop: Shop, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    file.write_bytes(picture(4))
    asked = run("search", "wicker", "--image", str(file), "--category", shop.prefix, "--json")
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["products"][0]["product_id"] == f"{shop.prefix}-4"
    table = run("search", "walnut chair", "--category", shop.prefix, "-n", "1")
    assert "Walnut chair" in table.stdout
    file.write_bytes(b"no picture at all")
    refused = run("search", "--image", str(file))
    assert refused.returncode == 2
    assert refused.stderr.startswith("freshet: image: cannot be read as PNG")
    assert len(refused.stderr.splitlines()) == 1
    assert run("search", "--image", str(tmp_path / "absent.png")).returncode == 2
    assert run("search").returncode == 2


def test_a_product_is_inspected_as_json_and_as_a_page(shop: Shop, run: Run, tmp_path: Path) -> None:
    product_id = f"{shop.prefix}-0"
    page = Path(os.environ.get("FRESHET_ARTEFACTS", tmp_path)) / "inspect.html"
    asked = run("inspect", "product", product_id, "--json", "--html", str(page))
    assert asked.returncode == 0, asked.stderr
    found = json.loads(asked.stdout)
    assert found["title"] == "Zircon lantern"
    assert not found["missing"]
    parts = {part["name"]: part for part in found["modalities"]}
    near = [each["product_id"] for each in parts["terms"]["neighbours"]]
    assert product_id not in near
    assert len(near) == 5
    assert parts["image"]["length"] == pytest.approx(1.0, abs=0.01)
    assert parts["reviews"]["length"] == 0.0
    assert 0.0 < parts["text"]["joint_without"] <= 1.0
    assert {field["name"] for field in found["fields"] if field["newest"]} >= {"title", "image", "price"}
    written = page.read_text()
    assert written.count("data:image/jpeg;base64,") > 5
    assert "Zircon lantern" in written
    told = run("inspect", "product", product_id)
    assert "What changed last" in told.stdout
    assert run("inspect", "product", "nobody-published-this").returncode == 2


def test_near_identical_products_are_listed(shop: Shop, run: Run) -> None:
    ids = [f"{shop.prefix}-twin-{name}" for name in ("a", "b", "c")]
    events = [shop.upsert(product_id, "Rosewood music stand", picture(50), 12.0) for product_id in ids]
    for event, description in zip(events, ("of one piece", "of one piece", "and a pair of speakers"), strict=True):
        event.upsert.description = description
    events[2].upsert.image.content = picture(51)
    token = shop.publish(*events)
    assert shop.search("rosewood", token=token).products
    asked = run("inspect", "duplicates", "--json")
    assert asked.returncode == 0, asked.stderr
    found = json.loads(asked.stdout)
    assert found["complete"]
    assert ids[:2] in [pair["products"] for pair in found["pairs"]]
    assert ids[2] not in {name for pair in found["pairs"] for name in pair["products"]}
    group = next(group for group in found["groups"] if ids[0] in group)
    assert group == ids[:2]


def test_while_triton_is_away_words_are_found_exactly_and_afterwards_pictures_again(
    shop: Shop, stack: LocalStack
) -> None:
    def ask(text: str, content: bytes = b"") -> Any:
        request = pb.SearchProductsRequest(text=text, filter=pb.Filter(categories=[shop.prefix]), page_size=1)
        if content:
            request.image.content = content
        return shop.stub.SearchProducts(request, timeout=60)

    unseen = picture(77)
    stack.stop_component("triton")
    try:
        answer = ask("a walnut chair for the hall")
        assert answer.products[0].title == "Walnut chair"
        assert answer.freshness.degraded
        assert answer.freshness.degraded_reasons[0].startswith("triton: ")
        with pytest.raises(grpc.RpcError) as raised:
            ask("", unseen)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        stack.start_component("triton")
    deadline = time.monotonic() + 60.0
    while ask("a walnut chair for the garden").freshness.degraded:
        assert time.monotonic() < deadline, "searches do not find Triton again"
        time.sleep(0.1)
    assert ask("", unseen).products
