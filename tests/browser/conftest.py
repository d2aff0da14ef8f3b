"""A cluster of two io-nodes with the chat, and Chromium to use it with."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Playwright, async_playwright, expect

from sio_stack import Stack

CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]

OpenPage = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        path = chromium_path(playwright)
        if path is None:
            message = "no Chromium: install one, or set CHROMIUM to its path, or run `playwright install chromium`"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            pytest.skip(message)
        browser = await playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        await browser.close()


def chromium_path(playwright: Playwright) -> str | None:
    candidates = [os.environ.get("CHROMIUM"), *PLACES, playwright.chromium.executable_path]
    return next((path for path in candidates if path and Path(path).exists()), None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(browser: Browser) -> AsyncIterator[Stack]:
    async with Stack(io_nodes=2, app_nodes=1, env={"LEASE_MS": "2000"}) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(browser: Browser, stack: Stack) -> AsyncIterator[OpenPage]:
    """Opens a page of its own browser profile, connected. The test fails if one of them logs an error."""
    problems: list[str] = []
    pages: list[Page] = []

    async def open_one(name: str, room: str, **query: str) -> Page:
        context = await browser.new_context(viewport={"width": 1280, "height": 800})
        page = await context.new_page()
        page.on("console", lambda line: problems.append(f"{name}: {line.text}") if line.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(f"{name}: {error}"))
        asked = "&".join(f"{key}={value}" for key, value in {"name": name, "room": room, **query}.items())
        await page.goto(f"{stack.url}/?{asked}")
        await expect(page.get_by_test_id("event")).to_contain_text("Connected to io-node", timeout=15_000)
        pages.append(page)
        return page

    yield open_one
    for page in pages:
        await page.context.close()
    assert problems == []
