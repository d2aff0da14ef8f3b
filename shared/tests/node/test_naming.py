"""The name of a node that was given none."""

import socket

import pytest

from sio_cluster.node.naming import name_of_host
from sio_cluster.protocol.ids import NAME_PATTERN


@pytest.mark.parametrize(
    ("host", "name"),
    [("Web-3.example.org", "web3exampleorg"), ("x" * 40, "x" * 32), ("_._", "io"), ("", "io"), ("größe", "gre")],
)
def test_the_host_as_a_node_name(monkeypatch: pytest.MonkeyPatch, host: str, name: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    assert name_of_host("io") == name
    assert NAME_PATTERN.fullmatch(name)
