"""Put on PYTHONPATH of one node: its wall clock goes wrong by the seconds that the file CHAOS_CLOCK holds.

Python imports this module at its start. The monotonic clock is left alone, as a step of the wall clock leaves it.
"""

import os
import sys
import time

_real = time.time
_path = os.environ.get("CHAOS_CLOCK", "")
_looked_at = 0.0
_shift_s = 0.0


def shift_s() -> float:
    """The shift in seconds. The file is read again every 50 ms."""
    global _looked_at, _shift_s
    if time.monotonic() - _looked_at > 0.05:
        _looked_at = time.monotonic()
        try:
            with open(_path) as file:
                shift = float(file.read() or 0)
        except OSError:
            shift = 0.0
        if shift != _shift_s:
            print(f"wall clock is off by {shift:g} s", file=sys.stderr, flush=True)
        _shift_s = shift
    return _shift_s


if _path:
    time.time = lambda: _real() + shift_s()
    time.time_ns = lambda: int((_real() + shift_s()) * 1e9)
