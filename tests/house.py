"""A daemon with a door on tcp, and the keys to it."""

import signal
import socket
from pathlib import Path

from curve import Client, Session, pair
from subjects import Daemon

import reidd
from reidd import keys
from reidd.keys import Role


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class House:
    """Everybody who has a key has a file of its name beside the folder of keys. Gone at the end of a `with`."""

    def __init__(self, folder: Path, more: str = ""):
        self.keys = folder / "keys"
        self.address, self.analytics = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
        self.key("cam", Role.QUERY)
        config = folder / "reidd.toml"
        served = f'tcp = "{self.address}"\ntcp_analytics = "{self.analytics}"\nkeys_folder = "{self.keys}"\n'
        config.write_text(f"{served}workers = 1\n{more}")
        self.daemon = Daemon(folder, "--config", str(config)).wait_until_ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.daemon.end(signal.SIGKILL)

    def key(self, name, *roles):
        """Make a key and its client's file."""
        path = self.path(name)
        keys.write(path, keys.new(self.keys, name, roles), mode=0o600)
        return path

    def client(self, name, timeout=5.0):
        return reidd.Client(self.address, timeout=timeout, key=self.path(name))

    def path(self, name):
        """The file of a key."""
        return self.keys.with_name(f"{name}.key")

    def by_hand(self, name=None, kind=b"DEALER"):
        """A connection that has said nothing, by a key of that name or a random one."""
        ring = keys.Keyring.read(self.keys)
        own = None
        if name:
            given = keys.credentials(self.path(name))
            own = pair(given.public, given.secret)
        server, _ = pair(ring.server.public, ring.server.secret)
        return Session(self.address if kind == b"DEALER" else self.analytics, Client(server, own, kind))
