"""Whether the applications of a stack can be loaded. What they print meanwhile is not shown."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from sio_stack.child import Child
from sio_stack.settings import StackError

TIMEOUT_S = 30


async def check_targets(app: str, web: str | None, env: Mapping[str, str]) -> None:
    """Raises StackError with one line where an application cannot be loaded."""
    checks = [_check("app", app, env)]
    if web is not None:
        checks.append(_check("web", web, env))
    for problem in await asyncio.gather(*checks):
        if problem:
            raise StackError(problem)


async def _check(kind: str, target: str, env: Mapping[str, str]) -> str:
    """What is wrong with this application; empty where nothing is."""
    said: list[str] = []
    child = Child(said.append)
    await child.start((sys.executable, "-m", "sio_stack.probe", kind, target), env, Path.cwd())
    try:
        async with asyncio.timeout(TIMEOUT_S):
            code = await child.wait()
        await child.read_all(1.0)
    except TimeoutError:
        return f"{kind.upper()}: loading {target} took longer than {TIMEOUT_S} s"
    finally:
        child.kill()
        await child.wait()
        await child.close()
    if code == 0:
        return ""
    reasons = [line for line in said if line.startswith(f"{kind.upper()}: ")]
    if reasons:
        return reasons[-1]
    why = f": {said[-1]}" if said else ""
    return f"{kind.upper()}: loading {target} ended the interpreter (exit status {code}){why}"
