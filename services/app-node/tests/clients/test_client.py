"""What an app-node holds of a client: little of one that is quiet, and all that an application keeps with it."""

import copy
import gc
import json
import pickle
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from app_node.clients.client import Client
from app_node.lanes.lane import Lane
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.leases import Lease

LANE = Lane(Lease(0, "app-aaaaaa", 1), 1e9, lambda: 0.0)
BROWSER = [
    ("host", "chat.example.com"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "*/*"), ("accept-language", "en-US,en;q=0.5"), ("accept-encoding", "gzip, deflate, br, zstd"),
    ("origin", "https://chat.example.com"), ("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"),
    ("cookie", "session=0123456789abcdef0123456789abcdef"), ("cache-control", "no-cache"),
]  # fmt: skip


def connected(number: int = 0) -> ClientConnected:
    """As it comes out of a lane: every text an object of its own."""
    handshake = Handshake("GET", "/socket.io/", "EIO=4&transport=websocket", BROWSER, "10.0.0.1", 5)
    fact = ClientConnected(f"io1-k3x9q2.{number:022}", f"c{number}", "/news", b'{"token":"x"}', handshake, "websocket")
    return msgspec.msgpack.decode(msgspec.msgpack.encode(fact), type=ClientConnected)


def client(number: int = 0) -> Client:
    fact = connected(number)
    it = Client(fact.sid, fact.sid.partition(".")[0], LANE)
    it.adopt(fact)
    return it


def test_a_quiet_client_is_small() -> None:
    """Its connect handler has looked at its environ."""
    kept = [client()]  # what is made once
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1000):
            it = client(number)
            assert it.environ["HTTP_HOST"] == "chat.example.com"
            it.settled()
            kept.append(it)
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / 1000
    finally:
        tracemalloc.stop()
    assert each < 1300, f"{each:.0f} bytes"


def test_an_environ_is_built_again_and_equal() -> None:
    it = client()
    first = weakref.ref(it.environ)
    assert first() is None
    assert dict(it.environ) == dict(it.environ)
    assert it.environ["HTTP_COOKIE"].startswith("session=")


def test_an_environ_that_somebody_holds_is_the_same() -> None:
    it = client()
    held = it.environ
    it.settled()
    assert it.environ is held


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "set": lambda environ: environ.__setitem__("user", "Ann"),
    "delete": lambda environ: environ.__delitem__("HTTP_COOKIE"),
    "update": lambda environ: environ.update(user="Ann"),
    "|=": lambda environ: environ.__ior__({"user": "Ann"}),
    "setdefault": lambda environ: environ.setdefault("user", "Ann"),
    "pop": lambda environ: environ.pop("HTTP_COOKIE"),
    "popitem": lambda environ: environ.popitem(),
    "clear": lambda environ: environ.clear(),
    "scope": lambda environ: environ["asgi.scope"].update(user="Ann"),
    "scope by get": lambda environ: environ.get("asgi.scope", {}).update(user="Ann"),
    "scope among values": lambda environ: [
        value.update(user="Ann") for value in environ.values() if type(value) is dict
    ],
    "scope among items": lambda environ: [
        value.update(user="Ann") for _, value in environ.items() if type(value) is dict
    ],
    "scope of a copy": lambda environ: environ.copy()["asgi.scope"].update(user="Ann"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_the_application_keeps_in_an_environ_stays(change: Callable[[dict[str, Any]], object]) -> None:
    it = client()
    untouched = copy.deepcopy({**it.environ, "wsgi.errors": None})
    change(it.environ)
    it.settled()
    gc.collect(1)  # all that is new; everything there is would take half a second
    after = {**it.environ, **({"wsgi.errors": None} if "wsgi.errors" in it.environ else {})}
    assert after != untouched
    assert it.environ is it.environ


def test_an_environ_is_a_dict_for_everybody() -> None:
    environ = client().environ
    del environ["wsgi.errors"]
    copies = [
        copy.copy(environ),
        copy.deepcopy(environ),
        environ.copy(),
        pickle.loads(pickle.dumps(environ)),
        {**environ},
    ]
    assert all(type(one) is dict and one == environ for one in copies)
    assert json.loads(json.dumps(environ, default=str))["HTTP_HOST"] == "chat.example.com"
    assert msgspec.json.decode(msgspec.json.encode(environ))["HTTP_HOST"] == "chat.example.com"


def test_rooms() -> None:
    it = client()
    assert it.rooms == set()
    it.enter("a")
    it.enter("b")
    it.leave("a")
    it.leave("unknown")
    assert it.rooms == {"b"}
    it.leave("b")
    assert it.rooms == set()
