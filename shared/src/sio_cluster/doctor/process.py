"""Findings about this process. Pure, but for `open_files`."""

import resource

from sio_cluster.doctor.finding import Finding

FEW, TOO_FEW = 10_000, 1_024


def open_files() -> int | None:
    """How many files this process may have open, its hard limit. None: as many as it likes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else hard


def findings(limit: int | None) -> list[Finding]:
    """`limit`: as `open_files` has it. Nodes raise their own limit up to it."""
    check = "open files"
    if limit is None:
        return [Finding(check, "ok", "this process may open any number")]
    says = f"this process may open {limit:,}. An io-node needs one for each connection"
    if limit >= FEW:
        return [Finding(check, "ok", says)]
    return [
        Finding(
            check,
            "problem" if limit < TOO_FEW else "warning",
            f"{says}, and answers 503 when only its reserve is left",
            'raise the hard limit (ulimit -Hn) where io-nodes run: "Limits of the operating system" in '
            "docs/operations.md",
        )
    ]
