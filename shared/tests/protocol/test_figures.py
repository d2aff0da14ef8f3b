"""What nodes say about themselves for those who watch."""

import os
import re

from sio_cluster.protocol.figures import Figures, about_this_process


def test_figures_come_back_as_they_were_said() -> None:
    figures = Figures(3, 1, {"/": 2, "/chat": 1}, 9, {"transport close": 6}, 1, 2, 3, 4)
    assert Figures.decoded({"level": "3", **figures.encoded()}) == figures


def test_who_says_none_or_something_else_has_none() -> None:
    assert Figures.decoded({"level": "3"}) is None
    assert Figures.decoded({"figures": "[1,2"}) is None
    assert Figures.decoded({"figures": '{"connections":"many"}'}) is None


def test_a_figure_that_an_older_node_does_not_say_is_zero() -> None:
    assert Figures.decoded({"figures": '{"connections":3}'}) == Figures(connections=3)


def test_a_node_says_which_process_it_is() -> None:
    about = about_this_process()
    assert about["pid"] == str(os.getpid())
    assert about["host"]
    assert re.match(r"\d+\.\d+\.\d+", about["release"])
    assert int(about["since"]) > 1_700_000_000
