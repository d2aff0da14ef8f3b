"""One run of locust as a process of its own: gevent's patches stay out of the test process."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.ledger.result import Result, decode

ROOT = Path(__file__).parents[3]
END_S = 60.0


@dataclass
class LocustRun:
    """Started at once; `result` waits for its end."""

    process: subprocess.Popen[str]
    result_path: Path
    seconds: float

    @classmethod
    def start(cls, folder: Path, url: str, seconds: float, *arguments: str, file: Path | None = None) -> "LocustRun":
        result = folder / "result.json"
        locustfile = str(file or ROOT / "loadtest/locustfile.py")
        words = [sys.executable, "-m", "locust", "-f", locustfile, "--host", url, "--headless", "--only-summary"]
        words += ["--loglevel", "WARNING", "--stop-timeout", "5", "-t", f"{seconds:g}s", *arguments]
        env = os.environ | {"PYTHONPATH": str(ROOT), "LOADTEST_RESULT": str(result)}
        pipe = subprocess.PIPE
        process = subprocess.Popen(words, env=env, cwd=folder, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        return cls(process, result, seconds)

    def end(self) -> tuple[Result, list[dict[str, Any]]]:
        """Its result, and the live figures that it printed."""
        try:
            output, _ = self.process.communicate(timeout=self.seconds + END_S)
        finally:
            self.process.kill()
        assert self.process.returncode == 0, output
        assert "Traceback" not in output, output
        lines = [line for line in output.splitlines() if line.startswith("@live ")]
        return decode(self.result_path.read_bytes()), [json.loads(line[6:]) for line in lines]
