"""The client against the running services, and the documentation's own lines, typed as they stand there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from freshet.client import AsyncFreshet, Freshet, NotFound, Refused
from freshet.local.stack import LocalStack
from freshet.local.state import environment_of
from freshet.v1.interaction_pb2 import Interaction
from freshet.v1.product_pb2 import Product, ProductEvent, Review
from freshet.v1.recommendation_service_pb2 import Filter

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[2]
KINDS = ("red dress", "blue dress", "wool coat", "rain coat", "running shoe", "leather boot")


def addresses(stack: LocalStack) -> tuple[str, str]:
    recommend, ingest = stack.settings.recommend, stack.settings.ingest
    return f"{recommend.host}:{recommend.port}", f"{ingest.host}:{ingest.port}"


@pytest.fixture(scope="module")
def freshet(stack: LocalStack) -> Iterator[Freshet]:
    """A client; its shop has twelve products that answers hold already."""
    with Freshet(*addresses(stack), timeout=30.0) as client:
        products = [
            Product(product_id=f"client-{i}", title=f"{KINDS[i % 6]} {i}", categories=["client"], price=10.0 + i)
            for i in range(12)
        ]
        published = client.publish_products(products)
        assert published.count == 12
        answer = client.list_similar("client-0", at_least=published.tokens, wait=30.0)
        assert answer.freshness.at_least_reached
        yield client


def test_ones_own_click_counts_in_the_next_answer(freshet: Freshet) -> None:
    freshet.click("client-ann", "client-0")
    answer = freshet.recommend("client-ann", page_size=500, wait=30.0)
    assert answer.freshness.at_least_reached
    assert answer.products
    assert "client-0" not in {product.product_id for product in answer.products}
    freshet.click("client-ann", answer.products[0].product_id, "HIDE", attribution_token=answer.attribution_token)
    again = freshet.recommend("client-ann", page_size=500, wait=30.0)
    assert answer.products[0].product_id not in {product.product_id for product in again.products}


def test_what_is_published_with_wait_counts_when_the_command_is_back(freshet: Freshet, stack: LocalStack) -> None:
    """The workers alone are not enough: a recommend process reads the catalogue on its own."""
    row = {"productId": "client-waited", "title": "red dress", "price": 12}
    recommend = stack.pid("recommend")
    publishing = subprocess.Popen(
        [Path(sys.executable).with_name("freshet"), "publish", "products", "-", "--wait", "--json"],
        env=os.environ | environment_of(stack.settings), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.kill(recommend, signal.SIGSTOP)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            publishing.communicate(json.dumps(row), timeout=5)
    finally:
        os.kill(recommend, signal.SIGCONT)
    written, _ = publishing.communicate(timeout=120)
    assert publishing.returncode == 0
    assert freshet.list_similar("client-waited", wait=0.0).products
    token = json.loads(written)["consistency_token"]
    assert freshet.recommend("client-bob", at_least=[token], wait=30.0).freshness.at_least_reached


def test_pages_follow_one_another(freshet: Freshet) -> None:
    pages = freshet.recommend_pages("client-nobody", page_size=3)
    first, second = next(pages), next(pages)
    shown = [product.product_id for page in (first, second) for product in page.products]
    assert len(shown) == len(set(shown)) == 6


def test_what_breaks_a_rule_is_refused_by_field(freshet: Freshet) -> None:
    with pytest.raises(Refused) as refused:
        freshet.publish_interactions(
            [Interaction(user_id="u", kind="CLICK"), Interaction(product_id="p", kind="CLICK")]
        )
    assert [field for field, _ in refused.value.violations] == ["interactions[0].product_id", "interactions[1].user_id"]
    assert refused.value.field == "interactions[0].product_id"


def test_an_unknown_product_is_not_found(freshet: Freshet) -> None:
    with pytest.raises(NotFound, match="client-none"):
        freshet.list_similar("client-none")


def test_products_are_searched_by_words_and_pictures_page_by_page(freshet: Freshet) -> None:
    first = freshet.search("wool coat", filter=Filter(categories=["client"]), page_size=1)
    assert "wool coat" in first.products[0].title
    second = freshet.search(
        "wool coat", filter=Filter(categories=["client"]), page_size=1, page_token=first.next_page_token
    )
    assert second.products[0].product_id != first.products[0].product_id
    for picture in (b"no picture", "http://127.0.0.1/private.png"):
        with pytest.raises(Refused) as refused:
            freshet.search(image=picture)
        assert refused.value.field.startswith("image")


def test_a_stream_publishes_what_it_can_and_tells_the_rest(freshet: Freshet) -> None:
    streamed = freshet.publish_stream(
        [
            ProductEvent(upsert=Product(product_id="client-s1", title="straw hat", categories=["client"])),
            Interaction(product_id="client-0", kind="CLICK"),
            Review(review_id="client-r1", product_id="client-s1", rating=5, text="lovely"),
        ]
    )
    assert (streamed.count, streamed.rejected_count) == (2, 1)
    assert [(index, field) for index, field, _ in streamed.rejections] == [(1, "user_id")]
    answer = freshet.list_similar("client-s1", at_least=[streamed.token], wait=30.0) if streamed.token else None
    assert answer is not None
    assert answer.freshness.at_least_reached


async def test_the_asynchronous_client_does_the_same(stack: LocalStack, freshet: Freshet) -> None:
    async with AsyncFreshet(*addresses(stack), timeout=30.0) as client:
        await client.click("client-bob", "client-3")
        answer = await client.recommend("client-bob", page_size=4, wait=30.0)
        assert answer.freshness.at_least_reached
        pages = [page async for page in client.recommend_pages("client-bob", page_size=4)]
        assert len(pages) > 1
        streamed = await client.publish_stream([Interaction(user_id="client-bob", product_id="client-4", kind="VIEW")])
        assert streamed.count == 1
        found = await client.search("wool coat", page_size=2)
        assert "wool coat" in found.products[0].title
        with pytest.raises(NotFound):
            await client.list_similar("client-none")


@pytest.mark.parametrize("page", ["README.md", "docs/recommending.md"])
def test_the_documentations_lines_run(
    stack: LocalStack, freshet: Freshet, capsys: pytest.CaptureFixture[str], page: str
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        recommend, ingest = addresses(stack)
        lines = block.replace("127.0.0.1:7070", recommend).replace("127.0.0.1:7071", ingest)
        assert lines != block
        exec(compile(lines, page, "exec"), {})
        assert len(capsys.readouterr().out.splitlines()) > 0
