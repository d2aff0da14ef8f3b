"""The page of the Admin UI: it is served where ADMIN_UI_DIR says so, and loads nothing from other hosts."""

import re
from pathlib import Path

import pytest

from io_node.admin_ui import AdminUi
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ConfigError
from sio_cluster.streams.memory import MemoryBroker
from sio_cluster.testing.http import http_client

from .tiny_app import FAST, serving

INSTALLED = Path(__file__).parents[3] / "node_modules"

PAGE = (
    '<html><link rel="icon" href="favicon.png">'
    '<link rel="stylesheet" href="https://fonts.example/css?family=Roboto:100,300">'
    '<link rel="stylesheet" href="https://cdn.example/icons@latest/icons.css">'
    '<link href="css/app.1.css" rel="stylesheet"><script src="js/app.1.js"></script></html>'
)


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    for name, text in {
        "@socket.io/admin-ui/ui/dist/index.html": PAGE,
        "@socket.io/admin-ui/ui/dist/js/app.1.js": "/* app */",
        "@socket.io/admin-ui/ui/dist/js/app.1.js.map": "{}",
        "@socket.io/admin-ui/package.json": "{}",
        "@fontsource/roboto/300.css": "@font-face{}",
        "@fontsource/roboto/files/roboto-latin-300-normal.woff2": "font",
        "@mdi/font/css/materialdesignicons.min.css": "icons",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.slow
async def test_the_page_and_its_files(modules: Path) -> None:
    async with (
        serving(Config(FAST, ADMIN_UI_DIR=modules), MemoryBroker()) as world,
        http_client(base_url=world.url) as http,
    ):
        page = await http.get("/admin-ui/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "connect-src 'self'" in policy
        assert '<script src="js/app.1.js">' in page.text
        script = await http.get("/admin-ui/js/app.1.js")
        assert (script.text, script.headers["content-type"]) == ("/* app */", "text/javascript; charset=utf-8")
        again = await http.get("/admin-ui/js/app.1.js", headers={"If-None-Match": script.headers["etag"]})
        assert again.status_code == 304
        assert (await http.get("/admin-ui/roboto/files/roboto-latin-300-normal.woff2")).text == "font"
        moved = await http.get("/admin-ui")
        assert (moved.status_code, moved.headers["location"]) == (307, "/admin-ui/")
        for name in ("js/app.1.js.map", "..%2f..%2fpackage.json", "%2e%2e/package.json", "nothing"):
            assert (await http.get(f"/admin-ui/{name}")).status_code == 404


@pytest.mark.slow
async def test_by_default_there_is_no_such_page() -> None:
    async with serving(Config(FAST), MemoryBroker()) as world, http_client(base_url=world.url) as http:
        for path in ("/admin-ui", "/admin-ui/", "/admin-ui/index.html"):
            assert (await http.get(path)).status_code == 404


def test_the_page_links_to_no_other_host(modules: Path) -> None:
    found = AdminUi(modules).get("")
    assert found is not None
    page = found.content.decode()
    assert "https://" not in page
    assert (
        page.index("roboto/300.css") < page.index("mdi/css/materialdesignicons.min.css") < page.index("css/app.1.css")
    )


def test_all_that_the_installed_page_links_to_is_there() -> None:
    admin_ui = AdminUi(INSTALLED)
    page = admin_ui.get("")
    assert page is not None
    links = re.findall(r'(?:href|src)="([^"]*)"', page.content.decode())
    assert len(links) > 10
    assert not [link for link in links if admin_ui.get(link) is None]
    icons = admin_ui.get("mdi/css/materialdesignicons.min.css")
    assert icons is not None
    fonts = re.findall(r"url\(\"?(?:\.\./)(fonts/[^?\")]*woff2)", icons.content.decode())
    assert fonts
    assert all(admin_ui.get(f"mdi/{font}") for font in fonts)


def test_a_missing_package_is_named(modules: Path) -> None:
    (modules / "@mdi").rename(modules / "moved")
    with pytest.raises(ConfigError, match=r"ADMIN_UI_DIR: .* has no @mdi/font: run `npm install @mdi/font`"):
        AdminUi(modules)
