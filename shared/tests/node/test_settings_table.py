"""The README lists every setting as the code has it."""

from pathlib import Path

from sio_cluster.node.settings_table import with_table

README = Path(__file__).parents[3] / "README.md"


def test_the_table_of_settings_in_the_readme_is_that_of_the_code() -> None:
    page = README.read_text()
    assert with_table(page) == page, "run: python -m sio_cluster.node.settings_table README.md"
