"""Which web pages may connect."""

import pytest

from sio_cluster.testing.http import http_client

from ..serving import serve

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("settings", "origin", "headers", "allowed"),
    [
        ({}, "http://front:8080", {"host": "front:8080"}, True),
        ({}, "http://evil.example", {"host": "front:8080"}, False),
        ({}, "https://front:8080", {"host": "front:8080"}, False),
        ({}, "https://front", {"host": "inner", "x-forwarded-proto": "https", "x-forwarded-host": "front"}, True),
        ({}, "null", {"host": "front"}, False),
        ({"cors_allowed_origins": "http://a.example,http://b.example"}, "http://b.example", {}, True),
        ({"cors_allowed_origins": "http://a.example"}, "http://b.example", {}, False),
        ({"cors_allowed_origins": "http://a.example/"}, "http://a.example", {}, True),
        ({"cors_allowed_origins": "file://"}, "file://", {}, True),
        ({"cors_allowed_origins": "file://,null"}, "null", {}, True),
        ({"cors_allowed_origins": "https://a.example:443"}, "https://a.example", {}, True),
    ],
)
async def test_origins(settings: dict[str, str], origin: str, headers: dict[str, str], allowed: bool) -> None:
    async with serve(**settings) as node, http_client() as client:
        response = await client.get(node.url(), headers={"origin": origin, **headers})
        assert response.status_code == (200 if allowed else 403)
        echoed = response.headers.get("access-control-allow-origin")
        if allowed and settings:
            assert echoed == origin
            assert response.headers["access-control-allow-credentials"] == "true"
            assert response.headers["vary"] == "Origin"
        else:
            assert echoed is None
        if not allowed:
            assert response.json() == {"code": 4, "message": "Forbidden"}
        preflight = await client.options(
            node.url(), headers={"origin": origin, "access-control-request-headers": "x-custom", **headers}
        )
        assert preflight.status_code == (204 if allowed else 403)
        if allowed:
            assert preflight.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
            assert preflight.headers["access-control-allow-headers"] == "x-custom"


async def test_errors_are_readable_across_origins() -> None:
    async with serve(cors_allowed_origins="http://a.example") as node, http_client() as client:
        response = await client.get(node.url("unknown"), headers={"origin": "http://a.example"})
        assert response.status_code == 400
        assert response.headers["access-control-allow-origin"] == "http://a.example"


@pytest.mark.parametrize("credentials", [True, False])
@pytest.mark.parametrize("origins", ["*", "http://a.example,*"])
async def test_any_origin_is_a_star_without_credentials(origins: str, credentials: bool) -> None:
    """Else any page in the world could act with the cookies of its visitor."""
    settings = {"cors_allowed_origins": origins, "cors_credentials": credentials}
    async with serve(**settings) as node, http_client() as client:
        for method in ("GET", "OPTIONS"):
            response = await client.request(method, node.url(), headers={"origin": "http://a.example"})
            assert response.is_success
            assert response.headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in response.headers


async def test_a_list_of_origins_without_credentials() -> None:
    settings = {"cors_allowed_origins": "http://a.example", "cors_credentials": False}
    async with serve(**settings) as node, http_client() as client:
        response = await client.get(node.url(), headers={"origin": "http://a.example"})
        assert response.headers["access-control-allow-origin"] == "http://a.example"
        assert "access-control-allow-credentials" not in response.headers


async def test_a_page_cannot_forge_the_host_that_it_came_from() -> None:
    """The browser asks first, by a preflight that has no forged header."""
    async with serve() as node, http_client() as client:
        headers = {"origin": "http://evil.example", "access-control-request-headers": "x-forwarded-host"}
        assert (await client.options(node.url(), headers=headers)).status_code == 403
