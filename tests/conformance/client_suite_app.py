"""The application that the tests of the official JavaScript client ask for (its test/support/server.ts).

    PING_INTERVAL_MS=2000 app-node tests/conformance/client_suite_app.py:sio

README.md says how to run that suite.
"""

from datetime import UTC, datetime
from time import time
from typing import Any
from urllib.parse import parse_qsl

from socketio.exceptions import ConnectionRefusedError

import app_node

sio = app_node.get_client()

Environ = dict[str, Any]


def handshake_of(environ: Environ, auth: Any) -> dict[str, Any]:
    """What a JavaScript server calls `socket.handshake`."""
    query = dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
    headers = {
        name.removeprefix("HTTP_").lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("HTTP_") and isinstance(value, str)
    }
    return {
        "headers": headers,
        "time": now(),
        "address": environ.get("REMOTE_ADDR"),
        "xdomain": "origin" in headers,
        "secure": environ.get("wsgi.url_scheme") == "https",
        "issued": int(time() * 1000),
        "url": f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}",
        "query": query,
        "auth": auth or {},
    }


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@sio.event
async def connect(sid: str, environ: Environ, auth: Any) -> None:
    if dict(parse_qsl(environ["QUERY_STRING"])).get("fail"):
        raise ConnectionRefusedError("Auth failed (main namespace)")
    await sio.save_session(sid, {"handshake": handshake_of(environ, auth)})


@sio.on("connect", namespace="/no")
async def refuse(sid: str, environ: Environ, auth: Any) -> None:
    raise ConnectionRefusedError("Auth failed (custom namespace)")


@sio.on("connect", namespace="/abc")
async def tell_handshake(sid: str, environ: Environ, auth: Any) -> None:
    await sio.emit("handshake", handshake_of(environ, auth), to=sid, namespace="/abc")


def accept(namespace: str) -> None:
    @sio.on("connect", namespace=namespace)
    async def connect_to(sid: str, environ: Environ, auth: Any) -> None:
        return None


for plain_namespace in ("/foo", "/timeout_socket", "/valid", "/asd"):
    accept(plain_namespace)


@sio.on("getId", namespace="/foo")
async def get_id_foo(sid: str) -> str:
    return sid


@sio.on("getId")
async def get_id(sid: str) -> str:
    return sid


@sio.event
async def hi(sid: str) -> None:
    await sio.emit("hi", to=sid)


@sio.event
async def echo(sid: str, value: Any) -> tuple[Any, ...]:
    return (value,)


@sio.event
async def ack(sid: str) -> object:
    async def answered(number: Any = None, options: Any = None) -> None:
        if number == 5 and options["test"]:
            await sio.emit("got it", to=sid)

    await sio.emit("ack", to=sid, callback=answered)
    return sio.not_handled  # the suite's server never answers this event, and a test relies on that


@sio.on("getAckDate")
async def get_ack_date(sid: str, data: Any) -> str:
    return now()


@sio.on("getDate")
async def get_date(sid: str) -> None:
    await sio.emit("takeDate", now(), to=sid)


@sio.on("getDateObj")
async def get_date_object(sid: str) -> None:
    await sio.emit("takeDateObj", {"date": now()}, to=sid)


@sio.on("getUtf8")
async def get_utf8(sid: str) -> None:
    for text in ("てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"):
        await sio.emit("takeUtf8", text, to=sid)


@sio.on("false")
async def send_false(sid: str) -> None:
    await sio.emit("false", False, to=sid)


@sio.event
async def doge(sid: str) -> None:
    await sio.emit("doge", b"asdfasdf", to=sid)


@sio.event
async def getbin(sid: str) -> None:
    await sio.emit("takebin", b"asdfasdf", to=sid)


@sio.event
async def buffa(sid: str, data: Any) -> None:
    if isinstance(data, bytes):
        await sio.emit("buffack", to=sid)


@sio.event
async def jsonbuff(sid: str, data: Any) -> None:
    if data["hello"] == "lol" and isinstance(data["message"], bytes) and data["goodbye"] == "gotcha":
        await sio.emit("jsonbuff-ack", to=sid)


@sio.event
async def abuff1(sid: str, data: Any) -> None:
    async with sio.session(sid) as session:
        session["abuff1"] = isinstance(data, bytes)


@sio.event
async def abuff2(sid: str, data: Any) -> None:
    if (await sio.get_session(sid)).get("abuff1"):
        await sio.emit("abuff2-ack", to=sid)


@sio.on("getHandshake")
async def get_handshake(sid: str) -> Any:
    return (await sio.get_session(sid))["handshake"]
