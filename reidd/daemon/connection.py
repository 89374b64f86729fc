"""One client's connection: what it says, and what it has not read yet."""

import logging
import select
import socket
import struct
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress

from reidd.daemon.hearing import Hearing
from reidd.daemon.zmtp import MORE, Piece

log = logging.getLogger(__name__)

MAX_UNREAD_BYTES = 16 << 20
"""Of one client's replies; further ones are dropped."""
HANDSHAKE_S = 2.0
KEEPALIVE_S, GONE_S = 5, 15
"""After so long a silence a client on tcp is asked whether it is there; after so long without a sign it is not."""
MOMENT_S = 0.01
"""What it counts at least to hold something."""
_TCP_OPTIONS = {
    socket.TCP_NODELAY: 1,
    socket.TCP_KEEPIDLE: KEEPALIVE_S,
    socket.TCP_KEEPINTVL: KEEPALIVE_S,
    socket.TCP_KEEPCNT: GONE_S // KEEPALIVE_S - 1,
    socket.TCP_USER_TIMEOUT: GONE_S * 1000,
}


class Connection:
    """One client."""

    def __init__(self, name: bytes, talk: socket.socket, hearing: Hearing):
        self.name, self.talk, self.hearing = name, talk, hearing
        self.unread = bytearray()
        self.counted_bytes, self.since = 0, time.monotonic()
        """What it was counted to hold, and since when; the end of a message begins anew."""
        self.until = time.monotonic() + HANDSHAKE_S
        self.watched = 0
        """What its socket is polled for."""
        self.at_hand = False
        """Whether what it has said is still to be looked at."""
        self.uid: int | None = None
        """The local user, on a socket file."""
        talk.setblocking(False)
        if talk.family == socket.AF_UNIX:
            _, self.uid, _ = struct.unpack("3i", talk.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        else:
            talk.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _TCP_OPTIONS.items():
                talk.setsockopt(socket.IPPROTO_TCP, option, value)

    @property
    def ready(self) -> bool:
        """Whether hands are shaken."""
        return self.hearing.mechanism.ready

    @property
    def key(self) -> bytes | None:
        """The public key that the client holds, on tcp."""
        return self.hearing.mechanism.key

    @property
    def held_bytes(self) -> int:
        """How much memory it takes."""
        return self.hearing.held_bytes + len(self.unread)

    def more_bytes(self) -> int:
        """Count what it holds; how much more that is than the last time."""
        before, self.counted_bytes = self.counted_bytes, self.held_bytes
        if not before:
            self.since = time.monotonic()
        return self.counted_bytes - before

    @property
    def events(self) -> int:
        """What to poll its socket for."""
        return (0 if self.hearing.stuck else select.EPOLLIN) | (select.EPOLLOUT if self.unread else 0)

    def hear(self, piece: memoryview) -> int:
        """Take in what has come, by way of the piece; how many bytes that was."""
        hearing = self.hearing
        if (room := hearing.room) is not None:
            size = self.talk.recv_into(room)
            hearing.filled(size)
        else:
            size = self.talk.recv_into(piece)
            hearing.hear(piece[:size])
        return size

    def say(self, frames: Sequence[Piece]) -> None:
        """Send a message."""
        if len(self.unread) > MAX_UNREAD_BYTES:
            return
        sealed, last = self.hearing.mechanism.sealed, len(frames) - 1
        self.send(piece for at, frame in enumerate(frames) for piece in sealed(MORE if at < last else 0, frame))

    def send(self, pieces: Iterable[Piece]) -> None:
        """Send, behind what is unread, or keep what the kernel does not take."""
        try:
            pieces = list(pieces)
            if not self.unread:
                self.unread += _rest(pieces, _sent(self.talk, pieces))
            else:
                self.unread += b"".join(pieces)
                del self.unread[: _sent(self.talk, [self.unread])]
        except (OSError, MemoryError) as error:
            log.debug("a client hears nothing any more: %r", error)
            # What it said before is heard, to its end; but it hears no other message behind half of one.
            self.unread.clear()
            with suppress(OSError):
                self.talk.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket, and let go of all: a frame of its may still wait in the line of those to be opened."""
        self.unread.clear()
        self.hearing.forget()
        self.talk.close()


def dearest(connections: Collection[Connection]) -> Connection:
    """Whoever costs most, in bytes times the seconds that it holds them: who announces much and says no more of it.

    All connections of a key cost together; else one key's many small ones would outlast another's large one.
    """
    now = time.monotonic()
    costs = {one: one.counted_bytes * (now - one.since + MOMENT_S) for one in connections}
    of_all: dict[bytes, float] = defaultdict(float)
    for one, cost in costs.items():
        of_all[one.key or one.name] += cost
    return max(connections, key=lambda one: (of_all[one.key or one.name], costs[one]))


def _sent(talk: socket.socket, pieces: Sequence[bytes | bytearray | memoryview]) -> int:
    """How many bytes of them the kernel took."""
    try:
        return talk.sendmsg(pieces)
    except BlockingIOError:
        return 0


def _rest(pieces: Sequence[Piece], sent: int) -> bytes:
    """What is left of them behind the bytes that were sent."""
    if sent == sum(memoryview(piece).nbytes for piece in pieces):
        return b""
    return b"".join(pieces)[sent:]
