"""`Emitter` against a real Valkey: threads, forks, event loops that run already, processes that end at once."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from socketio import exceptions

from app_node import Emitter
from sio_cluster.protocol.errors import BusUnavailable, ConfigError, NodesTooOld
from sio_cluster.protocol.messages import SERVER_LEVEL, CloseRoom, DisconnectMany, Emit, JoinMany, LeaveMany
from sio_cluster.testing.configs import config_of
from sio_cluster.testing.valkey import Valkey, start_valkey

from .conftest import Ear


@pytest.fixture
def sio(ear: Ear) -> Iterator[Emitter]:
    with Emitter(ear.config) as sio:
        yield sio


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """One that a test may stop."""
    with start_valkey() as server:
        yield server


def at(server: Valkey) -> Ear:
    ear = Ear(config_of(REDIS_URL=server.url))
    ear.register()
    return ear


def test_says_what_the_asynchronous_server_says(ear: Ear, sio: Emitter) -> None:
    sio.emit("news", {"n": 1})
    sio.emit("news", ("a", "b"), room=["x", 7], skip_sid=ear.sid, namespace="/chat")
    sio.emit("image", b"\xff", to=ear.sid)
    sio.emit("nobody", room=[])
    sio.leave_room(ear.sid, "x")
    sio.close_room("x", namespace="/chat")
    sio.disconnect(ear.sid)  # nobody of that sid is connected
    commands = ear.commands()
    emits = [command for command in commands if isinstance(command, Emit)]
    assert [emit.packet.decode() for emit in emits] == [
        '2["news",{"n":1}]',
        '2/chat,["news","a","b"]',
        '51-["image",{"_placeholder":true,"num":0}]',
    ]
    assert (emits[1].to, emits[1].skip, emits[1].namespace) == (["x", 7], [ear.sid], "/chat")
    assert emits[2].attachments == [b"\xff"]
    assert [type(command) for command in commands if not isinstance(command, Emit)] == [CloseRoom]


def test_an_emit_says_who_is_left_out_and_what_is_out_of_date_soon(ear: Ear, sio: Emitter) -> None:
    sio.emit("moved", 1, room=["a", 7], except_room=["b", ear.sid], volatile=True)
    [emit] = ear.commands()
    assert isinstance(emit, Emit)
    assert (emit.to, emit.except_rooms, emit.skip, emit.volatile) == (["a", 7], ["b"], [ear.sid], True)


def test_selections(ear: Ear, sio: Emitter) -> None:
    one, two, three = ear.let_in("a"), ear.let_in("a", "b"), ear.let_in("b")
    sio.enter_rooms(["new", 7], room=["a", three], except_room=two)
    sio.leave_rooms("new", room="b")
    sio.disconnect_room("new", close=True, except_room=three)
    joined, left, disconnected = ear.commands()
    assert isinstance(joined, JoinMany)
    assert (set(joined.sids), joined.rooms) == ({one, three}, ["new", 7])
    assert isinstance(left, LeaveMany)
    assert (set(left.sids), left.rooms) == ({two, three}, ["new"])
    assert disconnected == DisconnectMany([one], close=True)


def test_what_an_older_node_does_not_know_is_not_said(ear: Ear, sio: Emitter) -> None:
    ear.register(SERVER_LEVEL - 1)
    sid = ear.let_in("a")
    for attempt in (
        lambda: sio.enter_rooms("b"),
        lambda: sio.leave_rooms("a", room="a"),
        lambda: sio.disconnect_room("a"),
        lambda: sio.emit("news", except_room="a"),
    ):
        with pytest.raises(NodesTooOld):
            attempt()
    sio.emit("news", except_room=sid)
    [emit] = ear.commands()
    assert isinstance(emit, Emit)
    assert emit.skip == [sid]


def test_its_errors_are_those_of_the_server(ear: Ear, sio: Emitter) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        sio.emit("news", object())
    with pytest.raises(TypeError, match="a room is a str or an int"):
        sio.emit("news", room=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="binary values"):
        sio.emit("news", [b""] * 11)
    with pytest.raises(ValueError, match="sid is not connected"):
        sio.enter_room("nobody", "x")
    with pytest.raises(KeyError):
        sio.enter_room(ear.sid, "x")
    with pytest.raises(ValueError, match="cannot enter a sid room"):
        sio.enter_rooms(ear.sid)
    with pytest.raises(TypeError, match="a room is a str or an int"):
        sio.disconnect_room("x", except_room=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot close a sid room"):
        sio.close_room(ear.sid)
    with pytest.raises(ValueError, match="a sid room"):
        sio.presence(ear.sid)
    with pytest.raises(ValueError, match="to broadcast"):
        sio.call("news")
    with pytest.raises(exceptions.TimeoutError):
        sio.call("news", sid=ear.sid, timeout=0.05)
    with pytest.raises(ConfigError, match="LANES"):
        Emitter({"LANES": "many"})
    with pytest.raises(ValueError, match="timeout"):
        Emitter(timeout=0)


def test_reads_who_is_present(ear: Ear, sio: Emitter) -> None:
    lobby = sio.presence("lobby")
    assert lobby.list() == {}
    ear.show("lobby", "ada")
    ear.show("lobby", "ada")
    ear.show(7, "grace")
    [(key, shown)] = lobby.list().items()
    assert (key, [meta["tab"] for meta in shown["metas"]]) == ("ada", [1, 1])
    assert list(sio.presence(7).list()) == ["grace"]
    assert sio.presence("lobby", "/shop").list() == {}


def test_does_no_io_before_the_first_command() -> None:
    threads = threading.active_count()
    sio = Emitter(config_of(REDIS_URL="redis://127.0.0.1:1/0"))
    sio.close()
    assert threading.active_count() == threads


def test_a_redis_that_refuses_us_is_said_at_once(ear: Ear, valkey: Valkey) -> None:
    with Emitter(config_of(REDIS_URL=f"redis://node:wrong@127.0.0.1:{valkey.port}/0")) as sio:
        with pytest.raises(ConfigError, match="REDIS_PASSWORD"):
            sio.emit("news")
        with pytest.raises(ConfigError, match="REDIS_PASSWORD"):
            sio.emit("news")


def test_many_threads_share_one_emitter_and_each_keeps_its_order(ear: Ear, sio: Emitter) -> None:
    def say(thread: int) -> None:
        for number in range(50):
            sio.emit(f"t{thread}", number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(say, range(8)))
    packets = ear.packets()
    assert len(packets) == 400
    for thread in range(8):
        mine = [packet for packet in packets if packet.startswith(f'2["t{thread}",')]
        assert mine == [f'2["t{thread}",{number}]' for number in range(50)]


def test_where_an_event_loop_runs_already(ear: Ear, sio: Emitter) -> None:
    async def handler() -> None:
        sio.emit("inside")

    asyncio.run(handler())
    assert ear.packets() == ['2["inside"]']


def test_it_can_be_closed_and_used_again(ear: Ear, sio: Emitter) -> None:
    sio.emit("one")
    sio.close()
    sio.close()
    sio.emit("two")
    assert ear.packets() == ['2["one"]', '2["two"]']


def test_it_leaves_nothing_behind(ear: Ear) -> None:
    with Emitter(ear.config) as sio:
        sio.emit("first")  # makes the inbox
    before, threads, files = ear.keys(), threading.active_count(), len(os.listdir("/dev/fd"))
    for _ in range(10):
        with Emitter(ear.config) as sio:
            sio.emit("news")
            with pytest.raises(exceptions.TimeoutError):
                sio.call("news", sid=ear.sid, timeout=0.001)
    forgotten = Emitter(ear.config)
    forgotten.emit("news")
    del forgotten
    gc.collect()
    after = ear.keys()
    assert {name.rsplit(":", 1)[-1] for name in after.keys() - before.keys()} <= {"epoch"}
    assert {name: after[name] for name in before} == before
    assert threading.active_count() == threads
    assert len(os.listdir("/dev/fd")) == files


# --- Redis is away


@pytest.mark.slow
def test_gives_up_in_time_and_takes_back_what_had_not_left(own_valkey: Valkey) -> None:
    ear = at(own_valkey)
    with Emitter(ear.config, timeout=0.5) as sio:
        sio.emit("before")
        own_valkey.pause()
        for number in range(3):
            began = time.monotonic()
            with pytest.raises(BusUnavailable, match=r"0\.5 s"):
                sio.emit("late", number)
            assert time.monotonic() - began < 2
        own_valkey.resume()
        while True:  # the connection may be given up just now
            try:
                sio.emit("after")
                break
            except BusUnavailable:
                continue
    packets = ear.packets()
    assert packets[0] == '2["before"]'
    assert '2["after"]' in packets
    assert packets.count('2["late",1]') == packets.count('2["late",2]') == 0  # the first was on its way


def test_changes_of_rooms_go_on_when_redis_is_back(own_valkey: Valkey) -> None:
    ear = at(own_valkey)
    with Emitter(ear.config, timeout=0.5) as sio:
        sio.emit("before")
        own_valkey.pause()
        with pytest.raises(BusUnavailable):
            sio.close_room("lobby")
        own_valkey.resume()
        deadline = time.monotonic() + 10
        while not any(isinstance(command, CloseRoom) for command in ear.commands()):
            assert time.monotonic() < deadline


def test_no_redis_at_all(ear: Ear) -> None:
    with Emitter(config_of(REDIS_URL="redis://127.0.0.1:1/0"), timeout=0.2) as sio:
        began = time.monotonic()
        with pytest.raises(BusUnavailable):
            sio.emit("news")
        assert time.monotonic() - began < 2


# --- processes


def in_another_process(code: str, ear: Ear, url: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {"REDIS_URL": url or str(ear.config.redis_url), "REDIS_PREFIX": ear.config.redis_prefix}
    return subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code],
        env=os.environ | env | {"LOG_LEVEL": "warning"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.slow
def test_a_process_that_ends_at_once_has_said_it_and_leaves_nothing_behind(ear: Ear) -> None:
    code = "import app_node; sio = app_node.Emitter(); sio.emit('bye')"
    done = in_another_process(code, ear)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert ear.packets() == ['2["bye"]']
    [state] = [fields for name, fields in ear.keys().items() if name.endswith("inbox:state")]
    assert state == {"bytes"}


@pytest.mark.ci_only
@pytest.mark.slow
def test_a_process_whose_redis_died_ends_all_the_same(own_valkey: Valkey) -> None:
    ear = at(own_valkey)
    code = (
        "import app_node, os, signal; sio = app_node.Emitter(timeout=1); sio.emit('bye');"
        f"os.kill({own_valkey.pid}, signal.SIGKILL)"
    )
    done = in_another_process(code, ear, f"redis://localhost:{own_valkey.port}/0")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


BATCHES = """
import asyncio, itertools, app_node

async def main():
    sio = app_node.get_client()
    numbers = itertools.count()
    while True:
        await asyncio.gather(*[sio.emit("n", next(numbers)) for _ in range(50)])

asyncio.run(main())
"""
ONE_BY_ONE = """
import itertools, app_node
sio = app_node.Emitter()
for number in itertools.count():
    sio.emit("n", number)
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("code", [BATCHES, ONE_BY_ONE], ids=["batches", "one by one"])
@pytest.mark.parametrize("times", [1, pytest.param(4, marks=pytest.mark.ci_only)])
def test_a_sender_that_is_killed_has_sent_all_up_to_some_emit(ear: Ear, code: str, times: int) -> None:
    env = {"REDIS_URL": str(ear.config.redis_url), "REDIS_PREFIX": ear.config.redis_prefix}
    for _ in range(times):
        before = len(ear.packets())
        sender = subprocess.Popen([sys.executable, "-c", code], env=os.environ | env)
        try:
            while len(ear.packets()) < before + 100:
                assert sender.poll() is None
                time.sleep(0.02)  # the sender needs the processor, and Redis does
        finally:
            sender.kill()  # SIGKILL, in the midst of what it does
            sender.wait()
        heard = ear.packets()[before:]
        assert heard == [f'2["n",{number}]' for number in range(len(heard))]


FORK = """
import os, sys, app_node
sio = app_node.Emitter()
sio.emit("parent", 1)
for number in range(3):
    pid = os.fork()
    if not pid:
        sio.emit("child", number)
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    sio.emit("parent", number + 2)
"""


@pytest.mark.slow
def test_after_a_fork_both_processes_emit(ear: Ear) -> None:
    done = in_another_process(FORK, ear)
    assert done.returncode == 0, done.stderr
    said = [("parent", 1), ("child", 0), ("parent", 2), ("child", 1), ("parent", 3), ("child", 2), ("parent", 4)]
    assert ear.packets() == [f'2["{who}",{number}]' for who, number in said]


POOL = """
import multiprocessing, threading, app_node
sio = app_node.Emitter()

def work(number):
    sio.emit("work", number)
    return number

if __name__ == "__main__":
    stop = threading.Event()
    def chatter():
        while not stop.is_set():
            sio.emit("chatter")
    thread = threading.Thread(target=chatter)
    thread.start()
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(work, range(40)) == list(range(40))
    stop.set()
    thread.join()
"""


@pytest.mark.ci_only
@pytest.mark.slow
def test_a_pool_of_processes_forked_while_another_thread_emits(ear: Ear) -> None:
    done = in_another_process(POOL, ear)
    assert done.returncode == 0, done.stderr
    work = sorted(packet for packet in ear.packets() if "work" in packet)
    assert work == sorted(f'2["work",{number}]' for number in range(40))
