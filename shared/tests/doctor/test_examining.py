"""The doctor's questions to a real Valkey, and `sio-cluster doctor` as its user sees it."""

import concurrent.futures
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from typer.testing import CliRunner

from sio_cluster.cli import cli
from sio_cluster.doctor import examining, process, server
from sio_cluster.doctor.finding import Finding, State, has_problem, line_of
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import AccessRefused, BusUnavailable, ClusterMismatch, ConfigError
from sio_cluster.protocol.ids import quarantine_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams import redis as redis_bus
from sio_cluster.streams.api.appends import Append
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.examination import ROUND_TRIPS, ServerFacts, examine
from sio_cluster.streams.redis.lane_views import InboxView, LaneViews
from sio_cluster.streams.redis.overview import Overview
from sio_cluster.streams.redis.rights import OPTIONAL, RIGHTS, needed
from sio_cluster.testing.valkey import Valkey, start_valkey

COMMAND = Path(sys.executable).with_name("sio-cluster")
APP, IO = "app1-aaaaaa", "io1-aaaaaa"
WITHOUT_INFO = RIGHTS.replace(" +info", "")


async def test_what_the_owner_of_a_server_may_know(valkey: Valkey) -> None:
    facts = await examine(valkey.url, Keys("sio"))
    assert facts.version is not None
    assert re.fullmatch(r"valkey \d+\.\d+\.\d+", facts.version)
    assert {"role", "aof_enabled", "maxmemory", "maxmemory_policy", "used_memory"} <= set(facts.info)
    assert dict(facts.options) == {"save": "", "appendfsync": "everysec"}
    assert facts.rights is not None
    assert (facts.rights.refused, facts.rights.unknown) == ([], [])
    assert len(facts.round_trips_ms) == ROUND_TRIPS
    assert facts.ahead_s is not None
    assert abs(facts.ahead_s) < 5


async def test_the_documented_rights_suffice_for_nodes_and_for_the_doctor(redis_config: Config) -> None:
    facts = await examine(redis_config.redis_address, Keys(redis_config.redis_prefix))
    assert facts.rights is not None
    assert (facts.rights.refused, facts.rights.unknown) == ([], [])
    assert facts.version is not None
    assert facts.version.startswith("valkey ")
    assert facts.role == "master"
    bus = RedisBus(redis_config)
    await bus.start()
    await bus.stop()
    states = {finding.check: finding.state for finding in await examining.findings(redis_config)}
    assert "not known" not in states.values()
    assert (states["rights"], states["settings"], states["lanes"]) == ("ok", "ok", "problem")


async def test_what_needs_info_is_not_known_without_it(valkey: Valkey) -> None:
    facts = await facts_of_a_user(valkey, f"~sio:* {WITHOUT_INFO}")
    assert facts.rights is not None
    assert (facts.rights.refused, facts.rights.unknown) == (["INFO"], [])
    assert (facts.role, facts.info, facts.options) == ("master", {}, {})
    states = {finding.check: finding.state for finding in server.findings(facts, "sio")}
    assert {check for check, state in states.items() if state == "not known"} == {"persistence", "eviction", "memory"}


async def test_a_right_that_is_missing_is_named(valkey: Valkey) -> None:
    facts = await facts_of_a_user(valkey, f"~sio:* {RIGHTS} -xautoclaim -xadd -client|kill")
    assert facts.rights is not None
    assert facts.rights.refused == ["XADD", "CLIENT KILL"]
    of_other_keys = await facts_of_a_user(valkey, f"~other:* {RIGHTS}")
    assert of_other_keys.rights is not None
    assert {"HSET", "XADD", "XINFO STREAM"} <= set(of_other_keys.rights.refused)
    no_scripts = await facts_of_a_user(valkey, "~sio:* +ping")
    assert no_scripts.rights is not None
    assert no_scripts.rights.refused == ["EVAL"]
    assert (no_scripts.version, no_scripts.ahead_s) == (None, None)


@pytest.mark.slow
@pytest.mark.parametrize("rights", [WITHOUT_INFO, RIGHTS], ids=["by what is refused", "by INFO"])
async def test_a_replica_and_a_server_of_a_cluster(valkey: Valkey, rights: str) -> None:
    with start_valkey(replicaof=f"127.0.0.1 {valkey.port}") as replica:
        assert (await facts_of_a_user(replica, f"~sio:* {rights}")).role == "replica"
    with start_valkey(cluster_enabled="yes") as clustered:
        with Redis.from_url(clustered.url) as owner:
            owner.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        assert (await facts_of_a_user(clustered, f"~sio:* {rights}")).role == "cluster"


async def facts_of_a_user(valkey: Valkey, rights: str) -> ServerFacts:
    with Redis.from_url(valkey.url) as owner:
        owner.execute_command("ACL", "SETUSER", "ill", "reset", "on", ">pw", *rights.split())
    return await examine(f"redis://ill:pw@127.0.0.1:{valkey.port}/0", Keys("sio"))


def test_every_command_of_the_nodes_is_asked_for() -> None:
    known = {*needed(Keys("sio")), *OPTIONAL, "AUTH"}
    families = {name.partition(" ")[0] for name in known}
    sent: set[str] = set()
    for path in Path(str(redis_bus.__file__)).parent.rglob("*.py"):
        if path.name in ("rights.py", "examination.py", "bridged.py"):  # a bridge may listen to another Redis
            continue
        text = path.read_text()
        sent |= set(re.findall(r"redis\.p?call\('([A-Z]+)'", text))
        sent |= {word for word in re.findall(r"\(\s*\"([A-Z]{3,})\"", text) if word not in ("BLOCK", "MATCH")}
    assert "ZINTERCARD" in sent
    assert "XREADGROUP" in sent
    assert sent <= families


async def test_lanes_and_inboxes(redis_config: Config) -> None:
    bus = RedisBus(redis_config)
    await bus.start()
    keys, views = bus.keys, LaneViews(bus.connections, bus.keys)
    assert await bus.leases.acquire(3, APP, 60_000)
    for seq in (1, 2):
        await bus.appender.append([Append(keys.uplink(3), IO, seq, b"12345", 10_000)])
    await bus.appender.append([Append(keys.inbox(IO), APP, 1, b"12345", 10_000)])
    await bus.connections.run(
        ("XADD", keys.dead(3), "*", "b", "x"), ("XADD", keys.uplink(quarantine_of(3)), "*", "b", "x")
    )
    lanes = await views.lanes(16)
    assert [(lane.lane, lane.holder) for lane in lanes] == [(n, APP if n == 3 else None) for n in range(16)]
    assert (lanes[0].entries, lanes[0].oldest_s, lanes[0].added) == (0, 0, 0)
    third = lanes[3]
    assert (third.entries, third.bytes, third.unread, third.added) == (2, 10, 2, 2)
    assert (third.quarantined, third.dead_letters) == (1, 1)
    assert 0 <= third.oldest_s < 30
    assert await views.inboxes([IO, APP]) == {IO: InboxView(1, 1), APP: InboxView(0, 0)}
    await bus.stop()


@pytest.fixture
def environ(redis_config: Config, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("REDIS_URL", redis_config.redis_address)
    monkeypatch.setenv("REDIS_PREFIX", redis_config.redis_prefix)
    monkeypatch.setattr(process, "open_files", lambda: None)
    return monkeypatch


def run(*arguments: str) -> tuple[int, str]:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:  # the command has an event loop of its own
        done = pool.submit(CliRunner().invoke, cli, ["doctor", *arguments]).result()
    return done.exit_code, done.output


def states(output: str) -> dict[str, str]:
    """Without the logs of this process: the command as a process has them on stderr."""
    return {finding["check"]: finding["state"] for finding in json.loads(output[output.index("[\n") :])}


async def test_a_cluster_becomes_sound(redis_config: Config, environ: pytest.MonkeyPatch) -> None:
    status, output = run("--json")
    assert (status, states(output)["cluster"]) == (0, "warning")
    bus = RedisBus(redis_config)
    await bus.start()
    status, output = run("--json")
    assert status == 1
    assert {check for check, state in states(output).items() if state == "problem"} == {
        "io-nodes", "app-nodes", "lanes"
    }  # fmt: skip
    await bus.registry.register_io_node(IO, {"level": "3"})
    await bus.registry.register_app_node(APP, {"level": "3"})
    for node in (IO, APP):
        await bus.registry.heartbeat(node, 60_000)
    for lane in range(16):
        assert await bus.leases.acquire(lane, APP, 60_000)
    status, output = run("--json")
    of_redis = {"persistence", "memory"}  # the tests' Redis has neither a file nor a limit
    of_machine = {"latency"}  # it may be busy
    doubtful = {check for check, state in states(output).items() if state != "ok"} - of_redis - of_machine
    assert (status, doubtful) == (0, set())
    environ.setenv("LANES", "8")
    status, output = run("--json")
    assert (status, states(output)["settings"]) == (1, "problem")
    status, output = run()
    assert status == 1
    assert len(output.splitlines()) == len(json.loads(run("--json")[1]))
    assert re.search(r"^problem    settings: .*LANES is 8 here.*\. Do: set LANES=16 ", output, re.MULTILINE)
    await bus.stop()


@pytest.mark.parametrize("form", [[], ["--json"]])
@pytest.mark.slow
async def test_a_password_is_never_printed(environ: pytest.MonkeyPatch, form: list[str]) -> None:
    with start_valkey(requirepass="right-secret") as server:
        place = f"127.0.0.1:{server.port}/0"
        for url, expected in (
            (f"redis://:wrong-secret@{place}", 1),
            (server.url, 0),
            ("redis://:a-secret@127.0.0.1:1/0", 1),
            ("redis://:a-secret#@x:1/0", 2),
        ):
            environ.setenv("REDIS_URL", url)
            status, output = run(*form)
            assert (status, "secret" in output) == (expected, False), output


@pytest.mark.slow
def test_logs_are_not_in_the_answer(environ: pytest.MonkeyPatch) -> None:
    """A refusal is logged as an error. The command as a process has its logs on stderr."""
    with start_valkey() as server:
        environ.setenv("REDIS_URL", f"redis://nobody:secret@127.0.0.1:{server.port}/0")
        done = subprocess.run([COMMAND, "doctor", "--json"], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, json.loads(done.stdout)[0]["state"]) == (1, "problem")
    assert "redis_refused" in done.stderr
    assert "secret" not in done.stdout + done.stderr


async def test_a_redis_that_is_away_or_refuses_is_a_problem(environ: pytest.MonkeyPatch, valkey: Valkey) -> None:
    environ.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    status, output = run("--json")
    assert (status, states(output)) == (1, {"connection": "problem", "open files": "ok"})
    assert "cannot connect to Redis at 127.0.0.1:1" in output
    with pytest.raises(BusUnavailable):
        await examine("redis://127.0.0.1:1/0", Keys("sio"))
    with pytest.raises(AccessRefused):
        await examine(f"redis://nobody:x@127.0.0.1:{valkey.port}/0", Keys("sio"))


@pytest.mark.parametrize("field", ["lanes", "version"])
async def test_the_key_of_another_program(redis_config: Config, environ: pytest.MonkeyPatch, field: str) -> None:
    """The doctor says so, and so do the other commands and a node. None of them shows a traceback."""
    bus = RedisBus(redis_config)
    await bus.start()
    await bus.connections.run(("HSET", bus.keys.config, field, "many"))
    status, output = run("--json")
    assert (status, states(output).get("cluster", states(output).get("settings"))) == (1, "problem")
    with pytest.raises(ClusterMismatch, match="another program"):
        await bus.registry.join_cluster()
    if field == "lanes":
        with pytest.raises(ConfigError, match="another program"):
            await Overview(bus.connections, bus.keys).nodes()
    await bus.stop()


async def test_a_user_who_may_run_no_scripts(environ: pytest.MonkeyPatch, valkey: Valkey) -> None:
    """The checks of the cluster then say what is missing, and nothing crashes."""
    await facts_of_a_user(valkey, "~sio:* +ping +info")
    environ.setenv("REDIS_URL", f"redis://ill:pw@127.0.0.1:{valkey.port}/0")
    status, output = run("--json")
    assert (status, states(output)["rights"], states(output)["cluster"]) == (1, "problem", "not known")


@pytest.mark.parametrize(("state", "problem"), [("problem", True), ("warning", False), ("not known", False)])
def test_only_a_problem_counts(state: State, problem: bool) -> None:
    findings = [Finding("a", "ok", "x"), Finding("b", state, "y", "z")]
    assert has_problem(findings) is problem
    assert line_of(findings[1]) == f"{state:9}  b: y. Do: z"
