"""On the PYTHONPATH of all processes that tests start: nodes and commands do not find what they never use.

python-socketio imports aiohttp, valkey and websocket where they are installed, for clients and managers that no node
has. Tests of clients need them here; the images of nodes do without. structlog imports rich, for tracebacks, which
nodes write in their own way. Together they took a quarter of the CPU that an app-node needs to start, and tests start
hundreds of nodes.
"""

import sys

_words = sys.orig_argv[1:3]  # python -m app_node.cli, python -c "import app_node", python .venv/bin/sio-cluster
_is_node = any("app_node" in word or "io_node" in word or word == "sio_stack.probe" for word in _words)
_is_command = any(word.endswith(("/app-node", "/io-node", "/sio-cluster")) for word in _words)  # may print with rich

if _is_node or _is_command:
    for _name in ("aiohttp", "valkey", "websocket", *(("rich",) if _is_node else ())):
        sys.modules[_name] = None  # type: ignore[assignment]  # as Python says that there is no such module
