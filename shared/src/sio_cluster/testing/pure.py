"""Tests, and the nodes that they start, run the pure form: some of them replace parts of it. Those that can do without
run on the compiled one with SIO_PURE=0 (`make test-compiled`).

A pytest plugin. The root's pyproject.toml loads it before all others that import a hot module.
"""

import os

os.environ.setdefault("SIO_PURE", "1")
