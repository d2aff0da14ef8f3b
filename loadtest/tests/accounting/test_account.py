"""From packets on the wire to the result of a run, with two workers."""

from pathlib import Path

import pytest
from loadtest.accounting import message
from loadtest.accounting.account import SECONDS_KEPT, Account
from loadtest.accounting.clock import Offset
from loadtest.accounting.generator import GeneratorLimits, judge_generator
from loadtest.accounting.member import Member
from loadtest.accounting.result import Worker, decode
from loadtest.accounting.run import Run
from loadtest.accounting.worker_report import Beat, decode_final, encode


def packet(text: str) -> bytes:
    return f'2/loadtest,["d","{text}"]'.encode()


def joined(account: Account, number: int) -> Member:
    member = account.member(number)
    account.connected("io1-abcdef.XYZ", {"total": 0.1}, again=False)
    member.connected("websocket")
    member.asks(5)
    member.joined(5)
    return member


def test_two_workers_become_one_result() -> None:
    """One worker publishes three messages. The member of the other gets the first once and the last twice."""
    here, there = (Account("machine", "/loadtest") for _ in range(2))
    member, publisher = joined(there, 2), here.publisher(1)
    for seq in range(3):
        number, text = publisher.stamp(5, 100)
        assert number == seq
        assert len(text) == 100
        publisher.acked(5, seq)
        here.emits += 1
        for _ in range((1, 0, 2)[seq]):
            member.heard(packet(text))
    member.heard(b'2/loadtest,["other","x"]')
    member.heard(packet("not a number, but as long as a message would have to be"))
    run = Run()
    for name, account in (("a", here), ("b", there)):
        account.close_second(1000, 10.0)
        run.beat(name, account.take_beat())
        run.final(name, decode_final(encode(account.final())))
    result = run.result("fanout", {}, 1000, 1.0)
    integrity = result.integrity
    assert (integrity.due, integrity.lost, integrity.duplicated, integrity.unknown) == (3, 1, 1, 0)
    assert (result.totals.emits, result.totals.deliveries, result.totals.fan_out) == (3, 3, 1.0)
    assert result.clients_by_io_node == {"io1": 1}
    assert result.notes == ["2 events were not deliveries of the load test."]


def test_a_worker_without_a_final_report_is_named() -> None:
    run = Run()
    run.expect("gone", "machine")
    result = run.result("fanout", {}, 1000, 1.0)
    assert [worker.missing for worker in result.generator.workers] == [True]
    assert not result.generator.healthy


def test_seconds_that_were_dropped_are_told() -> None:
    account, run = Account("machine", "/loadtest"), Run()
    for second in range(SECONDS_KEPT + 3):
        account.close_second(second, 0.0)
    run.final("a", account.final())
    assert run.result("fanout", {}, 0, 1.0).notes[0].startswith("3 seconds of workers are missing")


def test_a_busy_generator_says_that_its_latencies_are_its_own() -> None:
    assert judge_generator([Worker("w", "m", cpu_percent_p95=80, lag_p99_ms=19)], GeneratorLimits()).healthy
    for busy in (Worker("w", "m", cpu_percent_p95=86), Worker("w", "m", lag_p99_ms=21)):
        judged = judge_generator([busy], GeneratorLimits())
        assert not judged.healthy
        assert "not the server's" in judged.verdict


def test_a_short_time_without_cpu_is_not_lost_in_a_long_run() -> None:
    account, run = Account("machine", "/loadtest"), Run()
    account.clients = 1
    for second in range(100):
        account.close_second(second, 100.0 if second < 6 else 10.0)
    run.final("a", account.final())
    (worker,) = run.result("fanout", {}, 0, 100.0).generator.workers
    assert (worker.cpu_percent, worker.overloaded) == (15.4, True)


def test_the_shortest_round_trip_tells_the_offset_best() -> None:
    offset = Offset()
    offset.learn(0, 100_000, 1_090_000)
    offset.learn(200_000, 202_000, 1_201_000)
    offset.learn(300_000, 350_000, 1_300_000)
    assert (offset.offset_us, offset.error_us) == (1_000_000, 1_000)


def test_what_was_noted_moves_with_the_clock() -> None:
    account = Account("machine", "/loadtest")
    member = joined(account, 1)
    before = [place.stay.joined_us for place in account.tally.places]
    account.shift(5_000_000)
    assert [place.stay.joined_us - was for place, was in zip(account.tally.places, before, strict=True)] == [
        5_000_000
    ] * 2
    publisher = account.publisher(2)
    publisher.acked(5, publisher.stamp(5, 40)[0])
    member.cut()
    run = Run()
    run.final("a", account.final())
    assert run.result("fanout", {}, 0, 1.0).integrity.lost == 0


def test_emits_move_with_the_clock_too() -> None:
    account = Account("machine", "/loadtest")
    publisher = account.publisher(2)
    for _ in range(2):
        publisher.stamp(5, 40)
    publisher.acked(5, 0)
    (before,) = publisher.rows()
    account.shift(5_000_000)
    (row,) = publisher.rows()
    assert row.sent_us == [at + 5_000_000 for at in before.sent_us]
    assert row.acked_us == [before.acked_us[0] + 5_000_000, 0]


@pytest.mark.parametrize("known", [0, 1, 2])
def test_machines_that_do_not_agree_are_not_called_exact(known: int) -> None:
    run = Run()
    for number in range(2):
        run.beat(str(number), Beat([], f"machine{number}", 7 if number < known else None, 400))
    result = run.result("fanout", {}, 0, 1.0)
    assert [worker.clock_corrected for worker in result.generator.workers] == [known == 2] * 2
    assert ("exact to 0.8 ms" in result.notes[0]) == (known == 2)


def test_the_message_is_cut_at_fixed_places() -> None:
    text = message.pack(7, 12, 3, 1_763_922_000_123_456, 64)
    assert text.startswith("0000000700000012000000031763922000123456xxx")
    assert text[:16].encode() == message.key(7, 12)
    assert message.prefix("/") == b'2["d","'


def test_the_sample_is_of_this_version() -> None:
    assert decode((Path(__file__).parent / "sample_result.json").read_bytes()).scenario == "fanout"
