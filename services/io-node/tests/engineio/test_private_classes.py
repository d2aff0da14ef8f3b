"""What the io-node takes from private classes of picows and uvicorn is still there.

When this fails, an upgrade has changed them. Read what has changed, adapt those who use it
(`engineio/websocket/`, `engineio/http/protocol.py`, `listener.py`), and move the range in
services/io-node/pyproject.toml.
"""

import asyncio
import inspect
import socket
from typing import Any

import pytest
import uvicorn
from picows.picows import WSFrame, WSListener, WSProtocol, WSTransport  # type: ignore[attr-defined]  # not in its stubs
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from io_node.engineio.http.protocol import EngineHttpProtocol
from io_node.engineio.websocket.parser import Parser


def parameters(function: object) -> list[str]:
    assert callable(function)
    return list(inspect.signature(function).parameters)


def missing(owner: object, names: str) -> list[str]:
    return [name for name in names.split() if not hasattr(owner, name)]


async def test_arguments_of_picows_protocol() -> None:
    """Cython tells no signature. Too many, too few or renamed arguments are a TypeError."""
    Parser(1_000)
    with pytest.raises(TypeError, match="exactly 15 positional arguments"):
        WSProtocol()


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (WSProtocol, "connection_made get_buffer buffer_updated"),
        (WSProtocol, "transport listener"),
        (WSTransport, "close_handshake is_close_frame_sent"),
        (WSListener, "on_ws_connected on_ws_frame"),
        (WSFrame, "msg_type fin rsv1 rsv2 rsv3 payload_size tail_size"),
        (WSFrame, "get_payload_as_bytes get_payload_as_memoryview get_payload_as_utf8_text"),
    ],
)
def test_members_of_picows(owner: type, names: str) -> None:
    assert missing(owner, names) == []


def test_arguments_of_uvicorns_protocol() -> None:
    assert parameters(HttpToolsProtocol.__init__) == ["self", "config", "server_state", "app_state", "_loop"]
    assert parameters(EngineHttpProtocol.__init__) == [
        "self",
        "admission",
        "config",
        "server_state",
        "app_state",
        "_loop",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "connection_made",
        "connection_lost",
        "data_received",
        "pause_writing",
        "resume_writing",
        "on_message_begin",
        "on_headers_complete",
        "on_message_complete",
        "_should_upgrade_to_ws",
        "handle_websocket_upgrade",
        "send_400_response",
    ],
)
def test_methods_that_override_those_of_uvicorn(name: str) -> None:
    theirs = getattr(HttpToolsProtocol, name, None)
    assert theirs is not None, f"uvicorn's HttpToolsProtocol has no {name} any more"
    assert parameters(getattr(EngineHttpProtocol, name)) == parameters(theirs)


async def test_attributes_of_uvicorns_protocol() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(app, log_level="warning")
    config.load()
    protocol = HttpToolsProtocol(config, ServerState(), {})
    ours, theirs = socket.socketpair()
    with theirs:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, ours)
        theirs.setblocking(False)
        theirs.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.get_running_loop().sock_recv(theirs, 1_000)
        assert missing(protocol, "config connections url headers root_path scope client cycle transport flow") == []
        assert missing(protocol.flow, "read_paused write_paused resume_reading") == []
        assert missing(protocol.cycle, "response_started response_complete disconnected message_event") == []
        transport.close()
    assert STATUS_LINE[404].startswith(b"HTTP/1.1 404 ")


def test_methods_of_uvicorns_server() -> None:
    assert parameters(uvicorn.Server.startup) == ["self", "sockets"]
    assert parameters(uvicorn.Server.capture_signals) == ["self"]
    assert parameters(uvicorn.Server.main_loop) == ["self"]
    assert parameters(uvicorn.Server.on_tick) == ["self", "counter"]
