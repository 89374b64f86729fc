"""The door on tcp: CURVE only, opened by the core's own loop to those on the allow-list, proven shut to all others."""

import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import zmq
from zmq.utils import z85

from reidd import keys, protocol
from reidd.daemon.stranger import Stranger
from reidd.errors import ConfigError, ForbiddenError
from reidd.keys import Keyring, Role, User

log = logging.getLogger(__name__)

REQUESTS, ANALYTICS = b"reidd-requests", b"reidd-analytics"
"""The ZAP domains of the two sockets."""
HEARERS = {Role.SUBSCRIBE, Role.ADMIN}
ZAP = "inproc://zeromq.zap.01"
OLDEST_ZMQ = (4, 3, 3)
"""Older ones let a client without a key overflow the server's memory (CVE-2020-15166)."""
HANDSHAKE_MS = 2000
HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 5000, 15_000
BACKLOG = 64
REFRESH_S = 0.5
JUST_MADE_S = 2.0
PROOF_EVERY_S = 60.0


class Addresses(NamedTuple):
    """Where the door stands, such as `tcp://0.0.0.0:7340`."""

    requests: str
    analytics: str | None = None


class Door:
    """The two tcp sockets and their authenticator, in the caller's thread: whoever polls `sources` calls `turn`.

    The authenticator answers in the core's own loop, so it cannot have stopped while the core serves; and libzmq is
    told to let nobody in when there is none (`ZMQ_ZAP_ENFORCE_DOMAIN`).
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", folder: Path, addresses: Addresses):
        _check(addresses)
        self._keys, self._keyring = folder, Keyring.read(folder)
        self._stack = ExitStack()
        self._news: list[tuple[str, str]] = []
        self._refreshed = time.monotonic()
        self.shut: str | None = None
        """Why nobody is let in any more."""
        try:
            self._context = context
            self._zap = self._opened(zmq.REP)
            self._zap.bind(ZAP)
            self.requests = self._bound(zmq.ROUTER, addresses.requests, REQUESTS)
            self.analytics: zmq.Socket[bytes] | None = None
            if addresses.analytics:
                self.analytics = self._bound(zmq.PUB, addresses.analytics, ANALYTICS)
            # With a port of 0 it is known only now.
            self._analytics_address = self.analytics_endpoint
            self._stranger: Stranger | None = None
            self._prove_at_start()
        except BaseException:
            self.close()
            raise
        self._next_proof = time.monotonic() + PROOF_EVERY_S

    @property
    def sources(self) -> "tuple[zmq.Socket[bytes], ...]":
        """What to poll."""
        return (self.requests, self._zap)

    @property
    def endpoint(self) -> str:
        """The address of the request socket, its port included."""
        return _address(self.requests)

    @property
    def analytics_endpoint(self) -> str:
        """The address of the analytics socket; empty when there is none."""
        return _address(self.analytics) if self.analytics is not None else ""

    def turn(self, now: float) -> None:
        """Answer handshakes; now and then read the allow-list again, and prove that a stranger is refused."""
        self._answer_handshakes()
        if now >= self._refreshed + REFRESH_S:
            self._refresh()
        self._reopen_analytics()
        if self._stranger is None and now >= self._next_proof:
            self._stranger = Stranger(self._context, self.endpoint, self._keyring.server.public)
        if self._stranger is not None and (refused := self._stranger.refused(now)) is not None:
            self._stranger.close()
            self._stranger, self._next_proof = None, now + PROOF_EVERY_S
            if not refused:
                self._shut("a random key was let in, or nothing proved that it is not")

    def user(self, key: str) -> User:
        """Whoever holds a public key, as the allow-list has it now.

        Raises:
            ForbiddenError: it was revoked after it came in.
        """
        if self.shut is not None or key not in self._keyring.users:
            raise ForbiddenError("this key was revoked")
        return self._keyring.users[key]

    @property
    def key_names(self) -> list[str]:
        """The names of the keys that are let in."""
        return sorted(user.name for user in self._keyring.users.values())

    def news(self) -> list[tuple[str, str]]:
        """What happened to keys since the last call: `key_added`, `key_changed` or `key_revoked`, and the name."""
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        """Close the sockets. Twice is fine."""
        self._stack.close()

    def _opened(self, kind: int) -> "zmq.Socket[bytes]":
        opened = self._context.socket(kind)
        self._stack.callback(opened.close, linger=0)
        return opened

    def _bound(self, kind: int, address: str, domain: bytes) -> "zmq.Socket[bytes]":
        bound = self._opened(kind)
        # Everything before bind: a connection made in between would meet the old settings.
        bound.setsockopt(zmq.CURVE_SERVER, 1)
        bound.setsockopt(zmq.CURVE_SECRETKEY, self._keyring.server.secret.encode())
        bound.setsockopt(zmq.ZAP_DOMAIN, domain)
        bound.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        bound.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        bound.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        bound.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        bound.setsockopt(zmq.MAXMSGSIZE, protocol.MAX_FRAME_BYTES)
        bound.setsockopt(zmq.BACKLOG, BACKLOG)
        bound.setsockopt(zmq.SNDTIMEO, 0)
        try:
            bound.bind(address)
        except zmq.ZMQError as error:
            raise ConfigError(f"{address}: cannot be bound: {error.strerror}; choose another address") from None
        return bound

    def _answer_handshakes(self) -> None:
        while self._zap.poll(0):
            # RFC 27: version, request id, domain, address, routing id, mechanism, the client's public key.
            _, request, domain, _, _, mechanism, *halves = self._zap.recv_multipart()
            public = z85.encode(halves[0]).decode() if mechanism == b"CURVE" and len(halves) == 1 else ""
            status, user = (b"200", public.encode()) if self._welcome(public, domain) else (b"400", b"")
            self._zap.send_multipart([b"1.0", request, status, b"", user, b""])

    def _welcome(self, public: str, domain: bytes) -> bool:
        if public not in self._keyring.users and keys.changed_within(self._keys, JUST_MADE_S):
            # A client that is refused does not come again, so its key is looked for once more.
            self._refresh()
        user = self._keyring.users.get(public)
        if self.shut is not None or user is None:
            return False
        # A PUB socket sees no request that could be checked later, so who may hear is decided here.
        return domain == REQUESTS or (domain == ANALYTICS and not user.roles.isdisjoint(HEARERS))

    def _refresh(self) -> None:
        self._refreshed = time.monotonic()
        before = self._keyring.users
        try:
            users = Keyring.read(self._keys, empty=True).users
        except ConfigError as error:
            if before:
                log.error("nobody is let in over tcp until this is mended: %s", error)
            users = {}
        # The sockets keep the server key that they were bound with.
        self._keyring = self._keyring._replace(users=users)
        changed = [user for public, user in before.items() if users.get(public) != user]
        for user in changed:
            log.warning("the key %r was revoked or changed", user.name)
        self._news += _changes(before, users)
        if changed and self.analytics is not None:
            self._send_subscribers_away()

    def _send_subscribers_away(self) -> None:
        """Close all subscribers' connections, for one may be revoked; the others come in again, and see the gap."""
        if self.analytics is not None:
            self.analytics.close(linger=0)
            self.analytics = None

    def _reopen_analytics(self) -> None:
        if self.analytics is None and self._analytics_address and self.shut is None:
            try:
                self.analytics = self._bound(zmq.PUB, self._analytics_address, ANALYTICS)
            except ConfigError as error:
                # ZeroMQ closes the old one in its own time.
                log.debug("not yet: %s", error)

    def _shut(self, reason: str) -> None:
        if self.shut is None:
            log.critical("nobody is let in over tcp any more: %s; mend it and restart the daemon", reason)
            for bound in (self.requests, self.analytics):
                if bound is not None:
                    bound.unbind(_address(bound))
        self.shut = reason

    def _prove_at_start(self) -> None:
        stranger = Stranger(self._context, self.endpoint, self._keyring.server.public)
        while (refused := stranger.refused(time.monotonic())) is None:
            self._zap.poll(10)
            self._answer_handshakes()
        stranger.close()
        if not refused:
            raise ConfigError(f"{self.endpoint}: a random key was let in; like this the daemon does not serve tcp")


def _address(bound: "zmq.Socket[bytes]") -> str:
    address = bound.getsockopt(zmq.LAST_ENDPOINT)
    return address.rstrip(b"\0").decode() if isinstance(address, bytes) else ""


def _changes(before: dict[str, User], now: dict[str, User]) -> list[tuple[str, str]]:
    gone = [("key_revoked", before[key].name) for key in before.keys() - now.keys()]
    new = [("key_added", now[key].name) for key in now.keys() - before.keys()]
    changed = [("key_changed", now[key].name) for key in before.keys() & now.keys() if before[key] != now[key]]
    return gone + new + changed


def _check(addresses: Addresses) -> None:
    if not zmq.has("curve"):
        raise ConfigError("this libzmq has no CURVE, so tcp cannot be served; install pyzmq from a wheel")
    if zmq.zmq_version_info() < OLDEST_ZMQ:
        raise ConfigError(f"libzmq is {zmq.zmq_version()}; tcp takes {'.'.join(map(str, OLDEST_ZMQ))} or newer")
    for address in filter(None, addresses):
        if not address.startswith("tcp://"):
            raise ConfigError(f"address is {address!r}; expected tcp://HOST:PORT")
