"""How a run of the tests is spread over processes, and the three lines that it ends with.

With `-n N` (pytest-xdist; the Makefile chooses N) the tests of one file run in one worker process, so that a cluster
that they share starts once. `SPREAD` and `group_of` have the exceptions. The mark `alone` says that no other test runs
meanwhile, because what is asserted is a time; such tests come last. So they are in files of their own: in the middle of
a file, such a test would wait until no other worker runs any test.
"""

import asyncio
import gc
import inspect
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Sequence
from functools import cache, wraps
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests import machine

from sio_cluster.node.process.garbage import tune_garbage_collector

settings.register_profile(
    "shared machine", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared machine")  # how long an example takes says nothing where other tests run meanwhile
settings.register_profile("check", parent=settings(), max_examples=25)  # of `make check`, and of `make test` outside CI

LEFT_OUT = {
    "ci_only": "longer runs that CI makes (make test-all)",
    "alone": "times, with nothing beside (make test-all)",
    "chaos": "chaos (make chaos)",
    "upgrade": "the last release beside this code (make test-upgrade)",
    "browser": "Chromium (make test-browser)",
    "compose": "Docker Compose (make test-compose)",
    "clients": "clients in other languages (make test-clients)",
    "observe": "Prometheus (make test-observe)",
    "slow": "slow (make test)",
    "e2e": "whole clusters (make test)",
}
"""What a run may leave out by its marks, and which command runs it. A test counts under its first mark here."""

LONGEST_FIRST = (
    "tests/e2e/test_restart_app", "tests/bridges", "tests/conformance", "services/app-node/tests/poison",
    "loadtest/tests/browser/test_behaviour", "tests/e2e/test_io_nodes", "loadtest/tests/scenarios",
    "loadtest/tests/browser/test_wire", "stack/tests/test_stack", "tests/e2e", "tests/model", "loadtest", "services",
    "stack", "shared",
)  # fmt: skip
"""The order in which files begin. A long one that began last would keep one worker busy while the others have ended.

Those that wait most of the time come with those that compute.
"""

SPREAD = (
    "tests/chaos/", "tests/upgrade/", "tests/e2e/test_make_run.py", "tests/e2e/test_start.py",
    "loadtest/tests/scenarios/test_faulty_server.py",
)  # fmt: skip
"""Long files whose tests share nothing: each test may run in another worker."""

pytest_plugins = ("tests.warm",)

_left_out = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_left_out] = Counter()
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Distribution())


class Distribution:
    """For the process that hands tests out to the workers."""

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        from xdist.scheduler import LoadScopeScheduling

        class Groups(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
            def _split_scope(self, nodeid: str) -> str:
                return group_of(nodeid)

        return Groups(config, log)

    def pytest_testnodedown(self, node: Any) -> None:
        """All workers collect all tests, so that each of them knows what was left out."""
        machine.forget(node.workerinput["testrunuid"])
        left_out: Counter[str] = Counter(getattr(node, "workeroutput", {}).get("left_out", {}))
        node.config.stash[_left_out] = left_out


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, Any, Any]:
    """Lets the garbage collector look at what the tests themselves make, as in a node. All modules and tests are a
    million objects that stay: looking through them took a fifth of the time of all tests here. So nobody looks through
    them once either, to find what little of it is garbage."""
    _begin_elsewhere(session.config)
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        tune_garbage_collector()


def _begin_elsewhere(config: pytest.Config) -> None:
    """Lets each worker begin with another folder. In a fresh clone the asserts of all test modules are rewritten, and
    a worker finds done what others have done already; else each does all of it, in the same order."""
    if worker := getattr(config, "workerinput", None):
        begin = int(worker["workerid"].removeprefix("gw")) % len(config.args)
        config.args[:] = config.args[begin:] + config.args[:begin]


def group_of(nodeid: str) -> str:
    """Tests of one group run in one worker. The conformance tests are grouped by the cluster that they need, and those
    of poison by their bus, since they wait for leases to run out, one test after the other."""
    if nodeid.startswith(SPREAD):
        return nodeid
    if nodeid.startswith("tests/conformance/"):
        return "cluster_of_4" if "nginx-4" in nodeid else "cluster_of_1"
    if nodeid.startswith("services/app-node/tests/poison/"):
        return "poison_in_memory" if "memory" in nodeid else "poison_in_redis"
    return nodeid.partition("::")[0]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_place)
    _keep_apart(items)
    for item in items:
        _limit(item)


def _keep_apart(items: list[pytest.Item]) -> None:
    """Raises UsageError where tests with the mark `alone` have others in their group."""
    groups: dict[bool, set[str]] = {True: set(), False: set()}
    for item in items:
        groups[item.get_closest_marker("alone") is not None].add(group_of(item.nodeid))
    if mixed := groups[True] & groups[False]:
        raise pytest.UsageError(f"some tests are marked alone, and others beside them are not: {sorted(mixed)}")


def _place(item: pytest.Item) -> tuple[bool, int, str]:
    """The same in all workers, in whichever order they collect."""
    path = item.nodeid.partition("::")[0]
    return item.get_closest_marker("alone") is not None, _place_of(path), path


@cache
def _place_of(path: str) -> int:
    return next((place for place, start in enumerate(LONGEST_FIRST) if path.startswith(start)), len(LONGEST_FIRST))


def _limit(item: pytest.Item) -> None:
    """Lets an async test that hangs fail, and show where it hangs.

    pytest-timeout cannot do that: what its signal raises is lost in uvloop. So asyncio does it, a little earlier.
    """
    mark = item.get_closest_marker("timeout")
    seconds = 0.9 * float(mark.args[0] if mark else item.config.getini("timeout"))
    if seconds and isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = _limited(item.obj, seconds)


def _limited(test: Callable[..., Coroutine[Any, Any, None]], seconds: float) -> Callable[..., Any]:
    @wraps(test)
    async def limited(*args: Any, **keywords: Any) -> None:
        async with asyncio.timeout(seconds):
            await test(*args, **keywords)

    return limited


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """One that runs alone waits until no other test runs, and the others wait for its end."""
    with machine.taken(alone=item.get_closest_marker("alone") is not None):
        return (yield)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items:
        mark = next((mark for mark in LEFT_OUT if item.get_closest_marker(mark)), "")
        item.config.stash[_left_out][mark] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    if output := getattr(session.config, "workeroutput", None):
        left_out: Counter[str] = session.config.stash[_left_out]
        output["left_out"] = dict(left_out)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Three lines: what ran, what did not and why, where to look next."""
    found = terminalreporter.stats
    counts = {kind: len(found.get(kind, [])) for kind in ("passed", "failed", "error")}
    ran = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    terminalreporter.section("what next")
    terminalreporter.write_line(f"Ran:      {ran or 'nothing'}")
    terminalreporter.write_line(f"Not run:  {_not_run(found.get('skipped', []), config.stash[_left_out])}")
    terminalreporter.write_line(f"Next:     {_next(found)}")


def _not_run(skipped: Sequence[Any], left_out: Counter[str]) -> str:
    why = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
    parts = [f"{count} skipped: {reason}" for reason, count in why.items()]
    parts += [f"{left_out[mark]} {what}" for mark, what in LEFT_OUT.items() if left_out[mark]]
    return "; ".join(parts) or "nothing was left out"


def _next(found: dict[str, list[Any]]) -> str:
    if broken := [*found.get("failed", []), *found.get("error", [])]:
        return f"the first failure is shown first above; alone: .venv/bin/python -m pytest '{broken[0].nodeid}'"
    return "`make help` lists what else there is; CONTRIBUTING.md says how to change something"
