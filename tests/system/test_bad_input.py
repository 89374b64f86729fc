"""A hostile or clumsy client at a real daemon's socket: each gets a clear error in time, and nothing is lost."""

import json
import time

import numpy as np
import pytest
import zmq
from figures import note
from subjects import jpeg, png_of

import reidd
from reidd.protocol import MAX_FRAME_BYTES, MAX_HEADER_BYTES

IN_TIME_S = 5.0
DIM = 256


class Wire:
    """A DEALER that sends what it is told to."""

    def __init__(self, endpoint: str):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(endpoint)

    def say(self, *frames):
        """Send frames as they are, and return the frames that come back."""
        self.socket.send_multipart(frames)
        assert self.socket.poll(IN_TIME_S * 1000), "no answer in time"
        return self.socket.recv_multipart()

    def ask(self, header, *frames):
        """Send a request, and return the reply's header."""
        text = header if isinstance(header, bytes) else json.dumps({"request": "r", **header}).encode()
        delimiter, reply, *_ = self.say(b"", text, *frames)
        assert delimiter == b""
        return json.loads(reply)


@pytest.fixture
def wire(shared_daemon):
    opened = Wire(shared_daemon.endpoint)
    yield opened
    opened.socket.close()


@pytest.fixture(autouse=True)
def nothing_is_lost(client, shared_daemon, image):
    """Whatever a test did, the daemon still knows whom it knew, and no process died."""
    client.add_to_gallery(image, 1)
    before = client.status()
    yield
    after = client.status()
    assert after.pid == before.pid
    assert after.workers >= before.workers
    assert client.ids() == [1]
    assert client.re_id_image(image).predictions[0].id == 1
    assert "Traceback" not in shared_daemon.log.read_text()


ENCODED = {"kind": "encoded"}


@pytest.mark.parametrize("op", ["add_to_gallery", "re_id_image", "extract_features", "get_distances"])
@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (b"not an image", "neither JPEG nor PNG"),
        (b"", "empty"),
        (png_of(1, 1), "1x1"),
        (png_of(10_000, 10_000), "10000x10000"),
        (png_of(2**31, 2**31), "at most"),
        (png_of(64, 64), "damaged"),
        (jpeg(np.zeros((64, 64, 3), np.uint8))[:-40], "cut short"),
        (b"\xff\xd8\xff", "jpeg"),
        (b"GIF89a" + bytes(100), "neither JPEG nor PNG"),
    ],
    ids=["text", "empty", "1x1", "10000x10000", "bomb", "no rows", "truncated", "three bytes", "gif"],
)
def test_what_is_no_image_is_a_bad_image_for_every_op(wire, op, frame, says):
    fields = {"id": 2} if op == "add_to_gallery" else {}
    reply = wire.ask({"op": op, "parts": [ENCODED], **fields}, frame)
    assert (reply["reply"], reply.get("code"), reply["request"]) == ("error", "bad-image", "r")
    assert says in reply["message"]


def test_a_bomb_is_refused_in_under_10_ms(wire):
    bomb, times = png_of(30_000, 30_000), []
    for _ in range(200):
        started = time.perf_counter()
        assert wire.ask({"op": "re_id_image", "parts": [{"kind": "encoded"}]}, bomb)["code"] == "bad-image"
        times.append(1000 * (time.perf_counter() - started))
    note(
        "decompression bombs refused, p50 and p99",
        f"{np.median(times):.1f}, {np.quantile(times, 0.99):.1f} ms",
        "10 ms",
    )
    assert np.median(times) < 10


def test_one_bad_image_in_a_list_stores_none_of_them(wire, image):
    reply = wire.ask({"op": "add_to_gallery", "id": 2, "parts": [ENCODED] * 2}, jpeg(image), b"nonsense")
    assert reply["code"] == "bad-image"


@pytest.mark.parametrize(
    ("shape", "size", "code"),
    [
        ([10, 10, 3], 299, "bad-request"),
        ([10, 10, 3], 1200, "bad-request"),
        ([10, 10, 2], 200, "bad-image"),
        ([1, 1, 3], 3, "bad-image"),
        ([6400, 6400], 40_960_000, "bad-image"),
        ([2**62, 2**62, 3], 0, "bad-request"),
        ([3, 4], 12, "bad-image"),
    ],
)
def test_pixels_of_another_size_or_shape_are_refused(wire, shape, size, code):
    reply = wire.ask({"op": "re_id_image", "parts": [{"kind": "pixels", "shape": shape}]}, bytes(size))
    assert reply["code"] == code


@pytest.mark.parametrize("box", [[60, 0, 10, 10], [0, 60, 10, 10], [0, 0, 2, 2], [2**62, 2**62, 2**62, 2**62]])
def test_a_box_that_sticks_out_or_holds_nothing_is_refused(wire, box):
    frame = jpeg(np.zeros((64, 64, 3), np.uint8))
    reply = wire.ask({"op": "re_id_image", "parts": [{"kind": "encoded", "boxes": [box]}]}, frame)
    assert reply["code"] == "bad-image"


def test_boxes_within_a_frame_are_images_of_their_own(wire, image):
    scene = np.zeros((image.shape[0] + 20, image.shape[1] * 2 + 20, 3), np.uint8)
    scene[5 : 5 + image.shape[0], 7 : 7 + image.shape[1]] = image
    boxes = [[7, 5, image.shape[1], image.shape[0]], [image.shape[1] + 10, 5, image.shape[1], image.shape[0]]]
    parts = [{"kind": "pixels", "shape": list(scene.shape), "boxes": boxes}]
    found = wire.ask({"op": "re_id_image", "parts": parts, "matrix": False}, scene.tobytes())["results"]
    distances = [result["predictions"][0]["distance"] for result in found]
    assert distances[0] < 1e-5 < distances[1]


@pytest.mark.parametrize(
    ("shape", "values", "code"),
    [
        ([1, DIM], np.full(DIM, np.nan), "bad-feature"),
        ([1, DIM], np.full(DIM, np.inf), "bad-feature"),
        ([1, DIM], np.zeros(DIM), "bad-feature"),
        ([1, DIM], np.full(DIM, 1e-42), "bad-feature"),
        ([1, 3], np.ones(3), "bad-feature"),
        ([1, DIM], np.ones(3), "bad-request"),
        ([2, DIM], np.ones(DIM), "bad-request"),
        ([2**40, 2**40], np.ones(DIM), "bad-request"),
    ],
    ids=["nan", "infinity", "zero", "tiny", "short", "bytes missing", "row missing", "vast"],
)
@pytest.mark.parametrize("op", ["add_to_gallery", "re_id_image"])
def test_a_feature_that_is_none_is_refused(wire, op, shape, values, code):
    fields = {"id": 2} if op == "add_to_gallery" else {}
    frame = values.astype("<f4").tobytes()
    reply = wire.ask({"op": op, "parts": [{"kind": "feature", "shape": shape}], **fields}, frame)
    assert reply["code"] == code


@pytest.mark.parametrize("frames", [0, 1, 3, 1000])
def test_frames_missing_or_too_many_are_counted(wire, frames):
    reply = wire.ask({"op": "re_id_image", "parts": [ENCODED] * 2}, *[b"frame"] * frames)
    assert reply["code"] == "bad-request"
    came = "more than 64" if frames == 1000 else frames
    assert f"2 parts are described but {came} frames came" in reply["message"]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"op": "become_sentient"}, "unknown-op"),
        ({}, "unknown-op"),
        ({"op": "status", "v": 9}, "unknown-version"),
        ({"op": "remove_from_gallery"}, "bad-request"),
        ({"op": "remove_from_gallery", "id": 2**63}, "bad-id"),
        ({"op": "remove_from_gallery", "id": 12345}, "unknown-id"),
        ({"op": "set_label", "id": 12345, "label": "Eve"}, "unknown-id"),
        ({"op": "status", "extra": 1}, "bad-request"),
        ({"op": "set_per_id_gallery_limit", "count": 0, "drop_method": "drop_oldest"}, "bad-request"),
        ({"op": "set_per_id_gallery_limit", "count": 1, "drop_method": "drop_all"}, "bad-request"),
        ({"op": "set_per_id_gallery_limit", "count": 10**400, "drop_method": "drop_oldest"}, "bad-request"),
        ({"op": "rows", "limit": 1001}, "bad-request"),
        ({"op": "events", "after": "yesterday"}, "bad-request"),
        ({"op": "load", "engine": "WARP_DRIVE"}, "bad-request"),
        ({"op": "load", "engine": "HAILO_RT"}, "backend-unavailable"),
        ({"op": "load", "engine": "TFLITE", "accelerator": "MYRIAD"}, "backend-unavailable"),
        ({"op": "add_to_gallery", "id": 1, "parts": []}, "bad-request"),
        ({"op": "get_distances", "parts": []}, "bad-request"),
        ({"op": "publish_analytics", "results": [{"predictions": [{"id": -1}], "duration": 0}]}, "bad-request"),
        (b"", "bad-request"),
        (b"null", "bad-request"),
        (b"\x00\xff" * 100, "bad-request"),
        (b"[" * 500_000, "bad-request"),
        (b'{"op":' * 100_000, "bad-request"),
        (b'{"op": "publish_analytics", "results": [], "tag": ' + b"[" * 500_000 + b"]" * 500_000 + b"}", "bad-request"),
        (b'{"op": "publish_analytics", "results": [], "tag": "\\ud800"}', "bad-request"),
        (b'{"op": "status", "request": "' + b"x" * MAX_HEADER_BYTES + b'"}', "bad-request"),
    ],
)
def test_a_wrong_header_gets_a_typed_error(wire, header, code):
    reply = wire.ask(header)
    assert (reply["reply"], reply.get("code")) == ("error", code)
    assert len(reply["message"]) < 1000


@pytest.mark.parametrize("kind", ["tag", "kwargs"])
def test_what_is_nested_very_deep_cannot_be_published_and_stops_no_forgetting(wire, client, kind):
    tag, kwargs = ("[" * 500 + "]" * 500, "{}") if kind == "tag" else ("null", '{"a": ' * 500 + "1" + "}" * 500)
    text = f'{{"op": "publish_analytics", "results": [], "tag": {tag}, "kwargs": {kwargs}}}'
    reply = wire.ask(text.encode())
    assert reply["code"] == "cannot-publish"
    assert "nested deeper than 16 levels" in reply["message"]
    client.forget(7)


def test_a_change_that_works_is_not_spoilt_by_one_that_fails_in_the_same_turn(wire, client):
    wire.socket.send_multipart([b"", b'{"op": "remove_from_gallery", "id": 999}'])
    wire.socket.send_multipart([b"", b'{"op": "set_label", "id": 1, "label": "Ann"}'])
    kinds = [json.loads(wire.socket.recv_multipart()[1])["reply"] for _ in range(2)]
    assert kinds == ["error", "done"]
    assert client.id_labels() == {1: "Ann"}


def test_a_dealer_that_forgets_the_empty_frame_is_told_so(wire):
    [reply] = wire.say(b'{"op": "status"}')
    assert "empty frame" in json.loads(reply)["message"]


def test_a_message_without_a_header_is_told_so(wire):
    [reply] = wire.say(b"")
    assert json.loads(reply)["code"] == "bad-request"


def test_a_correlated_req_and_a_proxy_get_their_frames_back(wire):
    *envelope, reply = wire.say(b"hop", b"{123", b"", b'{"op": "status"}')
    assert envelope == [b"hop", b"{123", b""]
    assert json.loads(reply)["reply"] == "status"


def test_what_leads_a_reply_back_is_small(wire):
    *envelope, reply = wire.say(*[b"h" * 255] * 7, b"", b'{"op": "status"}')
    assert len(envelope) == 8
    [reply] = wire.say(b"h" * 256, b"", b'{"op": "status"}')
    assert "at most 255 bytes" in json.loads(reply)["message"]


def test_a_frame_beyond_the_limit_closes_the_connection_and_no_other(shared_daemon, client):
    greedy = Wire(shared_daemon.endpoint)
    lost = greedy.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    greedy.socket.send_multipart([b"", json.dumps({"op": "status"}).encode(), bytes(MAX_FRAME_BYTES + 1)])
    assert lost.poll(IN_TIME_S * 1000), "the connection was left open"
    assert client.ids() == [1]
    greedy.socket.disable_monitor()
    lost.close()
    greedy.socket.close()


def test_the_client_refuses_what_cannot_be_sent_before_it_sends_it(client):
    with pytest.raises(reidd.ImageError, match="20000x20000"):
        client.re_id_image(np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)))
    with pytest.raises(reidd.RequestError, match="at most 134217728"):
        client.re_id_image(b"\xff\xd8\xff" + bytes(MAX_FRAME_BYTES))


def test_a_deadline_that_has_passed_is_said_in_time(wire, image):
    started = time.monotonic()
    reply = wire.ask({"op": "extract_features", "deadline_ms": 1, "parts": [ENCODED] * 64}, *[jpeg(image)] * 64)
    assert (reply.get("code"), time.monotonic() - started < 2) == ("deadline-passed", True)


def test_what_subscribers_missed_is_kept_within_bounds(wire):
    tag = "x" * 100_000
    for _ in range(30):
        assert wire.ask({"op": "publish_analytics", "results": [], "tag": tag})["reply"] == "done"
    reply = wire.ask({"op": "events", "after": 0})
    assert not reply["complete"]
    assert 5 <= len([event for event in reply["events"] if event["tag"] == tag]) <= 10
