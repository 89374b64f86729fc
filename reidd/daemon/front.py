"""Where requests come in and replies go out: the socket file of this machine, and the door on tcp if there is one."""

import socket
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from reidd.daemon.allowance import Allowance
from reidd.daemon.envelope import Caller
from reidd.daemon.requests_socket import requests_socket
from reidd.daemon.served_socket import Message
from reidd.daemon.zmtp import Kind, Null
from reidd.keys import User

if TYPE_CHECKING:
    from reidd.daemon.door import Door

OVERFLOW_UID = 65534
"""What the kernel calls users who have no number here, as in a unit with PrivateUsers=yes."""
MESSAGES_PER_TURN = 64
"""How many requests one turn of the loop takes in from each socket: their changes share one transaction."""


class Front:
    """The sockets that clients talk to. Over tcp every message carries the key its connection came in with."""

    def __init__(self, listener: socket.socket, door: "Door | None", allowance: Allowance):
        self._local = requests_socket(listener, partial(Null, Kind.ROUTER))
        self.door, self._allowance = door, allowance

    @property
    def sources(self) -> tuple[int, ...]:
        """What to poll."""
        return (self._local.fileno(), *(self.door.sources if self.door else ()))

    @property
    def waiting(self) -> bool:
        """Whether messages are at hand, which polling does not tell."""
        return self._local.waiting or bool(self.door and self.door.waiting)

    @property
    def remote_analytics(self) -> str:
        """Where somebody who came in over tcp hears events; empty for nowhere."""
        return self.door.analytics_endpoint if self.door else ""

    @property
    def key_names(self) -> list[str]:
        """The names of the keys that are let in over tcp."""
        return self.door.key_names if self.door else []

    def messages(self) -> Iterator[Message]:
        """What has come, as much as one turn takes in."""
        for message in self._local.messages(MESSAGES_PER_TURN):
            yield message._replace(uid=None) if message.uid == OVERFLOW_UID else message
        if self.door is not None:
            yield from self.door.messages(MESSAGES_PER_TURN)

    def user(self, key: bytes | None) -> User | None:
        """Whoever holds a key, and has one more request in hand; None for somebody on this machine.

        Raises:
            ForbiddenError: the key was revoked.
            BusyError: it is used more often than a key may.
        """
        if key is None or self.door is None:
            return None
        user = self.door.user(key)
        self._allowance.spend(user.name, time.monotonic())
        return user

    def reply(self, caller: Caller, frames: Sequence[bytes | memoryview]) -> None:
        """Send a reply; one that cannot be delivered is dropped."""
        reply = [*caller.envelope[1:], *frames]
        if not caller.remote:
            self._local.send(caller.connection, reply)
        elif self.door is not None:
            self.door.send(caller.connection, reply)

    def close(self) -> None:
        """Close the connections of this machine. Twice is fine."""
        self._local.close()
