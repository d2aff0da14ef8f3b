"""Which handler an event of a client reaches, and with which arguments."""

from typing import Any

import pytest
import socketio
from socketio.async_namespace import AsyncNamespace

from app_node.handlers.application import Application


def application(server: Any) -> Application:
    return Application(server, socketio.exceptions.ConnectionRefusedError, AsyncNamespace.trigger_event)


def any_event(*args: Any) -> Any:
    return args


@pytest.mark.parametrize(("namespace", "leading"), [("/", ("*",)), ("*", ("*", "/"))])
def test_an_event_with_the_name_of_the_catch_all_comes_with_its_name(namespace: str, leading: tuple[str, ...]) -> None:
    """Without its name, the catch-all would take the first argument for the sid: a client could give itself any."""
    server = socketio.AsyncServer(async_mode="asgi", namespaces="*")
    server.on("*", any_event, namespace=namespace)
    found = application(server).event("/", "sid-of-the-client", "*", ["sid-of-another"], redelivered=False)
    assert found is not None
    handler, args, _, _ = found
    assert handler(*args) == (*leading, "sid-of-the-client", "sid-of-another")
