"""A Prometheus of the tests' own. It has the rules and the jobs of this repository, and asks every second."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from observe.tests.rule_files import FILES, FOLDER, content
from observe.tests.tools import tool

from sio_cluster.testing.http import http_client
from sio_stack.settings import free_ports

READY_S = 120.0


@dataclass(frozen=True)
class Prometheus:
    http: httpx.AsyncClient

    async def query(self, expression: str) -> dict[str, float]:
        """The value of each series that it gives now. Fails where Prometheus refuses the expression."""
        found = await self._get("query", query=expression)
        assert found["resultType"] in ("vector", "scalar")
        series = found["result"] if found["resultType"] == "vector" else [{"metric": {}, "value": found["result"]}]
        return {json.dumps(one["metric"], sort_keys=True): float(one["value"][1]) for one in series}

    async def has_data(self, expression: str) -> bool:
        """Whether it gives a number. What is not a number comes of a division by 0: nothing was counted."""
        return any(not math.isnan(value) for value in (await self.query(expression)).values())

    async def rules(self) -> list[dict[str, Any]]:
        return [rule for group in (await self._get("rules"))["groups"] for rule in group["rules"]]

    async def _get(self, what: str, **parameters: str) -> Any:
        answer = await self.http.get(f"/api/v1/{what}", params=parameters)
        assert answer.status_code == 200, f"{parameters}: {answer.text}"
        return answer.json()["data"]


@asynccontextmanager
async def prometheus(targets: Mapping[str, Sequence[str]], folder: Path) -> AsyncIterator[Prometheus]:
    """Asks these addresses, `job -> host:port`. `folder` is for its data."""
    [port] = free_ports(1)
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(_config(targets)))
    process = await asyncio.create_subprocess_exec(
        tool("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    )
    try:
        async with http_client(base_url=f"http://127.0.0.1:{port}") as http:
            await _until_ready(http, process)
            yield Prometheus(http)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def _config(targets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """That of this repository, with addresses in place of Docker's name server."""
    config: dict[str, Any] = content(FOLDER / "prometheus.yml")
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [*map(str, FILES)]
    jobs = [job for job in config["scrape_configs"] if job["job_name"] in targets]
    for job in jobs:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [*targets[job["job_name"]]]}]
    return {**config, "scrape_configs": jobs}


async def _until_ready(http: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(READY_S):
        while True:
            assert process.returncode is None, "Prometheus has ended; its last lines say why"
            try:
                if (await http.get("/-/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
