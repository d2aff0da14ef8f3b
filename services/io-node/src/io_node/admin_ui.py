"""The page of the Socket.IO Admin UI, as its npm package has it, at /admin-ui/.

The page itself loads a font and icons from other hosts. Here both come from npm packages too, and its two links are
written anew. A Content-Security-Policy keeps it from loading anything else.
"""

import mimetypes
import re
from collections.abc import Iterator
from pathlib import Path

from io_node.client_files import ClientFile
from sio_cluster.protocol.errors import ConfigError

PLACE = "/admin-ui"

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Its widgets write styles into the page. It connects to the host that it came from, and to no other one."""

_FOLDERS = {
    "": ("@socket.io/admin-ui/ui/dist", ("*.png", "css/*.css", "js/*.js", "img/*.svg")),
    "roboto/": ("@fontsource/roboto", ("*00.css", "files/*-normal.woff2")),
    "mdi/": ("@mdi/font", ("css/materialdesignicons.min.css", "fonts/*.woff2")),
}
"""By the beginning of the path: the folder in `node_modules`, and which of its files."""
_INDEX = "index.html"
_FOREIGN_LINK = re.compile(r'<link rel="stylesheet" href="https://[^"]*">')
_OWN_LINKS = "".join(
    f'<link rel="stylesheet" href="{name}">'
    for name in (*(f"roboto/{weight}.css" for weight in (100, 300, 400, 500, 700, 900)),
                 "mdi/css/materialdesignicons.min.css")
)  # fmt: skip


class AdminUi:
    """Its files. Which there are is looked up once; each is read once. `node_modules` None: there is no such page.

    Raises ConfigError where a package is missing.
    """

    def __init__(self, node_modules: Path | None) -> None:
        self._read: dict[str, ClientFile] = {}
        self._files: dict[str, Path] = {}
        if node_modules is not None:
            self._files = dict(_found(node_modules))

    @property
    def paths(self) -> frozenset[str]:
        """The paths of URLs at which it is. Empty where there is no such page."""
        return (
            frozenset((PLACE, f"{PLACE}/", *(f"{PLACE}/{name}" for name in self._files)))
            if self._files
            else frozenset()
        )

    def get(self, name: str) -> ClientFile | None:
        """The file of this name below `PLACE`; "" is the page. None where there is none: no path leads out."""
        name = name or _INDEX
        found, path = self._read.get(name), self._files.get(name)
        if found is not None or path is None:
            return found
        content = path.read_bytes()
        if name == _INDEX:
            content = _without_links_to_others(content.decode()).encode()
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        media_type = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        found = self._read[name] = ClientFile.of(content, media_type)
        return found


def _found(node_modules: Path) -> Iterator[tuple[str, Path]]:
    for place, (folder, patterns) in _FOLDERS.items():
        root = node_modules / folder
        if not root.is_dir():
            package = "/".join(folder.split("/")[:2])
            raise ConfigError(f"ADMIN_UI_DIR: {node_modules} has no {package}: run `npm install {package}` above it")
        for pattern in (*patterns, *((_INDEX,) if not place else ())):
            yield from ((f"{place}{path.relative_to(root).as_posix()}", path) for path in root.glob(pattern))


def _without_links_to_others(page: str) -> str:
    first, *_ = _FOREIGN_LINK.findall(page) or [""]
    return _FOREIGN_LINK.sub("", page.replace(first, _OWN_LINKS, 1)) if first else page
