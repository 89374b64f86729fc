"""A socket that clients connect to, a file or on tcp, served without libzmq: whatever one does, others go on."""

import logging
import resource
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Set
from itertools import count
from typing import NamedTuple

from reidd.daemon import zmtp
from reidd.daemon.aside import Aside
from reidd.daemon.connection import Connection, dearest
from reidd.daemon.entrance import Complaint, Entrance
from reidd.daemon.hearing import Hearing

log = logging.getLogger(__name__)

PIECE_BYTES = 256 << 10
"""What one client may say before the next one is heard."""
SPARE_FILES = 128
"""Open files that are not clients': the store's, the workers', our own."""
ACCEPTED_PER_TURN, SHAKEN_PER_TURN = 4, 8
"""Connections, and steps of handshakes: in CURVE one takes 0.1 to 1 ms. Two make a handshake, so none piles up."""
MAX_SILENT = 256
"""Connections that have not shaken hands yet; for one more, the longest silent of them is closed."""
MAX_OF_ONE_KEY = 64
"""Connections; for one more, the oldest of them is closed."""


class Room(NamedTuple):
    """What all clients of a socket may take together."""

    held_bytes: int
    """Of messages that have not come to their end, or are not read."""
    share: float
    """Of the files that may be open, for their connections."""


class Message(NamedTuple):
    """What a client said, behind the name of its connection."""

    frames: list[bytes]
    uid: int | None
    """The local user who sent it, where the kernel tells."""
    key: bytes | None
    """The public key that its sender holds; None for somebody on this machine."""


class ServedSocket:
    """Speaks as a socket of ZeroMQ would, to many clients, a piece of each in turn.

    It has no thread of its own: whoever polls its `fileno` calls `messages`. When what clients have not finished saying
    and have not read is more than there is room for, whoever holds much of it for long is cut off.
    """

    def __init__(
        self, listener: socket.socket, mechanism: Callable[[], zmtp.Mechanism], limits: zmtp.Limits, room: Room
    ):
        self._mechanism, self._limits, self._room = mechanism, limits, room
        self._epoll = select.epoll()
        self._entrance = Entrance(listener, self._epoll)
        self._aside = Aside()
        self._epoll.register(self._aside, select.EPOLLIN)
        self._piece = memoryview(bytearray(PIECE_BYTES))
        self._numbers = count(1)
        self._connections: dict[bytes, Connection] = {}
        self._by_fd: dict[int, Connection] = {}
        self._silent: dict[bytes, Connection] = {}
        """Those that have not shaken hands yet, longest connected first."""
        self._shaking: deque[Connection] = deque()
        self._speaking: deque[Connection] = deque()
        """Those of which the next step of a handshake, or a message, may be at hand."""
        self._held_bytes, self._overfull = 0, Complaint()

    def fileno(self) -> int:
        """What to poll."""
        return self._epoll.fileno()

    @property
    def waiting(self) -> bool:
        """Whether messages are at hand, which polling does not tell."""
        return bool(self._speaking or self._shaking)

    @property
    def names(self) -> Set[bytes]:
        """The connections there are."""
        return self._connections.keys()

    def messages(self, at_most: int) -> Iterator[Message]:
        """What has come, without waiting, one message of each client in turn; then steps of handshakes."""
        self._entrance.wake()
        for fd, _ in self._epoll.poll(0):
            if fd == self._entrance.fileno():
                self._accept()
            elif fd == self._aside.fileno():
                self._speaking += self._aside.done()
            elif (connection := self._by_fd.get(fd)) is not None:
                self._serve(connection)
        self._send_away_the_silent()
        # A turn of who has said no whole message counts too, for it takes as long.
        for _ in range(at_most):
            if not self._speaking:
                break
            connection = self._speaking.popleft()
            if (frames := self._next(connection)) is not None:
                yield Message([connection.name, *frames], connection.uid, connection.hearing.mechanism.key)
        for _ in range(min(SHAKEN_PER_TURN, len(self._shaking))):
            self._next(self._shaking.popleft())

    def send(self, name: bytes, frames: Sequence[zmtp.Piece]) -> None:
        """Send a message to a connection; one that is gone, or does not read, misses it."""
        connection = self._connections.get(name)
        if connection is not None:
            connection.say(frames)
            self._weigh(connection)

    def send_away(self, unwanted: Callable[[bytes | None], bool]) -> None:
        """Close the connections that came in with such keys."""
        for connection in list(self._connections.values()):
            if connection.ready and unwanted(connection.key):
                self._close(connection)

    def close(self) -> None:
        """Close all connections. Twice is fine."""
        for connection in list(self._connections.values()):
            self._close(connection)
        self._aside.close()
        self._epoll.close()
        self._entrance.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTED_PER_TURN):
            if (talk := self._entrance.newcomer()) is None:
                return
            most = int((resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES) * self._room.share)
            if self._silent and (len(self._silent) >= MAX_SILENT or len(self._connections) >= most):
                self._close(next(iter(self._silent.values())))
            if len(self._connections) >= most:
                talk.close()
                many = f"{most} are connected; raise LimitNOFILE= if that is right"
                self._entrance.rest(f"a client was sent away, for {many}")
                return
            self._welcome(talk)

    def _welcome(self, talk: socket.socket) -> None:
        name = b"\0" + next(self._numbers).to_bytes(8, "big")
        hearing = Hearing(self._mechanism(), self._limits)
        try:
            connection = Connection(name, talk, hearing)
        except OSError as error:
            log.debug("a client is gone already: %r", error)
            talk.close()
            return
        self._connections[name] = self._silent[name] = self._by_fd[talk.fileno()] = connection
        self._epoll.register(talk, connection.events)
        connection.watched = connection.events
        connection.send([hearing.mechanism.first_words])
        self._weigh(connection)

    def _serve(self, connection: Connection) -> None:
        if connection.unread:
            connection.send([])
            self._weigh(connection)
        # What it has said already comes first; meanwhile the kernel makes it wait.
        if not connection.at_hand and self._hear(connection):
            self._look_at(connection)

    def _hear(self, connection: Connection) -> bool:
        """Take in a piece of what a client says; whether there was one."""
        try:
            size = connection.hear(self._piece)
            self._weigh(connection)
            if size:
                return True
        except BlockingIOError:
            return False
        except (OSError, MemoryError) as error:
            log.debug("a client was lost: %r", error)
        self._close(connection)
        return False

    def _look_at(self, connection: Connection) -> None:
        """Have a client's turn come."""
        connection.at_hand = True
        (self._speaking if connection.ready else self._shaking).append(connection)

    def _next(self, connection: Connection) -> list[bytes] | None:
        """The next message of a client whose turn it is, or the next step of its handshake."""
        hearing = connection.hearing
        if connection.name not in self._connections:
            return None
        try:
            frames = hearing.message()
        except (zmtp.OutOfLineError, MemoryError) as fault:
            log.debug("a client was cut off: %s", fault)
            if last_words := getattr(fault, "last_words", b""):
                connection.send([last_words])
            self._close(connection)
            return None
        connection.at_hand = False
        if frames is not None:
            connection.since = time.monotonic()
        if connection.ready and connection.name in self._silent:
            self._came_in(connection)
        if hearing.answer:
            connection.send([hearing.answer])
            hearing.answer = b""
        if hearing.stuck:
            connection.at_hand = True
            self._aside.begin(connection)
        elif frames is not None or hearing.at_hand:
            self._look_at(connection)
        self._weigh(connection)
        return frames

    def _came_in(self, connection: Connection) -> None:
        del self._silent[connection.name]
        same = [one for one in self._connections.values() if connection.key and one.key == connection.key]
        if len(same) > MAX_OF_ONE_KEY:
            self._close(same[0])

    def _weigh(self, connection: Connection) -> None:
        """Count what a client makes us hold, and cut off who costs most when it is too much together."""
        if connection.name in self._connections:
            if connection.events != connection.watched:
                connection.watched = connection.events
                self._epoll.modify(connection.talk, connection.watched)
            self._held_bytes += connection.more_bytes()
        while self._held_bytes > self._room.held_bytes:
            costly = dearest(self._connections.values())
            self._overfull.say(f"a client was cut off that had {costly.counted_bytes >> 20} MiB of messages under way")
            self._close(costly)

    def _send_away_the_silent(self) -> None:
        for connection in list(self._silent.values()):
            if connection.until > time.monotonic():
                return
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        if self._connections.pop(connection.name, None) is None:
            return
        self._silent.pop(connection.name, None)
        del self._by_fd[connection.talk.fileno()]
        self._held_bytes -= connection.counted_bytes
        connection.close()
