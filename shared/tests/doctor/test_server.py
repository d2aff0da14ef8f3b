"""Facts of a Redis server, and what the doctor finds in them."""

from dataclasses import replace

import pytest

from sio_cluster.doctor.finding import Finding, State
from sio_cluster.doctor.server import findings
from sio_cluster.streams.redis.examination import Rights, ServerFacts

INFO = {
    "connected_slaves": "1", "aof_enabled": "1",
    "aof_last_write_status": "ok", "rdb_last_bgsave_status": "ok", "maxmemory_policy": "noeviction",
    "used_memory": "100000000", "maxmemory": "1000000000",
}  # fmt: skip
SOUND = ServerFacts(
    "valkey 9.1.2", "master", INFO, {"save": "", "appendfsync": "everysec"}, Rights([], []), [0.2, 0.3, 1.0], 0.002
)


def found(facts: ServerFacts, check: str) -> Finding:
    [finding] = [finding for finding in findings(facts, "sio") if finding.check == check]
    return finding


def test_a_sound_server() -> None:
    assert {finding.state for finding in findings(SOUND, "sio")} == {"ok"}
    assert not any(finding.do for finding in findings(SOUND, "sio"))
    assert found(SOUND, "version").says == "valkey 9.1.2 answers"
    assert found(SOUND, "persistence").says == "the append-only file is on, appendfsync everysec"
    assert found(SOUND, "memory").says == "100.0 MB of 1,000.0 MB in use (10%)"
    assert found(SOUND, "latency").says == "3 round trips took 0.30 ms (median) and 1.00 ms at most"


@pytest.mark.parametrize(
    ("check", "info", "state", "words"),
    [
        ("persistence", {"aof_last_write_status": "err"}, "problem", "append-only file"),
        ("persistence", {"rdb_last_bgsave_status": "err"}, "problem", "snapshot"),
        ("persistence", {"aof_enabled": "0"}, "warning", "it writes no snapshots"),
        ("eviction", {"maxmemory_policy": "allkeys-lru"}, "problem", "removes streams"),
        ("eviction", {"maxmemory_policy": "allkeys-lru", "maxmemory": "0"}, "warning", "no maxmemory yet"),
        ("memory", {"used_memory": "800000000"}, "warning", "(80%). A full Redis takes no events"),
        ("memory", {"used_memory": "960000000"}, "problem", "(96%)"),
        ("memory", {"maxmemory": "0"}, "warning", "without maxmemory"),
    ],
)
def test_what_info_says(check: str, info: dict[str, str], state: State, words: str) -> None:
    finding = found(replace(SOUND, info=INFO | info), check)
    assert (finding.state, words in finding.says, bool(finding.do)) == (state, True, True), finding


@pytest.mark.parametrize(
    ("options", "state", "words"),
    [
        ({"appendfsync": "no"}, "warning", "appendfsync no"),
        ({"appendfsync": "always"}, "ok", "appendfsync always"),
        ({}, "ok", "the append-only file is on"),
    ],
)
def test_the_append_only_file(options: dict[str, str], state: State, words: str) -> None:
    finding = found(replace(SOUND, options=options), "persistence")
    assert (finding.state, words in finding.says) == (state, True), finding


@pytest.mark.parametrize(
    ("options", "words"), [({"save": "3600 1"}, "snapshots only"), ({}, "whether it writes snapshots is not known")]
)
def test_snapshots_are_less_than_a_file(options: dict[str, str], words: str) -> None:
    finding = found(replace(SOUND, info=INFO | {"aof_enabled": "0"}, options=options), "persistence")
    assert (finding.state, words in finding.says) == ("warning", True), finding


@pytest.mark.parametrize(
    ("rights", "state", "words"),
    [
        (Rights(["XADD"], []), "problem", "may not run XADD on keys of the prefix sio"),
        (Rights([], ["ZINTERCARD"]), "problem", "does not have ZINTERCARD"),
        (Rights(["CLIENT KILL"], []), "warning", "CLIENT KILL"),
        (Rights(["INFO"], []), "ok", "but not INFO"),
        (None, "not known", "cannot say"),
    ],
)
def test_rights(rights: Rights | None, state: State, words: str) -> None:
    finding = found(replace(SOUND, rights=rights), "rights")
    assert (finding.state, words in finding.says) == (state, True), finding
    if state in ("problem", "warning") and not (rights and rights.unknown):
        assert "~sio:* +@read +@write" in finding.do


@pytest.mark.parametrize(
    ("times", "state"),
    [([5.0, 5.0], "ok"), ([5.1, 5.1], "warning"), ([1.0, 1.0, 101.0], "warning"), ([1.0, 1.0, 1001.0], "problem")],
)
def test_latency(times: list[float], state: State) -> None:
    assert found(replace(SOUND, round_trips_ms=times), "latency").state == state


@pytest.mark.parametrize(
    ("ahead_s", "state", "words"),
    [(2.5, "warning", "2.500 s ahead of"), (-2.5, "warning", "2.500 s behind"), (None, "not known", "does not say")],
)
def test_the_clock(ahead_s: float | None, state: State, words: str) -> None:
    finding = found(replace(SOUND, ahead_s=ahead_s), "clock")
    assert (finding.state, words in finding.says) == (state, True), finding


def test_roles() -> None:
    assert found(SOUND, "role").says == "a master; replicas: 1"
    assert found(replace(SOUND, info={}), "role").says == "a master"
    replica, cluster = found(replace(SOUND, role="replica"), "role"), found(replace(SOUND, role="cluster"), "role")
    assert (replica.state, "a replica" in replica.says) == ("problem", True)
    assert (cluster.state, "Redis Cluster" in cluster.says) == ("problem", True)


@pytest.mark.parametrize(
    ("version", "state"), [("redis 6.2.14", "problem"), ("redis 7.0.0", "ok"), ("redis 10.1", "ok")]
)
def test_old_versions(version: str, state: State) -> None:
    assert found(replace(SOUND, version=version), "version").state == state


def test_what_redis_does_not_say_is_not_known() -> None:
    silent = ServerFacts(round_trips_ms=[0.1])
    assert {finding.check: finding.state for finding in findings(silent, "sio")} == {
        **dict.fromkeys(("version", "role", "persistence", "eviction", "memory", "rights", "clock"), "not known"),
        "latency": "ok",
    }
