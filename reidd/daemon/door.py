"""The door on tcp: CURVE only, to those on the allow-list, proven shut to all others."""

import logging
import math
import select
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import lru_cache
from pathlib import Path

import zmq
from zmq.utils import z85

from reidd import keys
from reidd.daemon.feed import Feed
from reidd.daemon.requests_socket import requests_socket
from reidd.daemon.served_socket import Message
from reidd.daemon.sockets import Addresses, address_of, bound_tcp
from reidd.daemon.stranger import PROOF_WITHIN_S, Stranger
from reidd.daemon.zmtp import Kind, Mechanism
from reidd.errors import ConfigError, ForbiddenError
from reidd.keys import Keyring, Role, User

log = logging.getLogger(__name__)

HEARERS = {Role.SUBSCRIBE, Role.ADMIN}
REFRESH_S = 0.5
JUST_MADE_S = 2.0
PROOF_EVERY_S = 60.0
FAREWELL_S = 5.0
"""So long a revoked key is told that it is one; then its connections are closed."""


class Door:
    """The two tcp sockets and who may come in by them, in the caller's thread: whoever polls `sources` calls `turn`."""

    def __init__(self, folder: Path, addresses: Addresses):
        self._keys, self._keyring = folder, Keyring.read(folder)
        self._mechanism = _curve(self._keyring)
        self._news: list[tuple[str, str]] = []
        self._refreshed, self._farewell = time.monotonic(), math.inf
        self.shut: str | None = None
        """Why nobody is let in any more."""
        self.endpoint = self.analytics_endpoint = ""
        """The addresses, their ports included; the second is empty when events are not sent."""
        self._stranger: Stranger | None = None
        self._stack = ExitStack()
        try:
            self._open(addresses)
            self._prove_at_start()
        except BaseException:
            self.close()
            raise
        self._next_proof = time.monotonic() + PROOF_EVERY_S

    @property
    def sources(self) -> tuple[int, ...]:
        """What to poll."""
        return (self._requests.fileno(), *((self._analytics.fileno(),) if self._analytics else ()))

    @property
    def waiting(self) -> bool:
        """Whether messages are at hand, which polling does not tell."""
        return self.shut is None and (self._requests.waiting or bool(self._analytics and self._analytics.waiting))

    def turn(self, now: float) -> None:
        """Hear subscribers; now and then read the allow-list again, and prove that a stranger is refused."""
        if now >= self._refreshed + REFRESH_S:
            self._refresh()
        if self.shut is not None:
            return
        if self._analytics is not None:
            self._analytics.turn()
        self._prove(now)

    def messages(self, at_most: int) -> Iterator[Message]:
        """What those who came in have asked."""
        if self.shut is None:
            yield from self._requests.messages(at_most)

    def send(self, connection: bytes, frames: "list[bytes | memoryview]") -> None:
        """Send a reply; one that cannot be delivered is dropped."""
        self._requests.send(connection, frames)

    def publish(self, topic: bytes, event: bytes) -> None:
        """Send an event to subscribers."""
        if self._analytics is not None and self.shut is None:
            self._analytics.publish(topic, event)

    def user(self, key: bytes) -> User:
        """Whoever holds a public key, as the allow-list has it now.

        Raises:
            ForbiddenError: it was revoked after it came in.
        """
        if (user := self._known(key)) is None:
            raise ForbiddenError("this key was revoked, or the list of keys is damaged; ask the daemon's operator")
        return user

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
        if self._stranger is not None:
            self._stranger.close()
            self._stranger = None
        self._stack.close()

    def _open(self, addresses: Addresses) -> None:
        self._context = self._stack.enter_context(zmq.Context())
        self._analytics: Feed | None = None
        listener = bound_tcp(self._stack, addresses.requests)
        self.endpoint = address_of(listener)
        asks = self._mechanism(Kind.ROUTER, self._may_ask)
        self._requests = self._stack.enter_context(closing(requests_socket(listener, asks)))
        if addresses.analytics:
            listener = bound_tcp(self._stack, addresses.analytics)
            self.analytics_endpoint = address_of(listener)
            hears = self._mechanism(Kind.PUB, self._may_hear)
            self._analytics = self._stack.enter_context(closing(Feed(listener, hears)))

    def _may_ask(self, key: bytes) -> bool:
        """Whether somebody with that key comes in; what he may ask is looked up with each request."""
        if self._known(key) is None and keys.changed_within(self._keys, JUST_MADE_S):
            # A client that is refused does not come again, so its key is looked for once more.
            self._refresh()
        return self._known(key) is not None

    def _may_hear(self, key: bytes) -> bool:
        """Whether somebody with that key comes in to hear events."""
        return self._may_ask(key) and self._hears(key)

    def _known(self, key: bytes | None) -> User | None:
        return None if key is None else self._keyring.users.get(_text(key))

    def _hears(self, key: bytes | None) -> bool:
        return (user := self._known(key)) is not None and not user.roles.isdisjoint(HEARERS)

    def _refresh(self) -> None:
        self._refreshed = time.monotonic()
        before, whole = self._keyring.users, True
        try:
            users = Keyring.read(self._keys, empty=True).users
        except ConfigError as error:
            if before:
                log.error("nobody is let in over tcp until this is mended: %s", error)
            users, whole = {}, False
        # The sockets keep the server key that they were opened with.
        self._keyring = self._keyring._replace(users=users)
        changed = [user for public, user in before.items() if users.get(public) != user]
        for user in changed:
            log.warning("the key %r was revoked or changed", user.name)
        self._news += _changes(before, users)
        if changed and self._analytics is not None:
            # They say nothing that could be checked later.
            self._analytics.send_away(lambda key: not self._hears(key))
        if changed:
            self._farewell = min(self._farewell, self._refreshed + FAREWELL_S)
        # Not by a list that cannot be read: a library's client who is sent away does not come again.
        if whole and self._refreshed >= self._farewell:
            self._requests.send_away(lambda key: self._known(key) is None)
            self._farewell = math.inf

    def _shut(self, reason: str) -> None:
        log.critical("nobody is let in over tcp any more: %s; mend it and restart the daemon", reason)
        self.shut = reason
        self._requests.close()
        if self._analytics is not None:
            self._analytics.close()

    def _new_stranger(self) -> Stranger:
        return Stranger(self._context, self.endpoint, self._keyring.server.public)

    def _prove_at_start(self) -> None:
        with closing(self._new_stranger()) as stranger:
            while (refused := stranger.refused()) is None and time.monotonic() < stranger.until:
                select.select([self._requests], [], [], 0.01)
                # Handshakes only: whoever has a key already waits for the core.
                list(self._requests.messages(0))
        if refused is None:
            self._unproven()
        elif refused:
            log.info("tcp: %s, with CURVE only; a random key is refused", self.endpoint)
        else:
            raise ConfigError(f"{self.endpoint}: a random key was let in; like this the daemon does not serve tcp")

    def _prove(self, now: float) -> None:
        if self._stranger is None:
            if now >= self._next_proof:
                self._stranger = self._new_stranger()
            return
        refused = self._stranger.refused()
        if refused is None and now < self._stranger.until:
            return
        self._stranger.close()
        self._stranger, self._next_proof = None, now + PROOF_EVERY_S
        if refused is None:
            self._unproven()
        elif not refused:
            self._shut("a random key was let in")

    def _unproven(self) -> None:
        # No reason to shut: else whoever floods the network could shut it for good.
        log.warning(
            "tcp: our own client could not reach %s within %g s, to prove that a random key is refused; it tries again",
            self.endpoint,
            PROOF_WITHIN_S,
        )


def _curve(keyring: Keyring) -> Callable[[Kind, Callable[[bytes], bool]], Callable[[], Mechanism]]:
    """What makes the mechanism of each connection.

    Raises:
        ConfigError: the library that encrypts is not installed.
    """
    try:
        from reidd.daemon.curve import Curve, KeyPair
    except ImportError:
        raise ConfigError(
            "tcp is configured, and the library that its connections are encrypted with is not installed: "
            "pip install 'reidd[tcp]'"
        ) from None
    server = KeyPair(z85.decode(keyring.server.public), z85.decode(keyring.server.secret))
    return lambda kind, allows: lambda: Curve(kind, server, allows)


@lru_cache(1024)
def _text(key: bytes) -> str:
    """A public key as the allow-list has it."""
    return z85.encode(key).decode()


def _changes(before: dict[str, User], now: dict[str, User]) -> list[tuple[str, str]]:
    gone = [("key_revoked", before[key].name) for key in before.keys() - now.keys()]
    new = [("key_added", now[key].name) for key in now.keys() - before.keys()]
    changed = [("key_changed", now[key].name) for key in before.keys() & now.keys() if before[key] != now[key]]
    return gone + new + changed
