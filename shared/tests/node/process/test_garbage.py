"""The garbage collector, as nodes set it."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from sio_cluster.node.process.garbage import YOUNG, tune_garbage_collector

pytestmark = pytest.mark.alone


@pytest.fixture
def tuned() -> Iterator[None]:
    before = gc.get_threshold()
    tune_garbage_collector()
    yield
    gc.set_threshold(*before)


def test_no_pass_looks_through_many_objects_when_all_of_them_stay(tuned: None) -> None:
    """As when thousands of clients come: nobody is served during a pass."""
    passes: list[int] = []

    def look(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            passes.append(sum(len(gc.get_objects(generation=young)) for young in range(info["generation"] + 1)))

    gc.callbacks.append(look)
    try:
        kept: list[Any] = [[number] for number in range(30 * YOUNG)]
    finally:
        gc.callbacks.remove(look)
    assert len(kept) == 30 * YOUNG
    assert max(passes) < 2.2 * YOUNG
    assert len(passes) >= 29
