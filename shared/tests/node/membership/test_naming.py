"""The name of a node that was given none."""

import socket

import pytest

from sio_cluster.node.membership.naming import name_of_host
from sio_cluster.protocol.ids import NAME_PATTERN


@pytest.mark.parametrize(
    ("host", "name"),
    [("Web-3.example.org", "web3exampleorg"), ("x" * 32, "x" * 32), ("_._", "io"), ("", "io"), ("größe", "gre")],
)
def test_the_host_as_a_node_name(monkeypatch: pytest.MonkeyPatch, host: str, name: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    assert name_of_host("io") == name
    assert NAME_PATTERN.fullmatch(name)


def test_long_names_that_differ_at_their_ends_stay_different(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes calls a pod DEPLOYMENT-HASH-RANDOM. Two io-nodes of one name would get each other's requests."""
    pods = [f"production-chat-io-node-7d9c8b6f5d-{end}" for end in ("x7k2p", "q4m9z")]
    names = set()
    for pod in pods:
        monkeypatch.setattr(socket, "gethostname", lambda pod=pod: pod)
        names.add(name_of_host("io"))
    assert len(names) == len(pods)
    assert all(NAME_PATTERN.fullmatch(name) and name.startswith("productionchatio") for name in names)
