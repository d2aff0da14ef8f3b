"""Socket.IO's own Admin UI in a real browser, on two io-nodes and two app-nodes behind nginx."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from app_node import ClusterServer, get_client
from app_node.interface.remote_client import RemoteClient
from sio_stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

SLOW_MS = 60_000
UNHEALTHY_MS = 90_000
"""An io-node falls silent after some seconds, and ten seconds later the page says so."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(browser: Browser) -> AsyncIterator[Stack]:
    env = {"LEASE_MS": "2000", "ADMIN_USER": "ada", "ADMIN_PASSWORD": "correct horse"}
    async with Stack(io_nodes=2, app_nodes=2, env=env) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sio(stack: Stack) -> AsyncIterator[ClusterServer]:
    """A program that asks Redis what is true."""
    sio = get_client({"REDIS_URL": stack.redis_url})
    yield sio
    await sio.shutdown()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, stack: Stack) -> AsyncIterator[Page]:
    """The Admin UI, before its form is filled in. The test fails if it logs an error, or asks another host for
    anything."""
    problems: list[str] = []
    hosts: set[str] = set()
    context = await browser.new_context(viewport={"width": 1400, "height": 900})
    page = await context.new_page()
    page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.on("websocket", lambda socket: hosts.add(urlsplit(socket.url).netloc))
    await page.goto(f"{stack.url}/admin-ui/")
    yield page
    await context.close()
    assert hosts == {urlsplit(stack.url).netloc}
    assert problems == []


async def log_in(page: Page, stack: Stack, password: str = "correct horse") -> None:
    await page.get_by_label("Server URL").fill(stack.url)
    await page.get_by_label("Username").fill("ada")
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Connect", exact=True).click()


async def admin_of(page: Page, stack: Stack) -> None:
    await log_in(page, stack)
    await expect(form(page)).to_be_hidden(timeout=SLOW_MS)


def form(page: Page) -> Locator:
    return page.get_by_label("Server URL")


def row(page: Page, text: str) -> Locator:
    return page.get_by_role("row").filter(has_text=text)


def cell(page: Page, text: str) -> Locator:
    return page.get_by_role("cell", name=text, exact=True)


async def until(ask: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    """Until this is the answer. Polls: Redis tells nobody."""
    async with asyncio.timeout(SLOW_MS / 1000):
        while await ask() != wanted:
            await asyncio.sleep(0.05)


async def show(page: Page, path: str) -> None:
    await page.evaluate("path => { location.hash = path }", path)


async def client_far_from(sio: ClusterServer, open_page: Any, room: str) -> tuple[Page, RemoteClient]:
    """Somebody in the chat whose io-node is not that of the last administrator."""
    admins = {client.io_node for client in await sio.clients(namespace="/admin")}
    for _ in range(12):
        chat = await open_page("Grace", room)
        sid = await chat.get_by_test_id("io-node").get_attribute("title")
        client = await sio.client(sid)
        assert client is not None
        if client.io_node not in admins:
            return chat, client
        await chat.context.close()
    pytest.fail("all pages came to one io-node")


async def test_a_wrong_password_shows_the_form_again_and_the_right_one_does_not(page: Page, stack: Stack) -> None:
    await log_in(page, stack, "wrong")
    await expect(page.get_by_text("Invalid credentials")).to_be_visible(timeout=SLOW_MS)
    await expect(form(page)).to_be_visible()
    await admin_of(page, stack)
    await page.reload()  # it shows the session that it got
    await expect(page.get_by_text("Namespaces")).to_be_visible(timeout=SLOW_MS)
    await expect(row(page, "/admin")).to_contain_text("1", timeout=SLOW_MS)
    await expect(form(page)).to_be_hidden()


async def test_icons_and_the_font_are_there(page: Page, stack: Stack) -> None:
    await admin_of(page, stack)
    fonts = "async () => { await document.fonts.ready; return [...document.fonts].filter(font => font.status === "
    fonts += '"loaded").map(font => font.family.replaceAll(`"`, "")) }'
    loaded = await page.evaluate(fonts)
    assert {"Roboto", "Material Design Icons"} <= set(loaded)


async def test_all_nodes_are_listed_as_servers(page: Page, stack: Stack) -> None:
    await admin_of(page, stack)
    await show(page, "/servers/")
    for node in (*stack.io_nodes, *stack.app_nodes):
        await expect(row(page, f"{node.name}-")).to_contain_text("Healthy", timeout=SLOW_MS)
        await expect(row(page, f"{node.name}-")).to_contain_text(str(node.pid))


async def test_a_client_appears_and_goes(page: Page, stack: Stack, open_page: Any) -> None:
    await open_page("Ada", "appearing")  # the page begins with a namespace that has clients
    await admin_of(page, stack)
    await show(page, "/sockets/")
    chat = await open_page("Grace", "appearing")
    sid = await chat.get_by_test_id("io-node").get_attribute("title")
    await expect(row(page, sid)).to_be_visible(timeout=SLOW_MS)
    await chat.context.close()
    await expect(row(page, sid)).to_be_hidden(timeout=SLOW_MS)


async def test_orders_reach_a_client_of_another_io_node(
    page: Page, stack: Stack, sio: ClusterServer, open_page: Any
) -> None:
    await open_page("Ada", "orders")
    await admin_of(page, stack)
    _, client = await client_far_from(sio, open_page, "orders")
    await show(page, "/sockets/")
    await expect(row(page, client.sid)).to_be_visible(timeout=SLOW_MS)  # details of who is unknown stay empty
    details = f"/n/{quote('/', safe='')}/sockets/{client.sid}"
    await show(page, details)
    await expect(page.get_by_text("room:orders")).to_be_visible(timeout=SLOW_MS)
    await page.get_by_label("Join a room").fill("vip")
    await page.get_by_label("Join a room").press("Tab")
    await page.get_by_role("main").locator("button[type=submit]").click()
    await expect(cell(page, "vip")).to_be_visible(timeout=SLOW_MS)  # in the details that stayed open
    assert [found.sid for found in await sio.clients("vip")] == [client.sid]
    await row(page, "vip").get_by_role("button").click()  # which leads to the page of the room, too
    await until(lambda: sio.count("vip"), 0)
    await show(page, details)
    await expect(cell(page, "room:orders")).to_be_visible()
    await expect(cell(page, "vip")).to_be_hidden(timeout=SLOW_MS)
    await show(page, "/sockets/")
    await row(page, client.sid).get_by_role("button").click()
    await until(lambda: sio.client(client.sid), None)
    await show(page, "/sockets/")
    await expect(row(page, client.sid)).to_be_hidden(timeout=SLOW_MS)


async def test_events_are_shown(page: Page, stack: Stack, open_page: Any) -> None:
    await open_page("Grace", "talk")
    await admin_of(page, stack)
    await show(page, "/events/")
    await expect(row(page, "pulse").first).to_be_visible(timeout=SLOW_MS)


async def test_a_killed_io_node_turns_unhealthy(page: Page, stack: Stack) -> None:
    await admin_of(page, stack)
    await show(page, "/servers/")
    victim = stack.io_nodes[0]
    old = str(victim.pid)
    await expect(row(page, old)).to_contain_text("Healthy", timeout=SLOW_MS)
    os.kill(victim.pid, signal.SIGKILL)
    await expect(row(page, old)).to_contain_text("Unhealthy", timeout=UNHEALTHY_MS)
