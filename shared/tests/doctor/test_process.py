"""Open files of this process, and what the doctor finds in that."""

import pytest

from sio_cluster.doctor.finding import State
from sio_cluster.doctor.process import findings, open_files


@pytest.mark.parametrize(
    ("limit", "state"), [(None, "ok"), (10_000, "ok"), (9_999, "warning"), (1_024, "warning"), (1_023, "problem")]
)
def test_open_files(limit: int | None, state: State) -> None:
    [finding] = findings(limit)
    assert (finding.state, bool(finding.do)) == (state, state != "ok")


def test_the_limit_of_this_process() -> None:
    limit = open_files()
    assert limit is None or limit > 0
