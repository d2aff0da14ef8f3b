"""Whether the applications that a stack is to run can be loaded. What they print meanwhile is not shown."""

import asyncio
import sys
from collections.abc import Mapping

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
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sio_stack.probe", kind, target),
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await asyncio.wait_for(child.communicate(), TIMEOUT_S)
    except TimeoutError:
        child.kill()
        await child.wait()
        return f"{kind.upper()}: loading {target} took longer than {TIMEOUT_S} s"
    if child.returncode == 0:
        return ""
    reasons = [line for line in said.decode(errors="replace").splitlines() if line.startswith(f"{kind.upper()}: ")]
    if reasons:
        return reasons[-1]
    last = said.decode(errors="replace").strip().splitlines()[-1:]
    why = f": {last[0]}" if last else ""
    return f"{kind.upper()}: loading {target} ended the interpreter (exit status {child.returncode}){why}"
