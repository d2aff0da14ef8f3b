"""Tests, and the nodes that they start, run the pure form: some of them replace parts of it. Those that can do without
run on the compiled one with SIO_PURE=0 (`make test-compiled`). The nodes also start `lean`.

A pytest plugin. The root's pyproject.toml loads it before all others that import a hot module.
"""

import os
from pathlib import Path

os.environ.setdefault("SIO_PURE", "1")

_LEAN = str(Path(__file__).with_name("lean"))
_paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
if _LEAN not in _paths:  # a worker has it of the process that started it
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_LEAN, *_paths)))
