"""Requests and events over tcp at a real daemon: large ones, many, and those of other clients of ZeroMQ than ours."""

import json
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path

import zmq
from curve import GREETING
from house import House

import reidd
from reidd import keys
from reidd.channel import secure
from reidd.keys import Role
from reidd.protocol import MAX_FRAME_BYTES

IN_TIME_MS = 5000


def test_a_half_open_connection_is_closed_in_time(house):
    host, port = house.address.removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as half:
        half.sendall(struct.pack("!B8sB", 0xFF, bytes(8), 0x7F))
        started = time.monotonic()
        while half.recv(4096):
            pass
        assert time.monotonic() - started < 5
    assert Path(f"/proc/{house.daemon.process.pid}").exists()


def test_a_key_that_asks_too_often_is_busy_and_others_are_not(short_folder):
    with House(short_folder, "tcp_rate = 5.0\ntcp_burst = 10\n") as flooded:
        flooded.key("other", Role.QUERY)
        with flooded.client("cam") as flooding:
            refused = []
            for _ in range(30):
                try:
                    flooding.ids()
                except reidd.BusyError as error:
                    refused.append(error.retry_after_s)
        assert 5 < len(refused) <= 20
        assert 0 < max(refused) <= 0.2
        with flooded.client("other") as other, flooded.daemon.client() as local:
            assert other.ids() == local.ids() == []


def test_the_largest_frame_passes_over_tcp(house):
    house.key("large", Role.QUERY)
    request = b'{"op":"re_id_image","deadline_ms":30000,"parts":[{"kind":"encoded"}]}'
    with zmq.Context.instance().socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        secure(dealer, keys.credentials(house.path("large")))
        dealer.connect(house.address)
        dealer.send_multipart([b"", request, bytes(MAX_FRAME_BYTES)])
        assert dealer.poll(30_000)
        assert json.loads(dealer.recv_multipart()[1])["code"] == "bad-image"


def test_a_req_and_one_with_heartbeats_are_served_over_tcp(house):
    with zmq.Context.instance().socket(zmq.REQ) as asking:
        for option in (zmq.REQ_RELAXED, zmq.REQ_CORRELATE):
            asking.setsockopt(option, 1)
        asking.setsockopt(zmq.LINGER, 0)
        asking.setsockopt(zmq.HEARTBEAT_IVL, 50)
        asking.setsockopt(zmq.HEARTBEAT_TIMEOUT, 500)
        secure(asking, keys.credentials(house.path("cam")))
        seen = asking.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        asking.connect(house.address)
        for _ in range(3):
            asking.send(b'{"op":"ids"}')
            assert asking.poll(IN_TIME_MS)
            assert json.loads(asking.recv())["reply"] == "ids"
            # Longer than a heartbeat may be late.
            assert not seen.poll(700)
        asking.disable_monitor()
        seen.close()


def test_a_client_of_zmtp_3_0_is_served(house):
    with house.by_hand("cam") as session:
        session.talk.sendall(GREETING.replace(b"\x7f\x03\x01", b"\x7f\x03\x00"))
        session.heard(len(GREETING))
        session.shake(greeted=True)
        session.send(b"", b'{"op":"ids"}')
        assert json.loads(session.receive()[1])["reply"] == "ids"


def test_a_subscriber_of_zmtp_3_0_is_served(house, image):
    house.key("old", Role.SUBSCRIBE)
    with house.by_hand("old", kind=b"SUB").shake() as session, house.daemon.client() as local:
        session.send(b"\1labelled")
        while True:
            local.add_to_gallery(image, 9)
            local.set_label(9, "Ann")
            session.talk.settimeout(0.3)
            with suppress(TimeoutError):
                assert session.receive()[0] == b"labelled"
                break
