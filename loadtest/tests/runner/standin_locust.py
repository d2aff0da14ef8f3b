"""Stands in for locust: prints live lines, then writes a result. Its argument says how it behaves.

well: ends by itself. patient: runs until SIGINT, then writes its result. deaf: ignores SIGINT. orphan: ends by itself,
but its worker does not. broken: prints a reason and ends without a result. garbled: writes something that is no result.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SAMPLE = Path(__file__).parents[1] / "accounting/sample_result.json"


def finish(*_: object) -> None:
    Path(os.environ["LOADTEST_RESULT"]).write_bytes(SAMPLE.read_bytes())
    sys.exit(0)


def main() -> None:
    way = sys.argv[1]
    signal.signal(signal.SIGINT, finish if way == "patient" else signal.SIG_IGN)
    print('@live {"clients": 7, "deliveries_per_s": 1234, "p99_ms": 5.5, "lost": 2}')
    print("@live {broken", flush=True)
    print("[time] host/WARNING/locust: a warning", "x" * 100_000, flush=True)
    match way:
        case "well":
            finish()
        case "orphan":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            finish()
        case "broken":
            sys.exit("no such scenario")
        case "garbled":
            Path(os.environ["LOADTEST_RESULT"]).write_text("{}")
        case _:
            time.sleep(60)


if __name__ == "__main__":
    main()
