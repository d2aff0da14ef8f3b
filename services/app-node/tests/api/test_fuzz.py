"""schemathesis reads the API's own description, and asks a running API all that it allows and forbids."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, assume, given, settings

from app_node.api.keys import VERBS
from sio_cluster.testing.valkey import Valkey
from sio_stack.settings import free_ports

from .conftest import ADMIN, KEYS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

QUESTIONS = ("info", "clients", "count", "presence")


@pytest.fixture(scope="module")
def url(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where an API answers, that has a cluster of its own."""
    keys = tmp_path_factory.mktemp("api") / "keys"
    keys.write_text(KEYS)
    (port,) = free_ports(1)
    env = {"REDIS_URL": valkey.url, "REDIS_PREFIX": f"fuzz{os.getpid()}", "API_PORT": str(port)}
    env["API_MAX_BODY_BYTES"] = "100000000"  # a batch of too many commands is to be refused for its number
    command = Path(sys.executable).with_name("sio-cluster")
    process = subprocess.Popen(
        [command, "api"], env=os.environ | env | {"API_KEYS_FILE": str(keys), "LOG_LEVEL": "warning"}
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not _is_ready(url):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield url
        assert _is_ready(url)
    finally:
        process.terminate()
        process.wait(20)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def description(url: str) -> Any:
    import schemathesis  # not above: each worker imports this file, and one runs it

    return schemathesis.openapi.from_url(f"{url}/openapi.json")


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("verb", [*VERBS, "batch"])
def test_every_request_is_answered_as_described(url: str, description: Any, verb: str, mode: str) -> None:
    """What the description allows is not refused as malformed; what it forbids is; and each answer is one of those that
    it lists."""
    from schemathesis import GenerationMode

    path = f"/api/{verb}"
    operation = description[path]["GET" if verb in QUESTIONS else "POST"]

    @given(case=operation.as_strategy(generation_mode=GenerationMode(mode)))
    @settings(max_examples=settings().max_examples * 2 // 5, deadline=None, suppress_health_check=list(HealthCheck))
    def every(case: Any) -> None:
        if isinstance(case.body, dict) and "idempotency_key" in case.body:
            case.headers.pop("Idempotency-Key", None)  # that both say the same cannot be described
        if "room" in (case.query or {}) and mode == "positive":
            case.query.pop("room_number", None)  # nor that one of both is given
        if mode == "positive":
            (case.query or {}).pop("cursor", None)  # nor that it is from a page of the same room
        if verb == "presence" and mode == "positive":
            assume({"room", "room_number"} & set(case.query or {}))
        assume(all(map(_is_sent, (case.query or {}).values())))
        case.call_and_validate(headers={"X-API-Key": ADMIN}, checks=_checks(), timeout=20)

    every()


def _checks() -> list[Any]:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    return [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
        checks.negative_data_rejection,
        checks.positive_data_acceptance,
        checks.unsupported_method,
        checks.ignored_auth,
    ]


def _is_sent(value: Any) -> bool:
    """Whether a parameter with this value is in the URL at all: nothing, and a list of nothing, are left out."""
    return any(item is not None for item in value) if isinstance(value, list | dict) else value is not None
