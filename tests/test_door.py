"""The door proves itself shut: at the start, and again and again while it serves."""

import resource
import socket
import sys
import time
from contextlib import ExitStack, closing

import pytest
import zmq
from zmq.utils import monitor

from reidd import keys
from reidd.channel import secure
from reidd.daemon import door as doors
from reidd.daemon import served_socket, stranger
from reidd.daemon.door import Door
from reidd.daemon.sockets import Addresses
from reidd.daemon.zmtp import Null
from reidd.errors import ConfigError, ForbiddenError
from reidd.keys import Role

HERE = Addresses("tcp://127.0.0.1:0", "tcp://127.0.0.1:0")


@pytest.fixture
def folder(tmp_path):
    keys.new(tmp_path / "keys", "cam", [Role.QUERY])
    return tmp_path / "keys"


@pytest.fixture
def door(folder):
    with closing(Door(folder, HERE)) as opened:
        yield opened


@pytest.fixture
def client():
    """What makes a client that has a key."""
    with zmq.Context() as context, ExitStack() as stack:

        def made(kind, address, given):
            opened = stack.enter_context(context.socket(kind))
            opened.setsockopt(zmq.LINGER, 0)
            secure(opened, given)
            opened.connect(address)
            return opened

        yield made


def turn_until(door, condition, within=5.0):
    until, come = time.monotonic() + within, []
    while not condition():
        assert time.monotonic() < until, "it never came to be"
        door.turn(time.monotonic())
        come += door.messages(10)
    return come


def first_message(door, within=5.0):
    until, come = time.monotonic() + within, []
    while not come:
        assert time.monotonic() < until, "nothing came"
        come += door.messages(1)
    return come[0]


def test_it_opens_when_a_random_key_is_refused(door):
    assert door.shut is None
    assert door.endpoint.startswith("tcp://127.0.0.1:")


def test_it_does_not_open_when_a_random_key_is_let_in(folder, monkeypatch):
    monkeypatch.setattr(Door, "_may_ask", lambda *_: True)
    with pytest.raises(ConfigError, match="a random key was let in"):
        Door(folder, HERE)


def test_it_does_not_open_when_it_takes_no_keys(folder, monkeypatch):
    monkeypatch.setattr(doors, "_curve", lambda _: lambda kind, _: lambda: Null(kind))
    with pytest.raises(ConfigError, match="a random key was let in"):
        Door(folder, HERE)


def test_it_shuts_for_good_when_a_random_key_is_let_in_later(door, client, folder, monkeypatch):
    known = keys.new(folder, "known", [Role.QUERY])
    monkeypatch.setattr(doors, "_text", lambda _: known.public)
    monkeypatch.setattr(door, "_next_proof", 0.0)
    turn_until(door, lambda: door.shut)
    monkeypatch.undo()
    dealer = client(zmq.DEALER, door.endpoint, known)
    dealer.send(b"")
    assert not turn_until(door, lambda: dealer.poll(300) == 0)
    door.publish(b"added", b"{}")
    assert not door.waiting
    for address in (door.endpoint, door.analytics_endpoint):
        host, port = address.removeprefix("tcp://").split(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port))).close()


def test_it_stays_open_when_the_proof_holds_again(door, monkeypatch):
    monkeypatch.setattr(door, "_next_proof", 0.0)
    turn_until(door, lambda: door._next_proof > 0)
    assert door.shut is None


def test_a_door_that_is_full_stays_open(door, client, folder, monkeypatch):
    monkeypatch.setattr(stranger, "PROOF_WITHIN_S", 0.5)
    monkeypatch.setattr(served_socket, "SPARE_FILES", resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 6)
    known = keys.new(folder, "known", [Role.QUERY])
    for _ in range(2):
        client(zmq.DEALER, door.endpoint, known).send(b"")
    turn_until(door, lambda: len(door._requests.names) == 2 and not door._requests._silent)
    monkeypatch.setattr(door, "_next_proof", 0.0)
    turn_until(door, lambda: door._next_proof > 0)
    assert door.shut is None


def test_when_a_flood_keeps_the_proof_out_the_door_stays_and_the_proof_is_tried_again(door, monkeypatch, caplog):
    monkeypatch.setattr(door, "_next_proof", 0.0)
    door.turn(time.monotonic())
    with monkeypatch.context() as flooded:
        flooded.setattr(door._requests, "_accept", lambda: None)
        door.turn(time.monotonic() + 20)
    assert door.shut is None
    assert "it tries again" in caplog.text
    monkeypatch.setattr(door, "_next_proof", 0.0)
    turn_until(door, lambda: door._next_proof > 0)
    assert door.shut is None


def test_a_flood_at_the_start_keeps_no_daemon_from_starting(folder, monkeypatch, caplog):
    monkeypatch.setattr(stranger, "PROOF_WITHIN_S", 0.3)
    monkeypatch.setattr(served_socket.ServedSocket, "_accept", lambda _: None)
    with closing(Door(folder, HERE)) as opened:
        assert opened.shut is None
    assert "it tries again" in caplog.text


def test_a_key_that_was_just_made_is_let_in(door, client, folder):
    dealer = client(zmq.DEALER, door.endpoint, keys.new(folder, "late", [Role.ENROL]))
    dealer.send_multipart([b"", b"question"])
    frames, uid, key = first_message(door)
    assert (frames[1:], uid, door.user(key)) == ([b"", b"question"], None, ("late", {Role.ENROL}))
    door.send(frames[0], [b"", b"answer"])
    assert dealer.poll(2000)
    assert dealer.recv_multipart() == [b"", b"answer"]


def test_a_revoked_key_is_nobodys_on_an_open_connection(door, client, folder):
    dealer = client(zmq.DEALER, door.endpoint, keys.new(folder, "guest", [Role.QUERY]))
    dealer.send(b"")
    key = first_message(door).key
    keys.revoke(folder, "guest")
    turn_until(door, lambda: "guest" not in door.key_names)
    with pytest.raises(ForbiddenError, match="revoked"):
        door.user(key)


def test_the_connections_of_a_revoked_key_are_closed_in_the_end_and_no_others(door, client, folder, monkeypatch):
    monkeypatch.setattr(doors, "FAREWELL_S", 0.0)
    for name in ("guest", "friend"):
        client(zmq.DEALER, door.endpoint, keys.new(folder, name, [Role.QUERY])).send(name.encode())
    turn_until(door, lambda: len(door._requests.names) == 2 and not door._requests._silent)
    (folder / "clients" / "friend.key").chmod(0o666)
    turn_until(door, lambda: not door.key_names)
    assert len(door._requests.names) == 2
    (folder / "clients" / "friend.key").chmod(0o640)
    turn_until(door, lambda: door.key_names)
    keys.revoke(folder, "guest")
    turn_until(door, lambda: len(door._requests.names) == 1)
    (left,) = door._requests._connections.values()
    assert door.user(left.key).name == "friend"


def test_who_is_let_in_is_read_once_however_many_are_sent_away(door, client, folder, monkeypatch):
    monkeypatch.setattr(served_socket, "MAX_OF_ONE_KEY", 20)
    spy = keys.new(folder, "spy", [Role.SUBSCRIBE])
    for _ in range(20):
        client(zmq.SUB, door.analytics_endpoint, spy)
    turn_until(door, lambda: len(door._analytics._served.names) == 20 and not door._analytics._served._silent)
    keys.revoke(folder, "spy")
    monkeypatch.setattr(doors, "REFRESH_S", 0.0)
    reads, read = [], keys.Keyring.read
    monkeypatch.setattr(keys.Keyring, "read", lambda *given, **how: reads.append(1) or read(*given, **how))
    door.turn(time.monotonic())
    assert not door._analytics._served.names
    assert len(reads) == 1


def test_only_the_subscriber_whose_key_is_revoked_is_sent_away(door, client, folder):
    spy, wall = (
        client(zmq.SUB, door.analytics_endpoint, keys.new(folder, name, [Role.SUBSCRIBE])) for name in ("spy", "wall")
    )
    for subscriber in (spy, wall):
        subscriber.subscribe(b"")
    turn_until(door, lambda: len(door._analytics._topics) == 2)
    names = set(door._analytics._served.names)
    keys.revoke(folder, "spy")
    turn_until(door, lambda: len(door._analytics._served.names) == 1)
    assert set(door._analytics._served.names) < names
    door.publish(b"added", b"{}")
    assert wall.poll(2000)
    assert wall.recv_multipart() == [b"added", b"{}"]
    assert not spy.poll(100)


@pytest.mark.parametrize("roles", [[Role.QUERY], [Role.ENROL, Role.SCORES]])
def test_a_key_without_the_role_hears_nothing(door, client, folder, roles):
    given = keys.new(folder, "deaf", roles)
    subscriber = client(zmq.SUB, door.analytics_endpoint, given)
    seen = subscriber.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
    turn_until(door, lambda: seen.poll(0))
    assert monitor.recv_monitor_message(seen)["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    subscriber.disable_monitor()
    seen.close()


@pytest.mark.parametrize(
    "address",
    [
        "ws://127.0.0.1:0",
        "127.0.0.1:7340",
        "ipc:///tmp/x",
        "tcp://nowhere.invalid:1",
        "tcp://a..b:1",
        "tcp://127.0.0.1:x",
    ],
)
def test_an_address_that_is_none_is_refused(folder, address):
    with pytest.raises(ConfigError, match=address.replace(".", r"\.")):
        Door(folder, Addresses(address))


def test_an_address_that_is_taken_is_refused(door, folder):
    with pytest.raises(ConfigError, match="choose another address"):
        Door(folder, Addresses(door.endpoint))


def test_without_the_library_that_encrypts_it_does_not_open(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "reidd.daemon.curve", None)
    with pytest.raises(ConfigError, match=r"pip install 'reidd\[tcp\]'"):
        Door(folder, HERE)
