"""The console's page in a real browser, on the real stack: what a person sees and can do.

Pictures of the page are kept in build/artefacts/console, or in the folder that $FRESHET_ARTEFACTS names.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from PIL import Image

from freshet.adapters.kafka import Producer
from freshet.v1 import (
    ingestion_service_pb2,
    ingestion_service_pb2_grpc,
    interaction_pb2,
    product_pb2,
    recommendation_service_pb2_grpc,
)
from freshet.v1 import recommendation_service_pb2 as pb

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from freshet.local.stack import LocalStack

pytestmark = pytest.mark.stack
sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
expect.set_options(timeout=60_000.0)

COLOURS = {"red": (190, 40, 40), "blue": (40, 70, 190), "green": (40, 140, 70), "black": (30, 30, 30)}
KINDS = ("ankle boot", "summer dress", "wool coat", "straw hat", "leather bag", "running shoe")
ROOT = Path(__file__).parents[2]
REFUSED = re.compile(r"status of 40[04]")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    # A sandbox inside a container, or as root, does not start.
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def pictures() -> Path:
    folder = Path(os.environ.get("FRESHET_ARTEFACTS", ROOT / "build" / "artefacts" / "console"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def shop(stack: LocalStack) -> LocalStack:
    """The stack with two dozen products that have pictures, and shoppers who clicked some."""
    events = []
    for number, (kind, colour) in enumerate((kind, colour) for kind in KINDS for colour in COLOURS):
        product = product_pb2.Product(
            product_id=f"console-{number:02d}", title=f"{colour.title()} {kind}", price=20.0 + number, currency="EUR"
        )
        product.categories.extend(["shop", kind])
        product.image.content = picture(COLOURS[colour])
        events.append(product_pb2.ProductEvent(upsert=product))
    clicks = [
        click(f"regular-{user}", f"console-{(user * 5 + step) % 24:02d}") for user in range(12) for step in (0, 4)
    ]
    settings = stack.settings
    with (
        grpc.insecure_channel(f"127.0.0.1:{settings.ingest.port}") as ingest,
        grpc.insecure_channel(f"127.0.0.1:{settings.recommend.port}") as recommend,
    ):
        stub = ingestion_service_pb2_grpc.IngestionServiceStub(ingest)
        tokens = [
            stub.PublishProducts(ingestion_service_pb2.PublishProductsRequest(events=events)).consistency_token,
            stub.PublishInteractions(
                ingestion_service_pb2.PublishInteractionsRequest(interactions=clicks)
            ).consistency_token,
        ]
        request = pb.RecommendRequest(user_id="regular-0", at_least=tokens, dry_run=True)
        request.at_least_wait.FromSeconds(30)
        answer = recommendation_service_pb2_grpc.RecommendationServiceStub(recommend).Recommend(request, timeout=40)
    assert answer.freshness.at_least_reached
    return stack


@pytest.fixture
def page(shop: LocalStack, browser: Browser) -> Iterator[Page]:
    """The page as its printed address opens it. Fails a test in which the browser complained."""
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    opened = context.new_page()
    complaints: list[str] = []
    # The browser writes down as an error what is refused on purpose: a product without a picture, a file that is none.
    opened.on(
        "console", lambda said: said.type == "error" and not REFUSED.search(said.text) and complaints.append(said.text)
    )
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(address(shop))
    yield opened
    context.close()
    assert complaints == []


def address(stack: LocalStack) -> str:
    console = stack.settings.console
    return f"http://127.0.0.1:{console.port}/#token={console.token}"


def picture(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(out, "PNG")
    return out.getvalue()


def click(user_id: str, product_id: str) -> interaction_pb2.Interaction:
    return interaction_pb2.Interaction(user_id=user_id, product_id=product_id, kind=interaction_pb2.Interaction.CLICK)


def play(page: Page, user_id: str) -> None:
    page.click("nav a[href='#playground']")
    page.fill("#user", user_id)
    page.click("text=Ask")
    expect(page.locator(".told .what")).to_contain_text(f"products for {user_id}")


def listed(page: Page) -> list[str]:
    keys: list[str] = page.locator("#playground .play .grid .card").evaluate_all(
        "all => all.map(one => one.dataset.key)"
    )
    return keys


def act(page: Page, product_id: str, name: str) -> None:
    page.locator(f".play .card[data-key='{product_id}']").get_by_role("button", name=name, exact=True).click()


def test_every_partition_is_shown_with_what_waits_and_who_owns_it(page: Page, pictures: Path) -> None:
    rows = page.locator("#rows tr:not(.group)")
    expect(rows).to_have_count(16)
    expect(page.locator("#rows td.owner").first).to_contain_text("catalog")
    expect(page.locator("#pulse")).to_have_text("live")
    expect(page.locator("#parts li[data-state='healthy']")).to_have_count(10)
    assert page.locator("#state").get_attribute("data-level") in ("green", "amber")
    expect(page.locator("#rows td.worker").first).to_contain_text("freshet-catalog · stable · 1 member")
    for promise in ("click", "product", "hidden"):
        expect(page.locator(f"#fresh .promise[data-key='{promise}'] .figure")).not_to_be_empty()
    for tile in ("catalog", "index", "profiles"):
        expect(page.locator(f".tile[data-key='{tile}'] .beside")).to_contain_text("waiting")
    for scheme, width in (("light", 1360), ("dark", 1360), ("light", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=pictures / f"stream-{scheme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_click_changes_the_list_and_says_in_how_many_milliseconds(page: Page, pictures: Path) -> None:
    play(page, f"new-{uuid.uuid4().hex[:8]}")
    before = listed(page)
    assert len(before) == 12
    page.locator(".play .card .look").nth(1).click()
    expect(page.locator(".told .what")).to_contain_text("Clicked")
    assert re.search(r"in [\d.,]+ ms$", page.locator(".told .what").inner_text())
    steps = page.locator(".told .split-names").inner_text()
    assert [name for name in ("published", "applied", "answered") if name in steps] == [
        "published",
        "applied",
        "answered",
    ]
    after = listed(page)
    assert after != before
    assert before[1] not in after
    expect(page.locator(".basis")).to_contain_text("this shopper's own interactions")
    expect(page.locator(".play .card img").first).to_be_visible()
    for scheme, width in (("light", 1360), ("dark", 1360), ("light", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=pictures / f"playground-{scheme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_partition_tells_its_last_hour_with_axes(page: Page, pictures: Path) -> None:
    page.locator("#rows tr:not(.group) td.hourly button").first.click()
    dialog = page.locator("dialog.hour")
    expect(dialog.locator("h2")).to_have_text("catalog: freshet.products.v1, partition 0")
    for said in ("Applied", "Committed", "End", "Owner", "Seconds behind", "Records waiting"):
        expect(dialog).to_contain_text(said)
    expect(dialog.locator("svg.axes path.line").first).to_be_attached()
    assert {"now", "−60 min"} <= set(dialog.locator("svg.axes").first.locator("text").all_text_contents())
    page.screenshot(path=pictures / "hour.png")
    page.click("dialog.hour >> text=Close")
    page.set_viewport_size({"width": 390, "height": 900})
    page.locator("#rows tr:not(.group) td.hourly button").nth(3).click()
    expect(dialog).to_contain_text("Owner")
    page.screenshot(path=pictures / "hour-390.png")


def test_a_shopper_is_picked_from_those_seen_last_and_their_interests_are_told(page: Page, pictures: Path) -> None:
    page.click("nav a[href='#playground']")
    chip = page.locator(".chips .chip").first
    expect(chip).to_be_visible()
    name = chip.inner_text()
    chip.click()
    expect(page.locator(".told .what")).to_contain_text(f"products for {name}")
    known = page.locator("#playground .known")
    expect(known.locator(".bars li").first).to_contain_text("%")
    expect(known.locator(".touches li").first).to_be_visible()
    page.screenshot(path=pictures / "interests.png")


def test_an_invented_shopper_has_no_interests_until_a_click_and_a_hidden_product_pushes_away(page: Page) -> None:
    page.click("nav a[href='#playground']")
    page.locator("#playground").get_by_role("button", name="Invent one").click()
    known = page.locator("#playground .known")
    expect(known).to_contain_text("Nothing is known of this shopper yet.")
    invented = page.input_value("#user")
    expect(page.locator(".told .what")).to_contain_text(f"products for {invented}")
    title = page.locator(".play .card .words b").nth(1).inner_text()
    page.locator(".play .card .look").nth(1).click()
    expect(known.locator(".touches li").first).to_contain_text(title)
    expect(known.locator(".touches li").first).to_contain_text("click")
    act(page, listed(page)[0], "Hide")
    expect(known.locator(".touches li.away")).to_contain_text("hide")


def test_what_arrives_what_the_stores_take_and_how_fresh_it_is_are_told_by_name(page: Page, shop: LocalStack) -> None:
    play(page, f"new-{uuid.uuid4().hex[:8]}")
    page.locator(".play .card .look").first.click()
    expect(page.locator(".told .what")).to_contain_text("Clicked")
    product_id = listed(page)[0]
    act(page, product_id, "Withdraw")
    expect(page.locator(".told .what")).to_contain_text("for everyone")
    page.click("text=Put back")
    expect(page.locator(".told .what")).to_contain_text("Put back")
    page.click("nav a[href='#stream']")
    fresh = page.locator("[data-part='fresh']")
    for name in ("click → reflected", "product → hidden", "product → found"):
        expect(fresh).to_contain_text(name)
    expect(page.locator(".tile[data-key='profiles'] .cost")).to_contain_text("p99")
    arriving = page.locator("[data-part='arriving']")
    for topic in (shop.settings.topics.interactions, shop.settings.topics.products):
        expect(arriving).to_contain_text(topic)
    promise = page.locator("#fresh .promise[data-key='click']")
    expect(promise).to_contain_text("click → reflected")
    expect(promise.locator(".figure")).to_contain_text(re.compile(r"m?s\s*p50 · p99 "))
    stores = page.locator("[data-part='stores']")
    for name in ("Milvus: write a batch", "SQL: read a profile", "SQL: write profiles", "SQL: write products"):
        expect(stores).to_contain_text(name)
    expect(page.locator("#model")).to_contain_text("model ")


def test_a_modality_that_is_switched_off_contributes_nothing(page: Page) -> None:
    play(page, "regular-3")
    bars = page.locator(".play .card .parts-bar")
    parts = bars.evaluate_all("all => all.map(one => one.title)")
    modality = next(name for name in ("behaviour", "text", "joint") if any(f"\n{name} " in one for one in parts))
    page.locator(f"#weight-{modality}").fill("0")
    expect(page.locator(".told .what")).to_contain_text(f"{modality} is switched off")
    assert not any(f"\n{modality} " in one for one in bars.evaluate_all("all => all.map(one => one.title)"))
    page.click("text=Reset")
    expect(page.locator(".told .what")).to_contain_text("the model's own again")
    assert bars.evaluate_all("all => all.map(one => one.title)") == parts


def test_a_hidden_product_is_gone_for_this_shopper(page: Page) -> None:
    play(page, "regular-5")
    product_id = listed(page)[0]
    act(page, product_id, "Hide")
    expect(page.locator(".told .what")).to_contain_text("Hid")
    assert product_id not in listed(page)
    play(page, f"new-{uuid.uuid4().hex[:8]}")
    page.fill("#user", "regular-5")
    page.click("text=Ask")
    expect(page.locator(".told .what")).to_contain_text("products for regular-5")
    assert product_id not in listed(page)


def test_a_withdrawn_product_is_gone_for_everyone_until_it_is_put_back(page: Page) -> None:
    play(page, "regular-7")
    product_id = listed(page)[0]
    act(page, product_id, "Withdraw")
    expect(page.locator(".told .what")).to_contain_text("for everyone")
    assert product_id not in listed(page)
    page.click("text=Put back")
    expect(page.locator(".told .what")).to_contain_text("Put back")
    assert product_id in listed(page)


def test_products_like_one_are_shown(page: Page) -> None:
    play(page, "regular-7")
    act(page, listed(page)[0], "Similar")
    expect(page.locator("dialog.similar .card").first).to_be_visible()
    page.click("dialog.similar >> text=Close")
    expect(page.locator("dialog.similar")).to_be_hidden()


def test_words_find_products_and_a_click_shows_what_is_like_one(page: Page) -> None:
    page.click("nav a[href='#playground']")
    page.fill("#words", "wool coat")
    page.keyboard.press("Enter")
    told = page.locator(".found .what")
    expect(told).to_contain_text("products for “wool coat”")
    found = page.locator(".found .card")
    titles = found.locator(".words b").all_inner_texts()
    assert sorted(titles[:4]) == sorted(f"{colour.title()} wool coat" for colour in COLOURS)
    expect(found.first).to_contain_text("Has “wool”, “coat”.")
    expect(found.first.locator("img")).to_be_visible()
    expect(found.first.locator("small")).to_contain_text("€")
    assert "\nterms " in str(found.first.locator(".parts-bar").get_attribute("title"))
    found.first.locator(".look").click()
    expect(page.locator("dialog.similar .card").first).to_be_visible()
    page.click("dialog.similar >> text=Close")
    page.click("text=Back to the shopper")
    expect(page.locator(".found")).to_be_hidden()
    expect(page.locator(".told .what")).to_be_visible()


def test_a_picture_is_chosen_or_dropped_and_words_narrow_it(page: Page, pictures: Path, tmp_path: Path) -> None:
    page.click("nav a[href='#playground']")
    file = tmp_path / "blue.png"
    file.write_bytes(picture(COLOURS["blue"]))
    page.set_input_files("#picture", file)
    expect(page.locator(".found .what")).to_contain_text("products for the picture")
    expect(page.locator(".search .drop img")).to_be_visible()
    titles = page.locator(".found .card .words b")
    assert all(title.startswith("Blue") for title in titles.all_inner_texts()[: len(KINDS)])
    page.fill("#words", "straw hat")
    page.locator(".search").get_by_role("button", name="Search", exact=True).click()
    expect(page.locator(".found .what")).to_contain_text("products for “straw hat” and the picture")
    expect(titles.first).to_have_text("Blue straw hat")
    for scheme, width in (("light", 1360), ("dark", 1360), ("light", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=pictures / f"search-{scheme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    play(page, "regular-3")
    expect(page.locator(".found")).to_be_hidden()
    drop(page, picture(COLOURS["green"]))
    expect(page.locator(".found .what")).to_contain_text("products for the picture")
    assert all(title.startswith("Green") for title in titles.all_inner_texts()[: len(KINDS)])


def test_a_file_that_is_no_picture_is_refused_with_the_reason(page: Page) -> None:
    page.click("nav a[href='#playground']")
    drop(page, b"no picture at all")
    expect(page.locator(".found .problem")).to_contain_text("image: cannot be read as PNG, JPEG, WEBP, GIF")
    expect(page.locator(".found .card")).to_have_count(0)


def drop(page: Page, content: bytes) -> None:
    """Drop a file on the search panel, as a person does from a folder."""
    data = page.evaluate_handle(
        """bytes => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
            return data;
        }""",
        list(content),
    )
    page.dispatch_event(".search", "dragover", {"dataTransfer": data})
    page.dispatch_event(".search", "drop", {"dataTransfer": data})


def test_a_dead_letter_can_be_opened_as_text_and_replayed(page: Page, shop: LocalStack, pictures: Path) -> None:
    payload = f"<img src=x onerror=alert(1)> {uuid.uuid4().hex}"
    producer = Producer(shop.settings.kafka_url)
    place = producer.publish(
        shop.settings.topics.interactions, "someone", payload.encode(), {"content-type": b"application/json"}
    ).result(10)
    producer.close()
    page.click("nav a[href='#letters']")
    row = page.locator(".letters-table tr", has_text=f"{place.topic}/{place.partition}/{place.offset}")
    expect(row).to_be_visible()
    expect(row).to_contain_text("UNREADABLE")
    row.get_by_role("button").click()
    expect(page.locator("pre.payload")).to_have_text(payload)
    assert page.locator("dialog img").count() == 0
    expect(page.locator("dialog .next")).to_contain_text("Next: Its bytes are no message of this topic.")
    page.screenshot(path=pictures / "letter.png")
    page.locator("dialog.letter").get_by_role("button", name="Replay", exact=True).click()
    expect(page.locator("dialog footer")).to_contain_text(f"Published again as {place.topic}/{place.partition}/")
    page.click("dialog >> text=Close")
    page.screenshot(path=pictures / "letters.png")


def test_a_stopped_worker_turns_its_rows_red_and_the_next_step_is_named(
    page: Page, shop: LocalStack, pictures: Path
) -> None:
    shop.stop_component("profiles")
    try:
        expect(page.locator("#headline")).to_have_text("profiles is stopped.")
        with grpc.insecure_channel(f"127.0.0.1:{shop.settings.ingest.port}") as channel:
            ingestion_service_pb2_grpc.IngestionServiceStub(channel).PublishInteractions(
                ingestion_service_pb2.PublishInteractionsRequest(
                    interactions=[click(f"waiting-{user}", "console-01") for user in range(40)]
                )
            )
        headline = page.locator("#headline")
        expect(headline).to_contain_text("profiles has not moved for")
        expect(headline).to_contain_text("40 records wait")
        expect(page.locator("#subline")).to_contain_text("freshet local logs profiles")
        expect(page.locator("#cost")).to_contain_text("does not count in their answers")
        expect(page.locator("#fresh .promise[data-key='click'] .beside")).to_contain_text("profiles stands still: 40")
        expect(page.locator("#rows tr:not(.group)").first).to_contain_text("profiles")
        expect(page.locator("#state")).to_have_attribute("data-level", "red")
        expect(page.locator("#rows tr[data-level='red']").first).to_be_visible()
        expect(page.locator(".tile[data-key='profiles']")).to_have_attribute("data-level", "red")
        for scheme, width in (("light", 1360), ("dark", 1360), ("light", 390)):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=pictures / f"stalled-{scheme}-{width}.png", full_page=True)
    finally:
        shop.start_component("profiles")
    expect(page.locator("#rows tr[data-level='red']")).to_have_count(0)
    expect(page.locator(".tile[data-key='profiles']")).not_to_have_attribute("data-level", "red")


def test_a_worker_that_hangs_is_red_and_its_process_is_named(page: Page, shop: LocalStack) -> None:
    (pid,) = [part.pid for part in shop.status().components if part.name == "profiles"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{shop.settings.ingest.port}") as channel:
            ingestion_service_pb2_grpc.IngestionServiceStub(channel).PublishInteractions(
                ingestion_service_pb2.PublishInteractionsRequest(interactions=[click("hung", "console-02")])
            )
        expect(page.locator("#headline")).to_contain_text("profiles has not moved for")
        expect(page.locator("#subline")).to_contain_text(f"kill -9 {pid}")
        expect(page.locator(".tile[data-key='profiles']")).to_have_attribute("data-level", "red")
    finally:
        os.kill(pid, signal.SIGCONT)
    expect(page.locator("#rows tr[data-level='red']")).to_have_count(0)


def test_a_tile_opens_its_last_hour(page: Page) -> None:
    page.locator(".tile[data-key='recommend']").click()
    dialog = page.locator("dialog.hour")
    expect(dialog.locator("h2")).to_have_text("recommend: Recommend")
    page.click("dialog.hour >> text=Close")
    page.locator(".promise[data-key='click']").click()
    expect(dialog.locator("h2")).to_have_text("click → reflected")


def test_on_a_phone_what_was_asked_for_is_on_the_screen(page: Page, pictures: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.click("nav a[href='#playground']")
    page.locator("#playground .chip").first.click()
    expect(page.locator(".told .what")).to_contain_text("products for")
    expect(page.locator(".told")).to_be_in_viewport(ratio=1)
    expect(page.locator(".play .card").first).to_be_in_viewport()
    expect(page.locator("#weight-text")).to_be_hidden()
    page.locator(".sliders summary").click()
    expect(page.locator("#weight-text")).to_be_visible()
    legend = page.locator(".play .card .legend").first
    shown = legend.locator("span:visible").count()
    legend.click()
    assert legend.locator("span:visible").count() > shown
    for button in page.locator(".play .card").first.locator(".acts button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 40
    page.screenshot(path=pictures / "playground-phone.png")
    for section in ("stream", "playground", "letters"):
        page.click(f"nav a[href='#{section}']")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_without_the_token_one_can_look_and_change_nothing(shop: LocalStack, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{shop.settings.console.port}/")
    expect(page.locator("#rows tr:not(.group)")).to_have_count(16)
    play(page, "regular-2")
    expect(page.locator(".basis")).to_contain_text("Looking only")
    expect(page.locator(".play .card").first.get_by_role("button", name="Hide")).to_be_disabled()
    context.close()


def test_metrics_of_every_process_are_read(page: Page) -> None:
    play(page, "regular-1")
    page.click("nav a[href='#stream']")
    expect(page.locator("#answers tbody tr").first).to_contain_text("ms")
    expect(page.locator("[data-part='encoders'] tbody")).to_contain_text("text")
    expect(page.locator("[data-part='workers'] .note")).to_be_hidden()
    expect(page.locator("[data-part='index']")).to_contain_text("products served")


def test_each_model_that_triton_serves_is_told_of(page: Page, shop: LocalStack) -> None:
    models = page.locator("[data-part='models']")
    expect(models.locator("tbody tr")).to_have_count(7)
    product = product_pb2.Product(product_id="console-models", title="Green straw hat", categories=["shop"])
    with grpc.insecure_channel(f"127.0.0.1:{shop.settings.ingest.port}") as ingest:
        stub = ingestion_service_pb2_grpc.IngestionServiceStub(ingest)
        stub.PublishProducts(
            ingestion_service_pb2.PublishProductsRequest(events=[product_pb2.ProductEvent(upsert=product)]), timeout=20
        )
    text = models.locator("tbody tr", has=page.locator("td", has_text="text"))
    expect(text).to_contain_text("ms")
    expect(models.locator(".note")).to_be_hidden()
