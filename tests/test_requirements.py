"""What the images install is written down once."""

from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[1] / "requirements"


@pytest.mark.parametrize("file", sorted(REQUIREMENTS.glob("*.in")), ids=lambda file: file.stem)
def test_no_package_is_named_twice(file: Path) -> None:
    lines = (line.partition("#")[0].strip() for line in file.read_text().splitlines())
    names = [line for line in lines if line and not line.startswith("-")]
    assert sorted(names) == sorted(set(names))
