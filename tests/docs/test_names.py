"""Every module, path, setting, key, metric and command that the documentation names exists, and every link leads
somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT
from tests.docs.exported import exported, exported_name, families
from tests.docs.pages import Page, pages, sources, tracked, words

from sio_cluster.protocol import keys, reasons
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis.rights import RIGHTS

PACKAGES = ("sio_cluster", "io_node", "app_node", "sio_stack", "loadtest")
SHORT = ("protocol", "streams", "node", "testing")
"""Packages of sio_cluster, which docstrings name without it."""
BASES = ("", "docs", "services", "shared/src", "shared", "services/io-node/src", "services/app-node/src", "stack/src")
"""From where paths begin: docs/architecture.md says so."""
SUFFIXES = (".py", ".md", ".toml", ".yml", ".sh", ".template", ".mjs", ".js", ".json", ".txt", ".html")

EXAMPLES = {"app.py", "web.py"}
"""Files of a reader."""
EXAMPLE_WORDS = {"Jf8sKa0tQv3mXw2B", "event_name", "sio_io_", "sio_app_"}
WORDS_OF_OTHERS = {
    "maxLen", "streamCount",
    "ip_local_port_range", "tcp_wmem", "worker_shutdown_timeout",
    "process_resident_memory_bytes", "python_gc_collections_total",
    "LimitNOFILE", "TimeoutStopSec", "publishNotReadyAddresses", "terminationGracePeriodSeconds",
    "fetchSockets", "emitWithAck", "serverSideEmitWithAck", "OTEL_TRACES_SAMPLER",
    "is_pre_connected", "is_sid_room", "pre_connect", "pre_disconnect", "trigger_callback",
}  # fmt: skip
"""Of Linux, nginx, Prometheus' clients, systemd, Kubernetes, Socket.IO, OpenTelemetry and python-socketio."""

ALL_PAGES = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)


def test_there_are_pages() -> None:
    assert {"README.md", "docs/architecture.md", "docs/operations.md"} <= {page.name for page in pages()}


# --- modules


@ALL_PAGES
def test_modules_and_what_is_in_them_exist(page: Page) -> None:
    missing = [name for name in _dotted(page.code(), PACKAGES) if not _resolves(name)]
    assert not missing


def test_modules_that_docstrings_and_comments_name_exist() -> None:
    missing = set()
    for path in sources():
        code = re.findall(r"`([^`\n]+)`", path.read_text())
        package = path.relative_to(next(parent for parent in path.parents if parent.name == "src")).parts[0]
        for name in _dotted(code, (*PACKAGES, *SHORT)):
            candidates = [name, f"sio_cluster.{name}", f"{package}.{name}"]
            if not any(map(_resolves, candidates)):
                missing.add((str(path.relative_to(ROOT)), name))
    assert not missing


def _dotted(code: Iterator[str] | set[str] | list[str], first: tuple[str, ...]) -> list[str]:
    names = (re.match(rf"(?:{'|'.join(first)})(?:\.\w+)+(?=$|\W)", words) for words in code)
    return sorted({match.group() for match in names if match and not match.group().endswith((".py", ".md"))})


def _resolves(name: str) -> bool:
    """A module, or what one has: its file has the rest of the name as words. Nothing is imported: loadtest patches."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = "/".join(parts[:length])
        for file in (ROOT / base / f"{module}{end}" for base in BASES for end in (".py", "/__init__.py")):
            if file.is_file():
                return set(parts[length:]) <= set(re.findall(r"\w+", file.read_text()))
    return False


# --- paths and links


@ALL_PAGES
def test_paths_exist(page: Page) -> None:
    missing = [path for path in _paths(page) if not _is_there(page, path)]
    assert not missing


@ALL_PAGES
def test_files_that_are_named_without_a_folder_exist(page: Page) -> None:
    names = {path.name for path in tracked()}
    assert {code for code in page.code() if re.fullmatch(r"[\w-]+\.(?:py|mjs|toml|yml)", code)} <= names | EXAMPLES


def _paths(page: Page) -> list[str]:
    return sorted(
        code
        for code in page.code()
        if re.fullmatch(r"[\w./-]+", code) and "/" in code and not code.startswith(("/", "path/to", "."))
        and (code.endswith(SUFFIXES) or code.rstrip("/").count("/"))
    )  # fmt: skip


def _is_there(page: Page, path: str) -> bool:
    if any((ROOT / base / path).exists() for base in BASES) or (page.path.parent / path).exists():
        return True
    return bool(re.fullmatch(r"[a-z]+/[a-z.-]+", path)) and path in _named_elsewhere()


def _named_elsewhere() -> set[str]:
    """Npm packages, ignored folders and the like, which have no file here."""
    texts = [path.read_text(errors="ignore") for path in tracked() if path.name in (".gitignore", "package.json")]
    return {name for text in texts for name in re.findall(r"[\w@.-]+/[\w.-]+", text)}


@ALL_PAGES
def test_links_lead_somewhere(page: Page) -> None:
    broken = []
    for link in page.links():
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = (page.path.parent / target).resolve() if target else page.path
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in Page(path).anchors()):
            broken.append(link)
    assert not broken


# --- words


@ALL_PAGES
def test_code_words_stand_in_the_code(page: Page) -> None:
    """Settings, log events, classes, functions, fields: whatever has a capital inside or an underscore."""
    known = words() | exported()
    known |= EXAMPLE_WORDS | WORDS_OF_OTHERS
    unknown = set()
    for code in page.code():
        for word in re.findall(r"[A-Za-z_]\w*(?!\w|\.(?:py|mjs))", re.sub(r"https?://\S+", "", code)):
            if ("_" in word.strip("_") or re.search(r"[a-z][A-Z]", word)) and word not in known:
                unknown.add(word)
    assert not unknown


def test_what_the_example_of_the_environment_names_is_used() -> None:
    named = re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert set(named) <= set(re.findall(r"[A-Z][A-Z_]+", (ROOT / "docker-compose.yml").read_text()))


# --- metrics


def test_the_metrics_of_the_documentation_are_those_of_the_nodes() -> None:
    names = {exported_name(family) for family in families()}
    page = (ROOT / "docs/operations.md").read_text()
    listed = set(re.findall(r"sio_(?:io|app|api|bridge)_\w+", page))
    assert listed - exported() == set(), "named, and not there"
    assert names - listed == set(), "there, and not in docs/operations.md"


@ALL_PAGES
def test_metrics_have_their_whole_names(page: Page) -> None:
    named = set(re.findall(r"sio_(?:io|app|api|bridge)_[a-z_]*[a-z]", page.text))
    assert named <= exported()


# --- keys


def test_keys_py_lists_every_key() -> None:
    made = set()
    for name, member in vars(Keys).items():
        key = getattr(Keys("P"), name)
        if isinstance(member, property):
            made.add(key)
        elif name not in ("state", "interest") and getattr(member, "__annotations__", {}).get("return") is str:
            made.add(key(*(ARGUMENTS[argument] for argument in member.__annotations__ if argument != "return")))
    made |= {Keys.state(key) for key in made if key.endswith((":uplink", ":inbox"))}
    made |= {Keys.interest(key) for key in made if key.endswith(":inbox")}
    assert {_general(key.removeprefix("P")) for key in made if not key.endswith(":")} <= _listed_keys()


ARGUMENTS: dict[str, Any] = {
    "node_id": "ID",
    "lane": 0,
    "sid": "SID",
    "namespace": "NAMESPACE",
    "room": "ROOM",
    "digest": "DIGEST",
    "stream": "STREAM",
}


def _general(key: str) -> str:
    """`:{lane:3}:uplink` and `:{lane:N}:uplink` are one key."""
    return re.sub(r"\{(\w+):\w+\}", r"{\1:*}", key)


def _listed_keys() -> set[str]:
    assert keys.__doc__ is not None
    return {_general(key) for key in re.findall(r"^\{PREFIX\}(\S+)", keys.__doc__, re.MULTILINE)}


@ALL_PAGES
def test_keys_of_redis_exist(page: Page) -> None:
    named = {_general(key) for code in page.code() for key in re.findall(r"PREFIX(:[\w{}:-]+)", code)}
    assert named <= _listed_keys()


# --- commands


@ALL_PAGES
def test_targets_of_make_exist(page: Page) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for code in page.code() for word in re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", code)}
    blocks = re.findall(r"^```.*?^```", page.text, re.MULTILINE | re.DOTALL)
    named |= {
        word for block in blocks for word in re.findall(r"^(?:[A-Z_]+=\S+ )*make ([a-z][a-z-]*)", block, re.MULTILINE)
    }
    assert named <= targets


@ALL_PAGES
def test_commands_for_operators_exist(page: Page) -> None:
    source = Path(ROOT / "shared/src/sio_cluster/cli.py").read_text()
    offered = set(re.findall(r'@dead_letters\.command\("(\w+)"\)', source))
    offered |= set(re.findall(r"@dead_letters\.command\(\)\ndef (\w+)", source))
    assert set(re.findall(r"sio-cluster dead-letters (\w+)", page.text)) <= offered


# --- reasons


def test_the_table_of_reasons_has_every_reason_of_a_disconnect() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    section = page.partition("\n## Why a client was disconnected\n")[2].partition("\n## ")[0]
    listed = set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE))
    assert listed == set(reasons.ALL)
    assert listed == {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}


# --- rights in Redis


def test_tests_run_with_the_rights_in_redis_that_are_asked_for() -> None:
    operations = next(page for page in pages() if page.name == "docs/operations.md")
    assert f"~PREFIX:* {RIGHTS}" in operations.code()
