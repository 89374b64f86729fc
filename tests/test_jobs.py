"""The line of waiting requests: bounded, fair, and quick to drop what is too late."""

import pytest

from reidd import protocol
from reidd.daemon.envelope import Caller
from reidd.daemon.jobs import MAX_WAITING_BYTES, Job, Line
from reidd.engines import Accelerator, Engine
from reidd.errors import BusyError
from reidd.keys import User

LITE = (Engine.TFLITE, Accelerator.CPU)
DNN = (Engine.DNN, Accelerator.CPU)


def job(client: str, until: float = 10.0) -> Job:
    request = protocol.ExtractFeatures(parts=[protocol.Encoded()])
    return Job(Caller((client.encode(),)), request, b"", [], until)


def joined(line: Line, clients: str) -> list[Job]:
    jobs = [job(client) for client in clients]
    for one in jobs:
        line.join(one, retry_after_s=1)
    return jobs


def test_clients_take_turns():
    line = Line(10)
    joined(line, "aaaabc")
    order = [line.next().caller.connection.decode() for _ in range(6)]
    assert order == ["a", "b", "c", "a", "a", "a"]
    assert line.next() is None
    assert len(line) == 0


def test_a_client_that_comes_back_waits_its_turn():
    line = Line(10)
    joined(line, "aab")
    line.next()
    joined(line, "c")
    assert [line.next().caller.connection.decode() for _ in range(3)] == ["b", "a", "c"]


def test_clients_of_this_machine_and_of_tcp_are_not_mistaken_for_each_other():
    line = Line(10)
    near, *far = [job("1"), job("1"), job("1")]
    for one in far:
        one.caller = one.caller._replace(remote=True)
        line.join(one, retry_after_s=1)
    line.join(near, retry_after_s=1)
    assert [line.next() for _ in range(3)] == [far[0], near, far[1]]


def test_headers_count_too_for_one_of_spaces_takes_as_much_memory_as_an_image():
    line = Line(256)
    header = bytes(1 << 20)
    for number in range(MAX_WAITING_BYTES >> 20):
        line.join(Job(Caller((b"%d" % number,)), job("").request, header, [], 10.0), retry_after_s=1)
    (refused,) = line.join(job("another"), retry_after_s=1)
    assert isinstance(refused.reply, BusyError)


def test_a_full_line_says_when_to_try_again():
    line = Line(2)
    joined(line, "ab")
    with pytest.raises(BusyError, match=r"2 requests are waiting already; try again in 0\.7 s") as caught:
        line.join(job("c"), retry_after_s=0.7)
    reply = protocol.failed(caught.value, "r1")
    assert (reply.code, reply.retry_after_ms) == ("busy", 700)
    assert protocol.raised(reply).retry_after_s == 0.7


def test_in_a_full_line_the_latest_of_whoever_has_most_makes_room():
    line = Line(4)
    *_, latest = joined(line, "baaa")
    newcomer = job("c")
    (out,) = line.join(newcomer, retry_after_s=0.7)
    assert out.job is latest
    assert isinstance(out.reply, BusyError)
    assert newcomer in list(line)
    assert len(line) == 4
    for client in "abc":
        with pytest.raises(BusyError):
            line.join(job(client), retry_after_s=0.7)


def test_large_requests_fill_the_line_sooner():
    line = Line(100)
    large = [job("a") for _ in range(3)]
    for one in large:
        one.frames.append(bytes(MAX_WAITING_BYTES // 2))
    assert [line.join(one, retry_after_s=1) for one in large[:2]] == [[], []]
    with pytest.raises(BusyError, match="2 requests"):
        line.join(large[2], retry_after_s=1)
    small = job("b")
    assert [out.job for out in line.join(small, retry_after_s=1)] == [large[1]]
    assert [line.next(), line.next()] == [large[0], small]
    assert not line.join(large[1], retry_after_s=1)


def test_a_key_is_one_client_however_many_connections_it_has():
    line = Line(10)
    jobs = [job(connection) for connection in "1234"]
    for one in jobs:
        name = "desk" if one is jobs[3] else "cam"
        one.caller = one.caller._replace(remote=True, user=User(name, frozenset()))
        line.join(one, retry_after_s=1)
    assert [line.next() for _ in range(2)] == [jobs[0], jobs[3]]


def test_a_request_that_is_tried_again_goes_to_another_pair():
    line = Line(10)
    tried = job("a")
    tried.failed_on.append(LITE)
    assert line.rejoin(tried, "died", 0) is None
    assert line.next_again(avoid=LITE) is None
    assert line.next_again(avoid=DNN) is tried
    assert len(line) == 0


def test_jobs_whose_time_is_up_leave_the_line():
    line = Line(10)
    late, again, good = job("a", 1), job("b", 1), job("a", 5)
    line.join(late, retry_after_s=1)
    line.join(good, retry_after_s=1)
    line.rejoin(again, "died", 0)
    assert line.expired(2) == [again, late]
    assert list(line) == [good]
    assert len(line) == 1


def test_images_are_counted_by_their_boxes_and_features_by_their_rows():
    parts = [protocol.Encoded(), protocol.Encoded(boxes=[[0, 0, 9, 9], [1, 1, 9, 9]]), protocol.Feature(shape=(3, 96))]
    asked = Job(Caller((b"",)), protocol.ExtractFeatures(parts=parts), b"", [], 0)
    assert (asked.request.images, asked.probes) == (3, 6)
