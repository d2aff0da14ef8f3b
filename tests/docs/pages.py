"""The pages of the documentation, and the code words in them."""

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

HISTORY = ("CHANGELOG.md",)
"""Pages that may name what is gone."""

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)", re.DOTALL)


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        return self.path.read_text()

    def code(self) -> set[str]:
        """What stands between backticks, outside of blocks."""
        return set(_CODE.findall(_FENCED.sub("", self.text)))

    def links(self) -> list[str]:
        return _LINK.findall(_FENCED.sub("", self.text))

    def anchors(self) -> set[str]:
        """The anchors of its headings, as GitHub makes them."""
        headings = re.findall(r"^#+ (.*)$", _FENCED.sub("", self.text), re.MULTILINE)
        bare = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
        return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in bare}


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that belongs to the repository, also if it is not committed yet."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = (ROOT / name for name in listed.stdout.decode().split("\0") if name)
    return tuple(path for path in paths if path.is_file())


def pages() -> list[Page]:
    return [Page(path) for path in tracked() if path.suffix == ".md" and path.name not in HISTORY]


def sources() -> list[Path]:
    """The code of the packages."""
    return [path for path in tracked() if path.suffix == ".py" and "src" in path.relative_to(ROOT).parts]


@cache
def words() -> frozenset[str]:
    """Every word of every file that is no page: code, settings, commands."""
    found: set[str] = set()
    for path in tracked():
        if path.suffix not in (".md", ".lock") and path.parent.name != "requirements":
            found.update(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", path.read_text(errors="ignore")))
    return frozenset(found)
