"""The chat in real browsers, on two io-nodes behind nginx, while the application is restarted under it."""

import os
import re
import signal
import struct
import zlib

import pytest
from playwright.async_api import FilePayload, Page, expect

from sio_stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

SLOW_MS = 20_000
LINGER_MS = 12_000
"""Longer than somebody stays present who has lost their connection."""


async def two_pages(open_page, room: str, first: str = "Ada", second: str = "Grace") -> tuple[Page, Page]:
    """Two people who know of each other, on different io-nodes."""
    ada = await open_page(first, room)
    for _ in range(12):
        grace = await open_page(second, room)
        if await io_node(grace) != await io_node(ada):
            break
        await grace.context.close()
    else:
        pytest.fail("all pages came to one io-node")
    for page in (ada, grace):
        await expect(page.get_by_test_id("people-count")).to_have_text("2", timeout=SLOW_MS)
    return ada, grace


async def io_node(page: Page) -> str:
    return await page.get_by_test_id("io-node").inner_text()


async def sid_of(page: Page) -> str:
    return await page.get_by_test_id("io-node").get_attribute("title") or ""


async def say(page: Page, text: str) -> None:
    await page.get_by_test_id("text").fill(text)
    await page.keyboard.press("Enter")


def message(page: Page, text: str):
    return page.get_by_test_id("message").filter(has=page.get_by_test_id("message-text").get_by_text(text, exact=True))


def tick(page: Page, text: str):
    return message(page, text).get_by_test_id("tick")


def line(page: Page, text: str | re.Pattern[str]):
    return page.get_by_test_id("line").filter(has_text=text)


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes((20, 120, 110)) * width for _ in range(height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


async def test_a_message_crosses_io_nodes_once_and_its_ticks_turn(open_page) -> None:
    ada, grace = await two_pages(open_page, "crossing")
    await say(ada, "Does this cross?")
    await expect(message(grace, "Does this cross?")).to_have_count(1)
    await expect(tick(ada, "Does this cross?")).to_have_attribute("data-state", "delivered")
    await say(grace, "It does")
    await expect(message(ada, "It does")).to_have_count(1)
    await expect(tick(grace, "It does")).to_have_attribute("data-state", "delivered")
    for page in (ada, grace):  # what came later is there, so a double of the first would be as well
        await expect(page.get_by_test_id("message")).to_have_count(2)


async def test_a_message_that_nobody_else_gets_is_sent_but_not_delivered(open_page) -> None:
    ada = await open_page("Ada", "alone")
    await expect(ada.get_by_test_id("empty")).to_be_visible()
    await say(ada, "Anybody?")
    await expect(tick(ada, "Anybody?")).to_have_attribute("data-state", "sent")
    await expect(ada.get_by_test_id("empty")).to_be_hidden()


async def test_typing_shows_while_somebody_types(open_page) -> None:
    ada, grace = await two_pages(open_page, "typing")
    await grace.get_by_test_id("text").press_sequentially("hm")
    await expect(ada.get_by_test_id("typing")).to_have_text("Grace is typing")
    await say(grace, "hm, yes")
    await expect(message(ada, "hm, yes")).to_be_visible()
    await expect(ada.get_by_test_id("typing")).to_be_empty()


async def test_an_image_arrives_and_can_be_seen(open_page) -> None:
    ada, grace = await two_pages(open_page, "images")
    picture: FilePayload = {"name": "teal.png", "mimeType": "image/png", "buffer": png(320, 200)}
    await ada.get_by_test_id("file").set_input_files(picture)
    await expect(ada.get_by_test_id("preview")).to_be_visible()
    await say(ada, "Teal")
    image = message(grace, "Teal").get_by_test_id("image")
    await expect(image).to_have_js_property("naturalWidth", 320)
    await expect(image).to_have_js_property("naturalHeight", 200)
    await expect(tick(ada, "Teal")).to_have_attribute("data-state", "delivered")
    await expect(ada.get_by_test_id("preview")).to_be_hidden()


async def test_a_large_image_is_scaled_down_before_it_is_sent(open_page) -> None:
    ada, grace = await two_pages(open_page, "large")
    noise = zlib.compress(bytes(range(256)) * 64, 0)
    picture: FilePayload = {"name": "large.png", "mimeType": "image/png", "buffer": png(3000, 2000) + noise * 60}
    await ada.get_by_test_id("file").set_input_files(picture)
    await expect(ada.get_by_test_id("preview")).to_be_visible()
    await say(ada, "Large")
    await expect(message(grace, "Large").get_by_test_id("image")).to_have_js_property("naturalWidth", 1920)


async def test_html_stays_text(open_page) -> None:
    attack = '<img src="x" onerror="window.hacked=1"><script>window.hacked=1</script>'
    ada, grace = await two_pages(open_page, "attack", second="%3Cb%3EMallory%3C/b%3E")
    await say(grace, attack)
    await expect(message(ada, attack)).to_have_count(1)
    await expect(ada.get_by_test_id("people")).to_contain_text("<b>Mallory</b>")
    for page in (ada, grace):
        assert await page.evaluate("window.hacked") is None
        assert await page.locator("#messages img, #messages script, #people b").count() == 0


async def test_a_reload_keeps_name_room_and_messages(open_page) -> None:
    ada, grace = await two_pages(open_page, "reload")
    await say(ada, "Before")
    await expect(message(grace, "Before")).to_be_visible()
    before = await sid_of(grace)
    await grace.reload()
    await expect(grace.get_by_test_id("people-count")).to_have_text("2", timeout=SLOW_MS)
    await expect(grace.get_by_test_id("my-name")).to_have_text("Grace")
    await expect(grace.get_by_test_id("room-name")).to_have_text("reload")
    await expect(message(grace, "Before")).to_have_count(1)
    assert await sid_of(grace) != before
    await say(grace, "After")
    await expect(message(ada, "After")).to_have_count(1)
    await expect(ada.get_by_test_id("people-count")).to_have_text("2")
    await expect(line(ada, "Grace left")).to_have_count(0)


WATCH_PEOPLE = """
() => {
  window.seen = new Set();
  const look = () => seen.add([...document.querySelectorAll("#people .name")].map((one) => one.textContent).join());
  look();
  new MutationObserver(look).observe(document.getElementById("people"), { childList: true });
}
"""


async def nobody_flickered(ada: Page, grace: Page) -> None:
    """Since WATCH_PEOPLE ran, both were on both lists all the time."""
    assert await ada.evaluate("[...seen]") == ["Ada,Grace"]
    assert await grace.evaluate("[...seen]") == ["Grace,Ada"]
    for page in (ada, grace):
        await expect(line(page, "left")).to_have_count(0)


async def test_three_windows_of_somebody_are_one_person(open_page) -> None:
    ada, first = await two_pages(open_page, "windows")
    more = [await open_page("Grace", "windows") for _ in range(2)]
    for grace in (first, *more):
        await expect(grace.get_by_test_id("person")).to_have_text(
            [re.compile("Grace.*you · 3 windows"), re.compile("Ada")],
            timeout=SLOW_MS,  # windows that `two_pages` closed again linger for some seconds
        )
        await expect(grace.get_by_test_id("people-count")).to_have_text("2")
    await expect(ada.get_by_test_id("person").filter(has_text="Grace")).to_contain_text("3 windows", timeout=SLOW_MS)
    await expect(line(ada, "Grace came in")).to_have_count(1)
    for grace in more:
        await grace.context.close()
    await expect(ada.get_by_test_id("person").filter(has_text="Grace")).not_to_contain_text("windows", timeout=SLOW_MS)
    await expect(line(ada, "Grace left")).to_have_count(0)


async def test_somebody_who_closes_the_page_leaves_the_list(open_page) -> None:
    ada, grace = await two_pages(open_page, "leaving")
    await grace.goto("about:blank")
    await expect(line(ada, "Grace left")).to_have_count(1, timeout=SLOW_MS)
    await expect(ada.get_by_test_id("people-count")).to_have_text("1")


async def test_a_message_in_another_room_is_counted_there(open_page) -> None:
    ada, grace = await two_pages(open_page, "counted")
    await ada.get_by_test_id("room").filter(has_text="random").click()
    await expect(ada.get_by_test_id("room-name")).to_have_text("random")
    await say(grace, "Where are you?")
    await expect(ada.get_by_test_id("room").filter(has_text="counted").get_by_label("1 unread")).to_be_visible()
    await ada.get_by_test_id("room").filter(has_text="counted").click()
    await expect(message(ada, "Where are you?")).to_have_count(1)
    await expect(ada.get_by_label("1 unread")).to_have_count(0)


async def test_a_nickname_is_asked_for_and_must_be_one(open_page, stack: Stack) -> None:
    page = await open_page("x", "names")
    await page.evaluate("sessionStorage.clear()")
    await page.goto(f"{stack.url}/?room=names&name={'n' * 40}")
    await expect(page.get_by_text("A name has 1 to 32 characters")).to_be_visible()
    await page.get_by_test_id("nickname").fill("Hedy \u00a0 Lamarr")
    await page.get_by_test_id("enter").click()
    await expect(page.get_by_test_id("my-name")).to_have_text("Hedy Lamarr")
    await expect(page.get_by_test_id("event")).to_contain_text("Connected to io-node")
    await say(page, "It is me")
    await expect(tick(page, "It is me")).to_have_attribute("data-state", "sent")  # by now it knows who is there
    await expect(page.get_by_test_id("person").filter(has_text="Hedy")).to_have_count(1)


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_the_panel_shows_the_cluster(open_page, transport: str) -> None:
    page = await open_page("Ada", "panel", transport=transport)
    await expect(page.get_by_test_id("transport")).to_have_text(transport)
    await expect(page.get_by_test_id("io-node")).to_have_text(re.compile(r"io\d+"))
    await expect(page.get_by_test_id("app-node")).to_have_text(re.compile(r"app\d+-[0-9a-f]{6}"))
    await expect(page.get_by_test_id("round-trip")).to_have_text(re.compile(r"\d ms"))
    await expect(page.get_by_test_id("io-nodes")).to_have_text("2", timeout=SLOW_MS)


async def test_the_panel_never_counts_too_few_clients(open_page) -> None:
    """It may show none, but no number from before the page was there."""
    first = await open_page("Ada", "counting")
    second = await open_page("Grace", "counting")
    for page, least in ((first, 1), (second, 2)):
        await expect(page.get_by_test_id("clients")).not_to_have_text("\u2013")
        assert int(await page.get_by_test_id("clients").inner_text()) >= least


async def test_polling_becomes_websocket(open_page) -> None:
    page = await open_page("Ada", "upgrade")
    await expect(page.get_by_test_id("transport")).to_have_text("websocket")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_application_restarts_and_nobody_is_disconnected(open_page, stack: Stack, number: int) -> None:
    ada, grace = await two_pages(open_page, f"restart{int(number)}")
    await say(ada, "Before the restart")
    await expect(tick(ada, "Before the restart")).to_have_attribute("data-state", "delivered")
    sids = [await sid_of(page) for page in (ada, grace)]
    app_node = await ada.get_by_test_id("app-node").inner_text()

    await stack.stop_app_node(0, number)
    await say(ada, "While it was away")
    await expect(ada.get_by_test_id("event")).to_contain_text("The application does not answer")
    await expect(tick(ada, "While it was away")).to_have_attribute("data-state", "sending")
    await stack.start_app_node()

    for page in (ada, grace):
        await expect(line(page, "Application restarted, still connected")).to_have_count(1, timeout=SLOW_MS)
        await expect(page.get_by_test_id("event")).to_contain_text("Application restarted, still connected")
        await expect(page.get_by_test_id("app-node")).not_to_have_text(app_node)
    await expect(tick(ada, "While it was away")).to_have_attribute("data-state", "delivered")
    await expect(message(grace, "While it was away")).to_have_count(1)
    await say(grace, "And after it")
    await expect(message(ada, "And after it")).to_have_count(1)
    for page in (ada, grace):
        await expect(page.get_by_test_id("people-count")).to_have_text("2")
        await expect(line(page, "Reconnected")).to_have_count(0)
    assert [await sid_of(page) for page in (ada, grace)] == sids


async def test_an_io_node_goes_and_its_page_comes_back_on_another(open_page, stack: Stack) -> None:
    ada, grace = await two_pages(open_page, "moving")
    left_behind = await io_node(ada)
    index = [node.name for node in stack.io_nodes].index(await io_node(grace))
    for page in (ada, grace):
        await page.evaluate(WATCH_PEOPLE)
    await stack.remove_io_node(index)
    await expect(line(grace, f"Moved to io-node {left_behind}, no messages caught up")).to_have_count(
        1, timeout=SLOW_MS
    )
    await say(ada, "Still there?")
    await expect(message(grace, "Still there?")).to_have_count(1)
    await expect(tick(ada, "Still there?")).to_have_attribute("data-state", "delivered")
    await nobody_flickered(ada, grace)
    await stack.add_io_node()


async def test_an_io_node_is_killed_and_its_page_catches_up(open_page, stack: Stack) -> None:
    ada, grace = await two_pages(open_page, "killed")
    sid, before = await sid_of(grace), await io_node(grace)
    for page in (ada, grace):
        await page.evaluate(WATCH_PEOPLE)
    victim = next(node for node in stack.io_nodes if node.name == before)
    os.kill(victim.pid, signal.SIGKILL)
    for number in range(3):
        await say(ada, f"While you were away {number}")
    moved = re.compile(r"Moved to io-node io\d+, [1-3] messages? caught up")  # it may be back before the last one
    await expect(line(grace, moved)).to_have_count(1, timeout=SLOW_MS)
    for number in range(3):
        await expect(message(grace, f"While you were away {number}")).to_have_count(1)
    assert await sid_of(grace) == sid
    assert await io_node(grace) != before
    await say(grace, "I have it all")
    await expect(message(ada, "I have it all")).to_have_count(1)
    await ada.wait_for_timeout(LINGER_MS)  # what would end her presence would have ended it by now
    await nobody_flickered(ada, grace)
