"""Where the packages are whose modules are compiled, and a hash of all that stands there."""

import hashlib
import importlib.util
import os
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path


def find_packages(names: Iterable[str]) -> dict[str, Path]:
    """The folders of those packages that are installed. An image has one service, not both. Imports nothing."""
    specs = {name: importlib.util.find_spec(name) for name in names}
    return {name: Path(spec.origin).parent for name, spec in specs.items() if spec is not None and spec.origin}


def key_of(packages: Mapping[str, Path]) -> str:
    """What a compiled form of these packages is called. Another one for each state of their sources, each version of
    Python and each kind of machine.

    All modules count, not the hot ones alone: a compiled module relies on the types that others declare. It takes
    some 10 ms.
    """
    digest = hashlib.blake2b(EXTENSION_SUFFIXES[0].encode(), digest_size=10)
    for name, folder in sorted(packages.items()):
        for path in sorted(_python_files(folder)):
            with open(path, "rb") as file:
                source = file.read()
            digest.update(f"\n{name}{path[len(str(folder)) :]} {len(source)}\n".encode())
            digest.update(source)
    return digest.hexdigest()


def _python_files(folder: Path) -> Iterator[str]:
    """Without pathlib, which would take twice as long."""
    for place, _, names in os.walk(folder):
        yield from (f"{place}/{name}" for name in names if name.endswith(".py"))
