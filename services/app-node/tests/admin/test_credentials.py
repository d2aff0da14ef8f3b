"""Who may come in."""

import time
from typing import Any

import pytest

from app_node.admin.credentials import Credentials

ADA = {"username": "ada", "password": "pass"}
BOB = {"username": "bob", "password": "word"}


async def test_one_dict() -> None:
    credentials = Credentials(ADA)
    assert await credentials.suffice({"password": "pass", "username": "ada"})
    for wrong in (None, "ada", {}, {"username": "ada"}, {**ADA, "password": "Pass"}, {**ADA, "more": 1}, [ADA], BOB):
        assert not await credentials.suffice(wrong)


async def test_one_of_several() -> None:
    credentials = Credentials([ADA, BOB])
    assert await credentials.suffice(ADA)
    assert await credentials.suffice(BOB)
    assert not await credentials.suffice({"username": "ada", "password": "word"})


async def test_a_function_of_either_kind() -> None:
    def plain(shown: Any) -> bool:
        return bool(shown == ADA)

    async def coroutine(shown: Any) -> bool:
        return bool(shown == ADA)

    for check in (plain, coroutine):
        assert await Credentials(check).suffice(ADA)
        assert not await Credentials(check).suffice(BOB)


async def test_false_is_everybody() -> None:
    assert Credentials(False).is_open
    assert await Credentials(False).suffice(None)


@pytest.mark.parametrize("auth", [None, {}, [], [{}], {**ADA, "password": None}, [ADA, {**ADA, "password": ""}]])
def test_nothing_said_is_an_error(auth: Any) -> None:
    with pytest.raises(ValueError, match="auth=False"):
        Credentials(auth)


@pytest.mark.parametrize("auth", [True, "ada", 3, ["ada"]])
def test_other_kinds_are_refused(auth: Any) -> None:
    with pytest.raises(TypeError, match="auth is a dict"):
        Credentials(auth)


def test_another_password_has_another_fingerprint() -> None:
    assert Credentials(ADA).fingerprint == Credentials([ADA]).fingerprint
    assert Credentials(ADA).fingerprint != Credentials({**ADA, "password": "other"}).fingerprint


def test_passwords_are_not_tried_quickly_by_a_fingerprint() -> None:
    """Whoever reads Redis has it."""
    begun = time.process_time()
    fingerprints = {Credentials({**ADA, "password": guess}).fingerprint for guess in "abcde"}
    assert len(fingerprints) == 5
    assert time.process_time() - begun > 0.03
    assert len({Credentials(auth).fingerprint for auth in (ADA, False, lambda auth: True)}) == 3
