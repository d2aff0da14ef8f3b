"""How old an entry is, by the clock of the Redis that took it."""

from sio_cluster.node.membership.redis_clock import RedisClock


def test_the_age_of_an_entry_does_not_depend_on_this_machines_clock() -> None:
    now = 7.0
    clock = RedisClock(lambda: now)
    assert clock.age_of(b"1700000000000-0") is None
    now = 7.002
    clock.heard(1_700_000_000.501, asked_at=7.0)
    now = 7.101
    age = clock.age_of(b"1700000000500-3")
    assert age is not None
    assert abs(age - 0.101) < 1e-6


def test_a_slow_answer_tells_less_than_a_quick_one() -> None:
    now = 0.0
    clock = RedisClock(lambda: now)
    now = 4.0
    clock.heard(102.0, asked_at=0.0)  # better than nothing
    assert clock.age_of(b"102000-0") == 2.0
    now = 5.0
    clock.heard(105.0, asked_at=4.98)
    now = 8.0
    clock.heard(106.0, asked_at=5.0)
    assert clock.age_of(b"107990-0") == 8.0 + 105.0 - 4.99 - 107.99
