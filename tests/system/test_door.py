"""The door on tcp at a real daemon: who has a key comes in and does what its roles allow; nobody else does."""

import asyncio
import json
import time

import numpy as np
import pytest
import zmq
from subjects import Daemon
from zmq.utils import monitor

import reidd
import reidd.aio
from reidd import keys
from reidd.channel import secure
from reidd.client import subscribed
from reidd.keys import Role

IN_TIME_MS = 5000


def knock(address, kind=zmq.DEALER, **options):
    """Connect with these socket options; return what ZeroMQ says of the handshake."""
    with zmq.Context.instance().socket(kind) as stranger:
        stranger.setsockopt(zmq.LINGER, 0)
        for name, value in options.items():
            stranger.setsockopt(getattr(zmq, name), value)
        seen = stranger.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            | zmq.EVENT_DISCONNECTED
        )
        stranger.connect(address)
        assert seen.poll(IN_TIME_MS), "nothing happened"
        event = zmq.Event(monitor.recv_monitor_message(seen)["event"])
        stranger.disable_monitor()
        seen.close()
        return event


def curve(server_public, pair=None):
    public, secret = pair or zmq.curve_keypair()
    return {"CURVE_SERVERKEY": server_public, "CURVE_PUBLICKEY": public, "CURVE_SECRETKEY": secret}


def server_public(house):
    return json.loads((house.keys / "server.key").read_text())["public"].encode()


@pytest.mark.parametrize(("socket_of", "kind"), [("address", zmq.DEALER), ("analytics", zmq.SUB)])
class TestStrangers:
    def test_a_random_key_is_refused(self, house, socket_of, kind):
        event = knock(getattr(house, socket_of), kind, **curve(server_public(house)))
        assert event == zmq.EVENT_HANDSHAKE_FAILED_AUTH

    def test_no_key_at_all_is_refused(self, house, socket_of, kind):
        assert knock(getattr(house, socket_of), kind) != zmq.EVENT_HANDSHAKE_SUCCEEDED

    def test_a_password_is_refused(self, house, socket_of, kind):
        event = knock(getattr(house, socket_of), kind, PLAIN_USERNAME=b"admin", PLAIN_PASSWORD=b"admin")
        assert event != zmq.EVENT_HANDSHAKE_SUCCEEDED

    def test_a_known_public_key_without_its_secret_is_refused(self, house, socket_of, kind):
        cam = json.loads(house.keys.with_name("cam.key").read_text())
        pair = cam["public"].encode(), zmq.curve_keypair()[1]
        event = knock(getattr(house, socket_of), kind, **curve(server_public(house), pair))
        assert event != zmq.EVENT_HANDSHAKE_SUCCEEDED

    def test_a_client_does_not_talk_to_another_server(self, house, socket_of, kind):
        cam = json.loads(house.keys.with_name("cam.key").read_text())
        pair = cam["public"].encode(), cam["secret"].encode()
        event = knock(getattr(house, socket_of), kind, **curve(zmq.curve_keypair()[0], pair))
        assert event != zmq.EVENT_HANDSHAKE_SUCCEEDED


def test_the_client_wants_a_key_for_tcp(house):
    with pytest.raises(reidd.ConfigError, match="takes a key"):
        reidd.Client(house.address)


def test_what_is_published_in_process_goes_through_the_door_with_the_key_of_the_environment(house, monkeypatch):
    monkeypatch.setenv("REIDD_ENDPOINT", house.address)
    with reidd.ReIdentification("reidd/person") as identifier:
        results = identifier.re_id_features(np.eye(1, 256))
        with pytest.raises(reidd.ConfigError, match="REIDD_KEY"):
            identifier.publish_analytics(results)
        monkeypatch.setenv("REIDD_KEY", str(house.keys.with_name("cam.key")))
        identifier.publish_analytics(results, "by tcp")
    with house.daemon.client() as local:
        assert local.events().events[-1]["tag"] == "by tcp"


def test_a_key_does_what_its_roles_allow(house, image):
    house.key("desk", Role.ENROL)
    with house.client("cam") as cam, house.client("desk") as desk:
        desk.add_to_gallery(image, 7)
        assert cam.re_id_image(image).predictions[0].id == 7
        with pytest.raises(reidd.ForbiddenError, match="enrol"):
            cam.add_to_gallery(image, 8)
        with pytest.raises(reidd.ForbiddenError, match="admin"):
            desk.clear()
    with house.daemon.client() as local:
        assert local.ids() == [7]


def test_without_the_role_scores_distances_are_bands(house, image, query_crops):
    house.key("lab", Role.QUERY, Role.SCORES)
    with house.daemon.client() as local, house.client("cam") as cam, house.client("lab") as lab:
        local.add_to_gallery(image, 7)
        asked = query_crops[-1][1]
        exact, coarse = lab.re_id_image(asked), cam.re_id_image(asked)
        assert exact.predictions == local.re_id_image(asked).predictions
        assert exact.distance_matrix.shape[1] == local.count()
        assert coarse.distance_matrix.shape == (1, 0)
        distance = coarse.predictions[0].distance
        assert distance == pytest.approx(round(distance, 1)) != exact.predictions[0].distance
        with pytest.raises(reidd.ForbiddenError, match="scores"):
            cam.re_id_image(asked, max_distance=0.3)


def test_a_revoked_key_is_answered_no_more_on_an_open_connection(house):
    house.key("guest", Role.QUERY)
    with house.client("guest", timeout=2) as guest, house.client("cam") as cam:
        assert guest.status().pid == house.daemon.process.pid
        keys.revoke(house.keys, "guest")
        until = time.monotonic() + 2
        with pytest.raises(reidd.ForbiddenError, match="revoked"):
            while time.monotonic() < until:
                guest.status()
        assert cam.status().pid == house.daemon.process.pid
    assert knock(house.address, **curve(server_public(house))) == zmq.EVENT_HANDSHAKE_FAILED_AUTH


def test_a_key_made_while_the_daemon_runs_is_let_in(house):
    house.key("late", Role.QUERY)
    with house.client("late") as late:
        assert late.status().model == "reidd/person"


def test_a_damaged_allow_list_lets_nobody_in_until_it_is_mended(house):
    path = house.keys / "clients" / "cam.key"
    whole = path.read_text()
    with house.client("cam", timeout=2) as cam:
        cam.status()
        path.write_text("{")
        until = time.monotonic() + 2
        with pytest.raises(reidd.ForbiddenError):
            while time.monotonic() < until:
                cam.status()
        path.write_text(whole)
        while True:
            try:
                assert cam.status().pid == house.daemon.process.pid
                break
            except reidd.ForbiddenError:
                assert time.monotonic() < until + 2


def test_subscribers_hear_events_with_coarse_distances(house, image):
    path = house.key("wall", Role.SUBSCRIBE)
    with house.daemon.client() as local:
        local.add_to_gallery(image, 7)
        # A new key is let in within a second; until then the handshake is tried again.
        with subscribed(house.analytics, "identified", timeout=5, key=keys.credentials(path)) as events:
            heard = None
            while heard is None:
                exact = local.re_id_image(image[:, :-8])
                heard = next(events, None)
        distance = heard["results"][0]["predictions"][0]["distance"]
        assert distance == pytest.approx(round(distance, 1))
        assert distance != exact.predictions[0].distance
    with house.client("wall") as wall:
        assert wall.analytics_endpoint() == house.analytics
        assert wall.events(heard["seq"] - 1).events[0]["results"] == heard["results"]
        with pytest.raises(reidd.ForbiddenError):
            wall.re_id_image(image)


def test_a_key_without_the_role_hears_nothing(house):
    cam = keys.credentials(house.keys.with_name("cam.key"))
    pair = cam.public.encode(), cam.secret.encode()
    assert knock(house.analytics, zmq.SUB, **curve(cam.server_public.encode(), pair)) == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    with house.client("cam") as client, pytest.raises(reidd.ForbiddenError, match="the role admin or subscribe"):
        next(client.watch())

    async def watched():
        async with reidd.aio.Client(house.address, key=house.path("cam")) as client:
            async for _ in client.watch():
                pass

    with pytest.raises(reidd.ForbiddenError, match="the role admin or subscribe"):
        asyncio.run(asyncio.wait_for(watched(), IN_TIME_MS / 1000))


def test_a_revoked_subscriber_hears_nothing_more(house, image):
    path = house.key("spy", Role.SUBSCRIBE)
    with zmq.Context.instance().socket(zmq.SUB) as spy, house.daemon.client() as local:
        secure(spy, keys.credentials(path))
        spy.setsockopt(zmq.LINGER, 0)
        spy.subscribe("labelled")
        seen = spy.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        spy.connect(house.analytics)
        assert seen.poll(IN_TIME_MS)
        seen.recv_multipart()
        keys.revoke(house.keys, "spy")
        assert seen.poll(IN_TIME_MS), "the connection was left open"
        local.add_to_gallery(image, 7)
        local.set_label(7, "Ann")
        assert not spy.poll(300)
        spy.disable_monitor()
        seen.close()


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ('tcp = "tcp://127.0.0.1:0"\nkeys_folder = "{keys}"', "keys new"),
        ('tcp = "ws://127.0.0.1:0"\nkeys_folder = "{keys}"', "expected tcp://"),
        ('tcp = "127.0.0.1:7340"\nkeys_folder = "{keys}"', "expected tcp://"),
        ('tcp_analytics = "tcp://127.0.0.1:0"\nkeys_folder = "{keys}"', "tcp is not"),
    ],
)
def test_a_daemon_that_would_leave_the_door_open_does_not_start(short_folder, config, says):
    path = short_folder / "reidd.toml"
    path.write_text(config.format(keys=short_folder / "keys"))
    started = Daemon(short_folder, "--config", str(path))
    assert started.process.wait(60) == 78
    assert says in started.log.read_text()


def test_without_the_library_that_encrypts_the_daemon_does_not_start(short_folder):
    (short_folder / "nacl.py").write_text("raise ImportError('no module named nacl')\n")
    keys.new(short_folder / "keys", "cam", [Role.QUERY])
    config = short_folder / "reidd.toml"
    config.write_text(f'tcp = "tcp://127.0.0.1:0"\nkeys_folder = "{short_folder}/keys"')
    started = Daemon(short_folder, "--config", str(config), env={"PYTHONPATH": str(short_folder)})
    assert started.process.wait(60) == 78
    assert "pip install 'reidd[tcp]'" in started.log.read_text()


def test_no_secret_comes_into_the_log(house):
    knock(house.address)
    ring = json.loads((house.keys / "server.key").read_text())
    log = house.daemon.log.read_text()
    assert "a client was cut off" in log
    assert ring["secret"] not in log
