"""A client that repeats a change, because it heard no answer, makes it once."""

import json
import signal
import threading

import pytest
import zmq

import reidd


@pytest.fixture
def dealer(shared_daemon):
    opened = zmq.Context.instance().socket(zmq.DEALER)
    opened.connect(shared_daemon.endpoint)
    yield opened
    opened.close(linger=0)


def add(dealer, request, feature=(1.0, *[0.0] * 255)):
    import numpy as np

    header = {"op": "add_to_gallery", "id": 7, "request": request, "parts": [{"kind": "feature", "shape": [1, 256]}]}
    dealer.send_multipart([b"", json.dumps(header).encode(), np.array(feature, "<f4").tobytes()])


def answer(dealer):
    assert dealer.poll(5000)
    return json.loads(dealer.recv_multipart()[1])


def test_a_repeat_after_the_answer_gets_the_same_answer_and_adds_nothing(client, dealer):
    add(dealer, "first-1")
    first = answer(dealer)
    add(dealer, "first-1")
    assert answer(dealer) == first
    assert client.count(7) == 1


def test_a_repeat_while_the_first_is_under_way_adds_nothing(client, dealer):
    add(dealer, "first-2")
    add(dealer, "first-2")
    assert answer(dealer) == answer(dealer)
    assert client.count(7) == 1


def test_another_request_id_or_another_content_adds_again(client, dealer):
    add(dealer, "first-3")
    add(dealer, "first-4")
    add(dealer, "first-3", feature=(0.0, 1.0, *[0.0] * 254))
    assert [answer(dealer)["reply"] for _ in range(3)] == ["changed"] * 3
    assert client.count(7) == 3


def test_a_request_that_the_daemon_took_to_its_grave_is_answered_by_the_next_one(daemon, image):
    with daemon.client(timeout=20) as client:
        client.add_to_gallery(image, 1)
        daemon.process.send_signal(signal.SIGSTOP)
        answers = []
        asking = threading.Thread(target=lambda: answers.append(client.re_id_image(image)))
        asking.start()
        with pytest.raises(reidd.ConnectionError):
            daemon.client(timeout=0.5).ids()
        daemon.end(signal.SIGKILL)
        daemon.start()
        asking.join()
    assert answers[0].predictions[0].id == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_repeat_after_a_restart_gets_the_same_answer_and_adds_nothing(daemon, how):
    with daemon.client(timeout=30) as client, zmq.Context.instance().socket(zmq.DEALER) as asking:
        asking.setsockopt(zmq.LINGER, 0)
        asking.connect(daemon.endpoint)
        add(asking, "before-1")
        first = answer(asking)
        daemon.end(how)
        daemon.start()
        daemon.wait_until_ready()
        add(asking, "before-1")
        assert answer(asking) == first
        add(asking, "before-2")
        assert answer(asking) != first
        assert client.count(7) == 2
