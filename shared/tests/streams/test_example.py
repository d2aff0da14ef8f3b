"""The example at the top of `streams.api` does what it says."""

import textwrap

import pytest

from sio_cluster.streams import api


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert api.__doc__ is not None
    lines = api.__doc__.splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("    import"))
    last = next(at for at, line in enumerate(lines) if line.strip() == "asyncio.run(main())")
    code = lines[first : last + 1]
    exec(textwrap.dedent("\n".join(code)), {})
    said = [line.partition("# ")[2].removesuffix(", a retry does no harm") for line in code if "print(" in line]
    assert capsys.readouterr().out.splitlines() == said
