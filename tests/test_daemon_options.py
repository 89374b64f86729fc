"""How commands find a daemon: the machine's, another one on it, or one on another machine that takes a key."""

import socket

import pytest

import reidd
from reidd import keys
from reidd.cli import daemon_options


def test_over_tcp_a_command_shows_the_key_that_is_named_in_the_environment(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        endpoint = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(reidd.ConfigError, match="REIDD_KEY"):
            daemon_options.client(endpoint, 0.1)
        keys.write(tmp_path / "cam.key", keys.new(tmp_path / "keys", "cam", [keys.Role.QUERY]), mode=0o600)
        monkeypatch.setenv("REIDD_KEY", str(tmp_path / "cam.key"))
        with daemon_options.client(endpoint, 0.1) as client:
            assert client.endpoint == endpoint


def test_where_nobody_listens_it_says_how_to_start_the_service(tmp_path):
    with pytest.raises(reidd.ConnectionError, match=r"`systemctl start reidd` or, .* `reidd serve`"):
        daemon_options.client(f"ipc://{tmp_path}/none.sock", 0.1)
