"""The door proves itself shut: at the start, and again and again while it serves."""

import time

import pytest
import zmq

from reidd import keys, protocol
from reidd.daemon.door import REQUESTS, Addresses, Door
from reidd.errors import ConfigError, ForbiddenError
from reidd.keys import Role

HERE = Addresses("tcp://127.0.0.1:0")


@pytest.fixture
def folder(tmp_path):
    keys.new(tmp_path / "keys", "cam", [Role.QUERY])
    return tmp_path / "keys"


@pytest.fixture
def context():
    with zmq.Context() as opened:
        yield opened


@pytest.fixture
def door(context, folder):
    opened = Door(context, folder, HERE)
    yield opened
    opened.close()


def turn_until(door, condition, within=5.0):
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until, "it never came to be"
        door.turn(time.monotonic())


def test_it_opens_when_a_random_key_is_refused(door):
    assert door.shut is None
    assert door.endpoint.startswith("tcp://127.0.0.1:")


def test_it_does_not_open_when_a_random_key_is_let_in(context, folder, monkeypatch):
    monkeypatch.setattr(Door, "_welcome", lambda *_: True)
    with pytest.raises(ConfigError, match="a random key was let in"):
        Door(context, folder, HERE)


def test_it_shuts_for_good_when_a_random_key_is_let_in_later(door, monkeypatch):
    monkeypatch.setattr(Door, "_welcome", lambda *_: True)
    monkeypatch.setattr(door, "_next_proof", 0.0)
    turn_until(door, lambda: door.shut)
    monkeypatch.undo()
    known = keys.listed(door._keys)[0].public
    assert not door._welcome(known, REQUESTS)
    with pytest.raises(ForbiddenError):
        door.user(known)


def test_a_frame_larger_than_the_contract_allows_closes_the_connection_before_it_is_read(door):
    assert door.requests.getsockopt(zmq.MAXMSGSIZE) == protocol.MAX_FRAME_BYTES


def test_it_stays_open_when_the_proof_holds_again(door, monkeypatch):
    monkeypatch.setattr(door, "_next_proof", 0.0)
    turn_until(door, lambda: door._next_proof > 0)
    assert door.shut is None


def test_with_no_authenticator_nobody_comes_in(door, folder, context):
    """What libzmq does by itself is to let everybody in."""
    given = keys.new(folder, "late", [Role.QUERY])
    door._zap.close()
    with context.socket(zmq.DEALER) as client:
        client.setsockopt(zmq.LINGER, 0)
        client.setsockopt(zmq.CURVE_SERVERKEY, given.server_public.encode())
        client.setsockopt(zmq.CURVE_PUBLICKEY, given.public.encode())
        client.setsockopt(zmq.CURVE_SECRETKEY, given.secret.encode())
        seen = client.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        client.connect(door.endpoint)
        assert not seen.poll(500)
        client.disable_monitor()
        seen.close()


@pytest.mark.parametrize("address", ["ws://127.0.0.1:0", "127.0.0.1:7340", "ipc:///tmp/x", "tcp://nowhere.invalid:1"])
def test_an_address_that_is_none_is_refused(context, folder, address):
    with pytest.raises(ConfigError, match=address.replace(".", r"\.")):
        Door(context, folder, Addresses(address))


def test_an_old_libzmq_is_refused(context, folder, monkeypatch):
    monkeypatch.setattr(zmq, "zmq_version_info", lambda: (4, 3, 2))
    with pytest.raises(ConfigError, match=r"4\.3\.3"):
        Door(context, folder, HERE)


def test_a_libzmq_without_curve_is_refused(context, folder, monkeypatch):
    monkeypatch.setattr(zmq, "has", lambda _: False)
    with pytest.raises(ConfigError, match="no CURVE"):
        Door(context, folder, HERE)
