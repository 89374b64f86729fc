"""Where requests come in and replies go out: the socket file of this machine, and the door on tcp if there is one."""

import time
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

import zmq

from reidd.daemon.door import Door
from reidd.daemon.envelope import Caller
from reidd.daemon.intake import Intake
from reidd.daemon.rates import Rates
from reidd.keys import User

OVERFLOW_UID = 65534
"""What the kernel calls users who have no number here, as in a unit with PrivateUsers=yes."""
# A plain number, for pyzmq's enums take several microseconds to combine.
SNDMORE = int(zmq.SNDMORE)
MESSAGES_PER_TURN = 64
"""How many requests one turn of the loop takes in from each socket: their changes share one transaction."""


class Arrival(NamedTuple):
    """One message as it came, and the public key of whoever sent it; no key: somebody on this machine."""

    message: list[bytes]
    key: str | None = None
    uid: int | None = None
    """The local user who sent it, where the kernel tells."""


class Front:
    """The sockets that clients talk to. Over tcp every message carries the key its connection came in with."""

    def __init__(self, local: "zmq.Socket[bytes]", door: Door | None, rates: Rates):
        self._local, self.door, self._rates = local, door, rates
        self._from_here = Intake(local)
        self._from_afar = Intake(door.requests) if door is not None else None

    @property
    def sources(self) -> "tuple[zmq.Socket[bytes], ...]":
        """What to poll."""
        return (self._local, *(self.door.sources if self.door else ()))

    @property
    def remote_analytics(self) -> str:
        """Where somebody who came in over tcp hears events; empty for nowhere."""
        return self.door.analytics_endpoint if self.door else ""

    @property
    def key_names(self) -> list[str]:
        """The names of the keys that are let in over tcp."""
        return self.door.key_names if self.door else []

    def arrivals(self, ready: "Container[zmq.Socket[bytes] | int]") -> Iterator[Arrival]:
        """What has come, as much as one turn takes in."""
        if self._local in ready:
            for frames in self._from_here.messages(MESSAGES_PER_TURN):
                yield Arrival([frame.bytes for frame in frames], uid=_uid(frames[-1]))
        if self.door is not None and self._from_afar is not None and self.door.requests in ready:
            for frames in self._from_afar.messages(MESSAGES_PER_TURN):
                yield Arrival([frame.bytes for frame in frames], str(frames[-1].get("User-Id")))

    def user(self, key: str | None) -> User | None:
        """Whoever holds a key, and has one more request in hand; None for somebody on this machine.

        Raises:
            ForbiddenError: the key was revoked.
            BusyError: it is used more often than a key may.
        """
        if key is None or self.door is None:
            return None
        user = self.door.user(key)
        self._rates.spend(user.name, time.monotonic())
        return user

    def reply(self, caller: Caller, frames: Sequence[bytes | memoryview]) -> None:
        """Send a reply; one that cannot be delivered is dropped."""
        remote = self.door is not None and caller.remote
        socket = self.door.requests if self.door is not None and remote else self._local
        parts = [*caller.envelope, *frames]
        for part in parts[:-1]:
            socket.send(part, SNDMORE)
        socket.send(parts[-1])


def _uid(frame: zmq.Frame) -> int | None:
    """Read `host:uid:gid:pid`, libzmq's words for SO_PEERCRED; a user of another namespace is nobody."""
    try:
        uid = int(str(frame.get("Peer-Address")).split(":")[1])
    except (zmq.ZMQError, IndexError, ValueError):
        return None
    return None if uid == OVERFLOW_UID else uid
