"""`python -m sio_cluster.compiled`: compiles the hot modules of the packages that are installed, which takes a minute.

Does nothing where that was done. Status 1, and a message on stderr, where they cannot be compiled.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sio_cluster.compiled.building import NotCompiled, build, is_built
from sio_cluster.compiled.form import forms_folder
from sio_cluster.compiled.modules import HOT
from sio_cluster.compiled.sources import find_packages


def main(
    packages: Mapping[str, Path], hot: Mapping[str, Sequence[str]], forms: Path, environ: Mapping[str, str]
) -> int:
    """Returns the exit status."""
    began = time.monotonic()
    try:
        if is_built(packages, forms):
            return 0
        _say(f"compiling {sum(len(hot[name]) for name in packages)} modules of {', '.join(packages)}: a minute or two")
        build(packages, hot, forms, environ)
    except NotCompiled as error:
        _say(f"not compiled, so nodes run the pure form: {error}")
        return 1
    _say(f"compiled in {time.monotonic() - began:.0f} s")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - for the person who called it


if __name__ == "__main__":
    sys.exit(main(find_packages(HOT), HOT, forms_folder(), os.environ))
