"""What `make run` says when all parts run."""

import pytest

from sio_stack.screen import Screen
from sio_stack.stack import Stack


def shown(stack: Stack, capsys: pytest.CaptureFixture[str]) -> str:
    Screen().running(stack, 1.0)
    return " ".join(capsys.readouterr().out.split())


def test_how_to_watch_the_cluster(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_PREFIX", raising=False)
    stack = Stack()
    stack.redis_url = "redis://127.0.0.1:7000/0"
    assert "Watch REDIS_URL=redis://127.0.0.1:7000/0 .venv/bin/sio-cluster top" in shown(stack, capsys)


def test_a_redis_that_was_given_is_not_shown_since_it_may_have_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    stack = Stack(redis_url="redis://:secret@127.0.0.1:7000/0", env={"REDIS_PREFIX": "mine"})
    text = shown(stack, capsys)
    assert "Watch REDIS_PREFIX=mine .venv/bin/sio-cluster top" in text
    assert "secret" not in text
