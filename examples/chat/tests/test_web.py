"""The chat's web server: the page, and the headers that protect it."""

import importlib.util
from pathlib import Path

import httpx
import pytest

from sio_cluster.testing.http import http_client


@pytest.fixture
async def web() -> httpx.AsyncClient:
    spec = importlib.util.spec_from_file_location("chat_web", Path(__file__).parents[1] / "web.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return http_client(transport=httpx.ASGITransport(module.app), base_url="http://chat")


@pytest.mark.parametrize("path", ["/", "/chat.js", "/talk.js", "/chat.css", "/icon.svg"])
async def test_the_page_and_its_files_are_served(web: httpx.AsyncClient, path: str) -> None:
    answer = await web.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/app.py", "/../app.py", "/%2e%2e/app.py", "/none"])
async def test_nothing_else_is(web: httpx.AsyncClient, path: str) -> None:
    assert (await web.get(path)).status_code == 404


async def test_the_page_takes_nothing_from_the_net(web: httpx.AsyncClient) -> None:
    page = (await web.get("/")).text + (await web.get("/chat.css")).text
    assert "https://" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "style=" not in page, "the content security policy forbids it"
