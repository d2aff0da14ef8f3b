"""Compiles the modules in these files, with `building`'s copy of the sources as the working directory.

Usage: python -m sio_cluster.compiled.translating OUTPUT_FOLDER FILE...
"""

import sys

import setuptools
from mypyc.build import mypycify

OPTIONS = [
    "--strict",
    "--config-file=",
    "--cache-dir=/dev/null",
    "--explicit-package-bases",
    "--follow-imports=silent",  # of other modules the types count, and their errors do not
    "--ignore-missing-imports",
    "--no-warn-unused-ignores",
    "--disable-error-code=untyped-decorator",
]


def main(output: str, *files: str) -> None:
    """Exits with a status that is not 0, after what mypy or the compiler has said, where it does not succeed."""
    setuptools.setup(
        name="compiled",
        packages=[],
        ext_modules=mypycify([*OPTIONS, *files], opt_level="2", debug_level="0"),
        script_args=["--quiet", "build_ext", "--build-lib", output],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
