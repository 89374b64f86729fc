"""A socket file that clients of this machine connect to, served without libzmq: whatever one does, others go on."""

import logging
import resource
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator, Sequence, Set
from itertools import count
from typing import NamedTuple

from reidd.daemon import zmtp

log = logging.getLogger(__name__)

PIECE_BYTES = 256 << 10
"""What one client may say before the next one is heard."""
MAX_UNREAD_BYTES = 16 << 20
"""Of one client's replies; further ones are dropped."""
HANDSHAKE_S = 2.0
SPARE_FILES = 128
"""Open files that are not clients': the store's, the workers', the door's."""


class Message(NamedTuple):
    """What a client said, behind the name of its connection; and which local user that is."""

    frames: list[bytes]
    uid: int


class _Connection:
    """One client."""

    def __init__(self, name: bytes, talk: socket.socket, hearing: zmtp.Hearing):
        self.name, self.talk, self.hearing = name, talk, hearing
        self.unread = bytearray()
        self.counted_bytes = 0
        self.until = time.monotonic() + HANDSHAKE_S
        _, self.uid, _ = struct.unpack("3i", talk.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))


class SocketFile:
    """Speaks as a socket of ZeroMQ would, to many clients, a piece of each in turn.

    It has no thread: whoever polls its `fileno` calls `messages`. When what clients have not finished saying and have
    not read is more than `max_held_bytes`, whoever holds most of it is cut off.
    """

    def __init__(self, listener: socket.socket, kind: zmtp.Kind, limits: zmtp.Limits, max_held_bytes: int):
        self._listener, self._kind, self._limits, self._max_held_bytes = listener, kind, limits, max_held_bytes
        listener.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)
        self._piece = memoryview(bytearray(PIECE_BYTES))
        self._numbers = count(1)
        self._connections: dict[bytes, _Connection] = {}
        self._by_fd: dict[int, _Connection] = {}
        self._silent: dict[bytes, _Connection] = {}
        """Those that have not shaken hands yet, longest connected first."""
        self._speaking: deque[_Connection] = deque()
        """Those of which a message may be at hand."""
        self._held_bytes = 0

    def fileno(self) -> int:
        """What to poll."""
        return self._epoll.fileno()

    @property
    def waiting(self) -> bool:
        """Whether messages are at hand, which polling does not tell."""
        return bool(self._speaking)

    @property
    def names(self) -> Set[bytes]:
        """The connections there are."""
        return self._connections.keys()

    def messages(self, at_most: int) -> Iterator[Message]:
        """What has come, without waiting, one message of each client in turn."""
        for fd, _ in self._epoll.poll(0):
            if fd == self._listener.fileno():
                self._accept()
            elif (connection := self._by_fd.get(fd)) is not None:
                self._serve(connection)
        self._send_away_the_silent()
        while at_most and self._speaking:
            connection = self._speaking.popleft()
            if (frames := self._next(connection)) is not None:
                at_most -= 1
                self._speaking.append(connection)
                yield Message([connection.name, *frames], connection.uid)

    def send(self, name: bytes, frames: Sequence[bytes | memoryview]) -> None:
        """Send a message to a connection; one that is gone, or does not read, misses it."""
        connection = self._connections.get(name)
        if connection is not None:
            self._send(connection, zmtp.message(frames))

    def close(self) -> None:
        """Close all connections. Twice is fine."""
        for connection in list(self._connections.values()):
            self._close(connection)
        self._epoll.close()
        self._listener.close()

    def _accept(self) -> None:
        try:
            talk, _ = self._listener.accept()
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES
            if len(self._connections) >= most:
                talk.close()
                log.warning("a client was sent away, for %d are connected; raise LimitNOFILE= if that is right", most)
                return
        except OSError as error:
            log.warning("a client could not come in: %s", error.strerror)
            return
        talk.setblocking(False)
        name = b"\0" + next(self._numbers).to_bytes(8, "big")
        connection = _Connection(name, talk, zmtp.Hearing(self._kind, self._limits))
        self._connections[name] = self._silent[name] = self._by_fd[talk.fileno()] = connection
        self._epoll.register(talk, select.EPOLLIN)
        self._send(connection, [zmtp.GREETING + zmtp.ready(self._kind)])

    def _serve(self, connection: _Connection) -> None:
        if connection.unread:
            self._send(connection, [])
        # What it has said already comes first; meanwhile the kernel makes it wait.
        if connection not in self._speaking and self._hear(connection):
            self._speaking.append(connection)

    def _hear(self, connection: _Connection) -> bool:
        """Take in a piece of what a client says; whether there was one."""
        hearing = connection.hearing
        try:
            if (room := hearing.room) is not None:
                size = connection.talk.recv_into(room)
                hearing.filled(size)
            else:
                size = connection.talk.recv_into(self._piece)
                hearing.hear(self._piece[:size])
            self._weigh(connection)
            if size:
                return True
        except BlockingIOError:
            return False
        except (OSError, MemoryError) as error:
            log.debug("a client was lost: %r", error)
        self._close(connection)
        return False

    def _next(self, connection: _Connection) -> list[bytes] | None:
        hearing = connection.hearing
        try:
            frames = hearing.message()
        except (zmtp.OutOfLineError, MemoryError) as fault:
            log.debug("a client was cut off: %s", fault)
            self._close(connection)
            return None
        if hearing.ready:
            self._silent.pop(connection.name, None)
        if hearing.answer:
            self._send(connection, [hearing.answer])
            hearing.answer = b""
        self._weigh(connection)
        return frames

    def _send(self, connection: _Connection, pieces: Sequence[bytes | memoryview]) -> None:
        """Send, behind what is unread, or keep what the kernel does not take."""
        had_unread = bool(connection.unread)
        try:
            if not had_unread:
                connection.unread += _rest(pieces, _sent(connection.talk, pieces))
            else:
                if len(connection.unread) <= MAX_UNREAD_BYTES:
                    connection.unread += b"".join(pieces)
                del connection.unread[: _sent(connection.talk, [connection.unread])]
        except (OSError, MemoryError) as error:
            log.debug("a client hears nothing any more: %r", error)
            # What it said before is heard, to its end.
            connection.unread.clear()
        if had_unread != bool(connection.unread):
            self._epoll.modify(connection.talk, select.EPOLLIN | (select.EPOLLOUT if connection.unread else 0))
        self._weigh(connection)

    def _weigh(self, connection: _Connection) -> None:
        """Count what a client makes us hold, and cut off who holds most when it is too much together."""
        if connection.name in self._connections:
            holds = connection.hearing.held_bytes + len(connection.unread)
            self._held_bytes += holds - connection.counted_bytes
            connection.counted_bytes = holds
        while self._held_bytes > self._max_held_bytes:
            most = max(self._connections.values(), key=lambda one: one.counted_bytes)
            log.warning("a client was cut off that had %d MiB of messages under way", most.counted_bytes >> 20)
            self._close(most)

    def _send_away_the_silent(self) -> None:
        now = time.monotonic()
        for connection in list(self._silent.values()):
            if connection.until > now:
                return
            self._close(connection)

    def _close(self, connection: _Connection) -> None:
        if self._connections.pop(connection.name, None) is None:
            return
        self._silent.pop(connection.name, None)
        del self._by_fd[connection.talk.fileno()]
        self._held_bytes -= connection.counted_bytes
        connection.unread.clear()
        connection.talk.close()


def _sent(talk: socket.socket, pieces: Sequence[bytes | bytearray | memoryview]) -> int:
    """How many bytes of them the kernel took."""
    try:
        return talk.sendmsg(pieces)
    except BlockingIOError:
        return 0


def _rest(pieces: Sequence[bytes | memoryview], sent: int) -> bytes:
    """What is left of them behind the bytes that were sent."""
    if sent == sum(memoryview(piece).nbytes for piece in pieces):
        return b""
    return b"".join(pieces)[sent:]
