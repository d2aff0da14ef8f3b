"""Who may use the Admin UI, and until when; over the fakes and over Valkey."""

import json
import time
from typing import Any

import pytest

from app_node.admin.guesses import AT_ONCE
from sio_cluster.protocol.messages import (
    Disconnect,
    DisconnectMany,
    Emit,
    Refuse,
)

from .watching import PASSWORD, heard, instrumented, named, refusal, said

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "auth", [None, {}, {"username": "ada"}, {**PASSWORD, "password": "wrong"}, {"sessionId": "x" * 32}, "text", 3]
)
async def test_strangers_are_refused_in_the_words_for_which_the_page_shows_its_form(stage: Any, auth: Any) -> None:
    sio, io = instrumented(stage), await stage.io_node()
    await sio.start()
    assert await refusal(io, auth) == {"message": "invalid credentials"}
    assert said(io) == []


async def test_the_password_lets_in_and_the_session_does_so_later_on_every_app_node(stage: Any) -> None:
    sio, io = instrumented(stage), await stage.io_node()
    await sio.start()
    ada = await io.connect("/admin", PASSWORD)
    [[session]] = await heard(io, "session", sid=ada)
    again = await io.connect("/admin", {"sessionId": session})
    assert named(io, "session", again) == []
    await sio.shutdown()
    other = instrumented(stage)
    await other.start()
    await io.connect("/admin", {"sessionId": session})
    assert session not in json.dumps([repr(command) for command in io.commands if not isinstance(command, Emit)])


async def test_a_session_ends_with_the_password_that_it_was_given_for(stage: Any) -> None:
    sio, io = instrumented(stage), await stage.io_node()
    await sio.start()
    await io.connect("/admin", PASSWORD)
    [[session]] = await heard(io, "session")
    await sio.shutdown()
    changed = instrumented(stage, auth={**PASSWORD, "password": "another"})
    await changed.start()
    await io.ask("/admin", {"sessionId": session})
    [refused] = await io.wait(1, Refuse)
    assert json.loads(refused.data) == {"message": "invalid credentials"}


@pytest.mark.parametrize("auth", [{**PASSWORD, "password": "another"}, [PASSWORD, {"password": "more"}]])
async def test_who_came_in_by_another_password_gives_no_orders_and_hears_nothing(stage: Any, auth: Any) -> None:
    """A connection outlasts the app-nodes that knew the former password."""
    sio, io = instrumented(stage, mode="development"), await stage.io_node()
    await sio.start()
    ada, bob = await io.connect("/admin", PASSWORD), await io.connect()
    await heard(io, "server_stats", sid=ada)
    await sio.shutdown()
    io.commands.clear()
    changed = instrumented(stage, mode="development", auth=auth)
    await changed.start()
    await io.event(ada, "_disconnect", "/", False, bob)
    assert await io.wait(1, Disconnect) == [Disconnect(ada)]
    await io.settle()
    assert not [command for command in io.commands if isinstance(command, DisconnectMany)]
    assert said(io, ada) == []


async def test_who_came_in_by_another_password_and_only_watches_is_sent_away(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage), await memory_stage.io_node()
    await sio.start()
    ada = await io.connect("/admin", PASSWORD)
    await heard(io, "server_stats", sid=ada)
    await sio.shutdown()
    io.commands.clear()
    changed = instrumented(memory_stage, auth=lambda auth: True)
    await changed.start()
    assert await io.wait(1, Disconnect) == [Disconnect(ada)]
    assert said(io, ada) == []


async def test_of_many_who_came_in_by_another_password_each_is_sent_away(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those behind the first ones, who are told nothing, too; and those whose password counts are passed over."""
    monkeypatch.setattr("app_node.admin.rounds.MOST_WATCHERS", 3)
    both = [PASSWORD, {"username": "eve", "password": "old"}]
    sio, io = instrumented(stage, auth=False), await stage.io_node()
    await sio.start()
    former = {await io.connect("/admin") for _ in range(8)}
    await sio.shutdown()
    changed = instrumented(stage, auth=both)
    await changed.start()
    present = {await io.connect("/admin", both[number % 2]) for number in range(8)}
    await io.until(lambda: {gone.sid for gone in io.commands if isinstance(gone, Disconnect)} >= former)
    assert {gone.sid for gone in io.commands if isinstance(gone, Disconnect)}.isdisjoint(present)


async def test_who_came_in_by_the_same_password_gives_orders_to_the_next_app_node(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage), await memory_stage.io_node()
    await sio.start()
    ada, bob = await io.connect("/admin", PASSWORD), await io.connect()
    await sio.shutdown()
    other = instrumented(memory_stage)
    await other.start()
    await io.event(ada, "_disconnect", "/", False, bob)
    assert await io.wait(1, DisconnectMany) == [DisconnectMany([bob], False)]


async def test_who_came_in_where_nobody_asked_for_a_password_is_sent_away(memory_stage: Any) -> None:
    """By an app-node that has no Admin UI, or not yet, and takes all namespaces."""
    former, io = memory_stage.echo_server(namespaces="*"), await memory_stage.io_node()
    await former.start()
    eve, bob = await io.connect("/admin"), await io.connect()
    await former.shutdown()
    sio = instrumented(memory_stage)
    await sio.start()
    await io.event(eve, "_disconnect", "/", False, bob)
    assert await io.wait(1, Disconnect) == [Disconnect(eve)]
    await io.settle()
    assert not [command for command in io.commands if isinstance(command, DisconnectMany)]
    assert said(io) == []


async def test_the_application_cannot_open_the_door_by_mistake(memory_stage: Any) -> None:
    sio = memory_stage.echo_server()
    sio.on("connect", lambda sid, environ: None, namespace="/admin")
    with pytest.raises(ValueError, match="/admin has handlers"):
        sio.instrument(auth=PASSWORD)
    sio = instrumented(memory_stage)
    sio.on("connect", lambda sid, environ: None, namespace="/admin")
    with pytest.raises(ValueError, match="another connect handler"):
        await sio.start()


async def test_a_function_decides(stage: Any) -> None:
    async def check(auth: Any) -> bool:
        return bool(auth["password"] == "even")

    sio, io = instrumented(stage, auth=check, namespace="/control"), await stage.io_node()
    await sio.start()
    assert await refusal(io, {"password": "odd"}, "/control") == {"message": "invalid credentials"}
    await io.connect("/control", {"password": "even"})


async def test_a_password_is_not_guessed_by_trying_many(memory_stage: Any) -> None:
    """Each attempt is a connection of its own, and all come at once. Who has a session comes in all the same."""
    compared: list[Any] = []

    async def check(auth: Any) -> bool:
        compared.append(auth)
        return bool(auth["password"] == "right")

    sio, io = instrumented(memory_stage, auth=check), await memory_stage.io_node()
    await sio.start()
    ada = await io.connect("/admin", {"password": "right"})
    [[session]] = await heard(io, "session", sid=ada)
    compared.clear()
    for number in range(3 * AT_ONCE):
        await io.ask("/admin", {"password": number})
    refused = await io.wait(3 * AT_ONCE, Refuse)
    assert {refuse.data for refuse in refused} == {b'{"message":"invalid credentials"}'}
    assert len(compared) == AT_ONCE
    await io.ask("/admin", {"password": "right"})
    await io.wait(3 * AT_ONCE + 1, Refuse)
    await io.connect("/admin", {"sessionId": session})


async def test_a_function_is_not_asked_about_a_session(memory_stage: Any) -> None:
    """It expects what the form sends. An error of it would not show the form again."""
    sio, io = instrumented(memory_stage, auth=lambda auth: auth["password"] == "right"), await memory_stage.io_node()
    await sio.start()
    assert await refusal(io, {"sessionId": "of the day before yesterday"}) == {"message": "invalid credentials"}


async def test_who_came_in_by_a_function_is_sent_away_after_a_day(
    memory_stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function might say no now."""
    sio, io = instrumented(memory_stage, auth=lambda auth: True), await memory_stage.io_node()
    await sio.start()
    ada = await io.connect("/admin", PASSWORD)
    await heard(io, "server_stats", 2, sid=ada)
    assert Disconnect(ada) not in io.commands
    now = time.time()
    monkeypatch.setattr("app_node.admin.doorway.time", lambda: now + 86_401)
    await io.until(lambda: Disconnect(ada) in io.commands)


async def test_who_came_in_by_a_password_stays_as_long_as_it_counts(
    memory_stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sio, io = instrumented(memory_stage), await memory_stage.io_node()
    await sio.start()
    ada = await io.connect("/admin", PASSWORD)
    now = time.time()
    monkeypatch.setattr("app_node.admin.doorway.time", lambda: now + 10 * 86_401)
    await heard(io, "server_stats", len(named(io, "server_stats")) + 3, sid=ada)
    assert Disconnect(ada) not in io.commands


async def test_without_auth_everybody_comes_in_and_nobody_needs_a_session(stage: Any) -> None:
    sio, io = instrumented(stage, auth=False), await stage.io_node()
    await sio.start()
    ada = await io.connect("/admin", {"sessionId": None})
    await heard(io, "config", sid=ada)
    assert named(io, "session") == []


def test_what_instrument_refuses(memory_stage: Any) -> None:
    sio = memory_stage.server()
    with pytest.raises(ValueError, match="auth must be given"):
        sio.instrument()
    with pytest.raises(ValueError, match="mode"):
        sio.instrument(auth=False, mode="debug")
    with pytest.raises(ValueError, match="namespace"):
        sio.instrument(auth=False, namespace="/")
    with pytest.raises(ValueError, match="interval"):
        sio.instrument(auth=False, server_stats_interval=0)
    sio.instrument(auth=False)
    with pytest.raises(RuntimeError, match="before"):
        sio.instrument(auth=False)
