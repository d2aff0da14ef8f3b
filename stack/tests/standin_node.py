"""Stands in for both kinds of node: it answers health, and just enough of Engine.IO to see which node got a request.

It imports little: the tests start some forty of them.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sio_cluster.protocol.ids import new_node_id, new_sid

NODE = new_node_id(os.environ["NODE_NAME"], os.urandom)
LARGEST_BODY = 10_000
_sids: set[str] = set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if urlsplit(self.path).path == "/socket.io/":
            self._polling()
        else:
            self._answer(200, {"node": NODE, "headers": dict(self.headers)})

    do_HEAD = do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Logs no requests."""

    def _polling(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        sid = parse_qs(urlsplit(self.path).query).get("sid", [""])[0]
        if not sid:
            sid = new_sid(NODE, os.urandom)
            _sids.add(sid)
        elif sid not in _sids:
            return self._answer(400, {"code": 1, "node": NODE})
        return self._answer(413 if len(body) > LARGEST_BODY else 200, {"sid": sid, "node": NODE, "bytes": len(body)})

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print("stand-in", NODE, "listens", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
