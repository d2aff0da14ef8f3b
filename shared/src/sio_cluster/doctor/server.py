"""Findings about the Redis server. Pure."""

from statistics import median
from typing import assert_never

from sio_cluster.doctor.finding import Finding
from sio_cluster.streams.redis.examination import ServerFacts
from sio_cluster.streams.redis.rights import OPTIONAL, RIGHTS

OLDEST_REDIS = 7
"""The first one with ZINTERCARD. Every Valkey has it."""
MEMORY_WARNING, MEMORY_PROBLEM = 0.75, 0.95
"""Parts of `maxmemory` that are in use."""
MEDIAN_WARNING_MS, LONGEST_WARNING_MS, LONGEST_PROBLEM_MS = 5, 100, 1_000
"""Round trips. A node gives a connection up when an answer takes 3 s."""
CLOCK_WARNING_S = 1.0

_MAY_NOT_ASK = "Redis does not say: its user may not ask."


def findings(facts: ServerFacts, prefix: str) -> list[Finding]:
    """All checks of a server that answers."""
    return [
        _version(facts),
        _role(facts),
        _persistence(facts),
        _eviction(facts),
        _memory(facts),
        _rights(facts, prefix),
        _latency(facts),
        _clock(facts),
    ]


def _version(facts: ServerFacts) -> Finding:
    if facts.version is None:
        return Finding("version", "not known", _MAY_NOT_ASK, "give the user +@scripting, or +info")
    name, _, number = facts.version.partition(" ")
    if name == "redis" and int(number.partition(".")[0]) < OLDEST_REDIS:
        return Finding("version", "problem", f"{facts.version} answers: it does not have all commands that nodes need",
                       f"use Redis {OLDEST_REDIS} or later, or Valkey")  # fmt: skip
    return Finding("version", "ok", f"{facts.version} answers")


def _role(facts: ServerFacts) -> Finding:
    match facts.role:
        case "cluster":
            return Finding("role", "problem", "this is a server of a Redis Cluster: nodes end at their start",
                           "use one Redis server, without cluster-enabled")  # fmt: skip
        case "replica":
            return Finding("role", "problem", "this Redis is a replica and takes no writes: nodes wait",
                           "let REDIS_URL lead to the master")  # fmt: skip
        case "master":
            replicas = facts.info.get("connected_slaves")
            return Finding("role", "ok", "a master" if replicas is None else f"a master; replicas: {replicas}")
        case None:
            return Finding("role", "not known", _MAY_NOT_ASK, "give the user the rights of a node, or +info")
        case _:
            assert_never(facts.role)


def _persistence(facts: ServerFacts) -> Finding:
    check, info, options = "persistence", facts.info, facts.options
    if "aof_enabled" not in info:
        return Finding(check, "not known", _MAY_NOT_ASK, "give the user +info")
    for name, what in (("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "snapshot")):
        if info.get(name, "ok") != "ok":
            return Finding(check, "problem", f"Redis could not write its {what}: it may refuse all writes",
                           "look into the log of Redis; mostly its disk is full")  # fmt: skip
    if info["aof_enabled"] == "1":
        fsync = options.get("appendfsync")
        if fsync == "no":
            return Finding(check, "warning", "the append-only file is on, with appendfsync no: some 30 s may be lost "
                           "when the machine dies", "set appendfsync everysec")  # fmt: skip
        return Finding(check, "ok", "the append-only file is on" + (f", appendfsync {fsync}" if fsync else ""))
    snapshots = {None: "whether it writes snapshots is not known", "": "it writes no snapshots"}.get(
        options.get("save"), "it writes snapshots only, each of which is minutes old"
    )
    return Finding(check, "warning", f"the append-only file is off, and {snapshots}: a restart of Redis loses events "
                   "that wait, and sessions", "set appendonly yes")  # fmt: skip


def _eviction(facts: ServerFacts) -> Finding:
    check, policy = "eviction", facts.info.get("maxmemory_policy")
    if policy is None:
        return Finding(check, "not known", _MAY_NOT_ASK, "give the user +info")
    if policy == "noeviction":
        return Finding(check, "ok", "maxmemory-policy noeviction: a full Redis refuses writes, and nothing is lost")
    says = f"maxmemory-policy {policy}: a full Redis removes streams and records, so events and sessions are lost"
    if facts.info.get("maxmemory") == "0":
        return Finding(check, "warning", f"{says}; it has no maxmemory yet", "set maxmemory-policy noeviction")
    return Finding(check, "problem", says, "set maxmemory-policy noeviction")


def _memory(facts: ServerFacts) -> Finding:
    check, info = "memory", facts.info
    if "used_memory" not in info or "maxmemory" not in info:
        return Finding(check, "not known", _MAY_NOT_ASK, "give the user +info")
    used, limit = int(info["used_memory"]), int(info["maxmemory"])
    if not limit:
        return Finding(check, "warning", f"{_mb(used)} in use, without maxmemory: when the machine has no more, the "
                       "system kills Redis", "set maxmemory to less than the machine has")  # fmt: skip
    says = f"{_mb(used)} of {_mb(limit)} in use ({used / limit:.0%})"
    if used < MEMORY_WARNING * limit:
        return Finding(check, "ok", says)
    says += ". A full Redis takes no events: io-nodes stop reading from their clients"
    do = "raise maxmemory; see what waits by `sio-cluster top`"
    return Finding(check, "problem" if used >= MEMORY_PROBLEM * limit else "warning", says, do)


def _rights(facts: ServerFacts, prefix: str) -> Finding:
    check, rights = "rights", facts.rights
    if rights is None:
        return Finding(check, "not known", "this Redis cannot say which commands its user may run",
                       "use Redis 7 or Valkey; start a node: it says what it may not do")  # fmt: skip
    grant = f"give the user of the nodes ~{prefix}:* {RIGHTS}"
    if rights.unknown:
        return Finding(check, "problem", f"this Redis does not have {', '.join(rights.unknown)}: nodes fail",
                       "use Redis 7 or later, or Valkey")  # fmt: skip
    if needed := [name for name in rights.refused if name not in OPTIONAL]:
        return Finding(check, "problem", f"this user may not run {', '.join(needed)} on keys of the prefix {prefix}: "
                       "nodes fail", grant)  # fmt: skip
    if "CLIENT KILL" in rights.refused:
        return Finding(check, "warning", "this user may not run CLIENT KILL: events that Redis gives to a read which "
                       "was given up wait until their lane moves", grant)  # fmt: skip
    without = " (but not INFO: some checks here need it)" if "INFO" in rights.refused else ""
    return Finding(check, "ok", f"this user may run all commands that nodes need{without}")


def _latency(facts: ServerFacts) -> Finding:
    middle, longest = median(facts.round_trips_ms), max(facts.round_trips_ms)
    says = f"{len(facts.round_trips_ms)} round trips took {middle:.2f} ms (median) and {longest:.2f} ms at most"
    if middle <= MEDIAN_WARNING_MS and longest <= LONGEST_WARNING_MS:
        return Finding("latency", "ok", says)
    return Finding(
        "latency",
        "problem" if longest > LONGEST_PROBLEM_MS else "warning",
        f"{says}. Each event passes Redis on its way in and on its way out, so answers are late",
        "run this near the nodes; give Redis a processor of its own; look at SLOWLOG GET",
    )


def _clock(facts: ServerFacts) -> Finding:
    if facts.ahead_s is None:
        return Finding("clock", "not known", _MAY_NOT_ASK, "give the user +time")
    says = f"Redis is {abs(facts.ahead_s):.3f} s {'ahead of' if facts.ahead_s >= 0 else 'behind'} this machine"
    if abs(facts.ahead_s) <= CLOCK_WARNING_S:
        return Finding("clock", "ok", says)
    return Finding("clock", "warning", f"{says}: times in logs differ by that. The cluster itself goes by the clock of "
                   "Redis", "let both machines ask the same time server (NTP)")  # fmt: skip


def _mb(number: int) -> str:
    return f"{number / 1e6:,.1f} MB"
