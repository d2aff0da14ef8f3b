"""`make loadtest-ui`: locust's web interface, against a cluster that is there or the embedded one."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import httpx

from loadtest.errors import CannotRun
from loadtest.runner import locust_process
from loadtest.runner.cluster import answers, target
from loadtest.runner.locust_process import LocustProcess
from loadtest.runner.options import Options
from loadtest.runner.run import Log, new_report, nothing, until_end
from loadtest.runner.screen import Screen
from sio_stack.stop import Stop

UP_POLL_S = 0.2


async def serve(options: Options, port: int, screen: Screen, stop: Stop) -> int:
    """Serves until Ctrl-C. Raises CannotRun."""
    url = f"http://localhost:{port}"
    if await answers(url):
        raise CannotRun(f"port {port} is taken: stop what listens there, or choose another with UI_PORT=")
    report = new_report(options.report_dir)
    log = Log(report / "output.log")
    locust = LocustProcess(_not_shown, lambda line: log.write(f"locust | {line}"))
    try:
        async with target(options, screen.say, lambda name, text: log.write(f"{name} | {text}")) as there:
            stop.on_asked = nothing  # `until_end` sees Ctrl-C
            words = locust_process.web_command(options, there.url, port)
            await locust.start(words, locust_process.environment(report))
            announcing = asyncio.create_task(_announce(url, options.processes, screen))
            try:
                await until_end(locust, screen, stop)
            finally:
                announcing.cancel()
                with suppress(asyncio.CancelledError):
                    await announcing
                locust.kill()
    finally:
        log.close()
        with suppress(OSError):  # the folder stays if something is in it
            report.rmdir()
    if not stop.asked.is_set():
        raise CannotRun(f"locust ended; it said: {locust.last_words}")
    return 0


async def _announce(url: str, workers: int, screen: Screen) -> None:
    """Says when a run can be started there: when all workers have come to the master."""
    async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
        while await _workers(http, url) < workers:  # noqa: ASYNC110 - other processes start
            await asyncio.sleep(UP_POLL_S)
    screen.say(f"Open {url}. After a run, its report is on {url}/fan-out/report. Ctrl-C ends it")


async def _workers(http: httpx.AsyncClient, url: str) -> int:
    """How many workers have come to the master. 0 while it does not answer."""
    try:
        return int((await http.get(f"{url}/worker-count")).json()["worker_count"])
    except httpx.TransportError:
        return 0


def _not_shown(live: Mapping[str, float]) -> None:
    """Nothing: the web interface shows these figures."""
