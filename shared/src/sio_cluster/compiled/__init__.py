"""The hot modules compiled by mypyc, beside their sources: the same Python, as a C extension.

    modules          which modules are hot
    sources          where their packages are, and a hash of all that stands there
    form             which form this process runs: compiled or pure
    building         compiles: `python -m sio_cluster.compiled`, which is `make compile`
    translating      the part of it that runs as a process of its own

A compiled form belongs to one state of the sources. Where a source has changed since, the pure form runs. So does it
where nothing was compiled, and with SIO_PURE=1. Nothing else differs: docs/adr/0020-compiled-modules.md.

May import: nothing of this project.
"""
