"""One event's trace through the real line, as an OTLP collector receives it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from collecting import Collector, Seen
from watching import Shop

from freshet.local.stack import LocalStack
from freshet.local.state import environment_of

pytestmark = pytest.mark.stack


def chain(spans: list[Seen], name: str) -> list[str]:
    """The names from this span up to where the trace came from."""
    by_id = {span.span_id: span for span in spans}
    names, at = [], next(span for span in spans if span.name == name)
    while True:
        names.append(at.name)
        if at.parent_id not in by_id:
            return names
        at = by_id[at.parent_id]


def test_a_products_trace_goes_from_its_publisher_to_the_first_answer_that_shows_it(
    shop: Shop, collector: Collector
) -> None:
    trace_id, caller = secrets.token_hex(16), secrets.token_hex(8)
    token = shop.publish_product(
        f"traced-{trace_id[:6]}", "red dress", 12.0, (("traceparent", f"00-{trace_id}-{caller}-01"),)
    )
    wanted = {
        "PublishProducts", "publish freshet.products.v1", "apply catalog", "triton text", "triton fusion",
        "sql transaction", "publish freshet.representations.v1", "apply index", "milvus upsert",
        "read representation", "first answer Recommend",
    }  # fmt: skip
    answer = shop.recommend([token], page_size=100)
    assert f"traced-{trace_id[:6]}" in [product.product_id for product in answer.products]
    spans = collector.wait(trace_id, lambda found: wanted <= {span.name for span in found})
    (first,) = (span for span in spans if span.name == "PublishProducts")
    assert first.parent_id == caller, "the publisher's own span is where the trace comes from"
    published = ["publish freshet.products.v1", "PublishProducts"]
    represented = ["publish freshet.representations.v1", "apply catalog", *published]
    assert chain(spans, "triton fusion") == ["triton fusion", "apply catalog", *published]
    assert chain(spans, "milvus upsert") == ["milvus upsert", "apply index", *represented]
    assert chain(spans, "first answer Recommend") == ["first answer Recommend", "read representation", *represented]
    of = {span.name: span for span in spans}
    assert of["apply catalog"].service == "freshet-worker-catalog"
    assert of["first answer Recommend"].service == "freshet-recommend"
    assert of["apply catalog"].attributes["messaging.destination.name"] == "freshet.products.v1"
    assert of["triton fusion"].begun_ns >= of["apply catalog"].begun_ns
    assert of["triton fusion"].ended_ns <= of["apply catalog"].ended_ns


def test_only_the_first_answer_is_part_of_the_trace(shop: Shop, collector: Collector) -> None:
    trace_id = secrets.token_hex(16)
    name = f"once-{trace_id[:6]}"
    token = shop.publish_product(name, "red dress", 12.0, (("traceparent", f"00-{trace_id}-{'1' * 16}-01"),))
    for _ in range(3):
        shop.recommend([token], page_size=100)
    collector.wait(trace_id, lambda found: any(span.name == "first answer Recommend" for span in found))
    # What the process sends comes in order: a later event's span has passed every earlier one.
    later = secrets.token_hex(16)
    token = shop.publish_product(name, "blue dress", 12.0, (("traceparent", f"00-{later}-{'1' * 16}-01"),))
    shop.recommend([token], page_size=100)
    collector.wait(later, lambda found: any(span.name == "first answer Recommend" for span in found))
    answers = collector.wait(trace_id, lambda found: True)
    assert [span.name for span in answers].count("first answer Recommend") == 1


def test_a_caller_that_does_not_record_leaves_no_trace(shop: Shop, collector: Collector) -> None:
    silent, loud = secrets.token_hex(16), secrets.token_hex(16)
    for trace_id, flags in ((silent, "00"), (loud, "01")):
        shop.publish_product("quiet", "wool coat", 9.0, (("traceparent", f"00-{trace_id}-{'2' * 16}-{flags}"),))
    collector.wait(loud, lambda found: any(span.name == "apply catalog" for span in found))
    assert collector.wait(silent, lambda found: True) == []


def test_events_of_one_batch_keep_their_own_traces(observed: LocalStack, collector: Collector, tmp_path: Path) -> None:
    """`freshet publish`: every event starts a trace, and the profile worker applies many of them together."""
    file = tmp_path / "clicks.jsonl"
    count = 200
    rows = [{"user_id": f"t{i}", "product_id": "m1", "kind": "CLICK"} for i in range(count)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = {span.trace_id for span in collector.named("publish freshet.interactions.v1")}
    subprocess.run(
        [Path(sys.executable).with_name("freshet"), "publish", "interactions", file, "--wait"],
        env=os.environ | environment_of(observed.settings), check=True, timeout=120, capture_output=True,
    )  # fmt: skip
    traces = {span.trace_id for span in collector.named("publish freshet.interactions.v1")} - before
    assert len(traces) == count
    batches: set[str] = set()
    for trace_id in traces:
        spans = collector.wait(trace_id, lambda found: any(span.name == "apply profiles" for span in found))
        (apply,) = (span for span in spans if span.name == "apply profiles")
        assert chain(spans, "apply profiles") == ["apply profiles", "publish freshet.interactions.v1"]
        if "messaging.batch.message_count" in apply.attributes:
            batches.add(trace_id)
            assert "sql transaction" in [span.name for span in spans]
        else:
            assert len(apply.links) == 1, "an event that shares a batch names the trace that the batch is in"
    assert 0 < len(batches) < count
