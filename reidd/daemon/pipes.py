"""A pipe between the core and one worker: messages of frames, over a pair of Unix sockets.

ZeroMQ would wake a thread of its own on each side of each message, which costs more than the message. A message is the
number of its frames, then the length of each, then the frames; integers are little-endian.
"""

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, pairwise
from select import EPOLLIN, EPOLLOUT, epoll

from reidd.errors import BackendError
from reidd.protocol import MAX_FRAME_BYTES, MAX_PARTS

Frame = bytes | memoryview

CHUNK_BYTES = 1 << 16
MAX_FRAMES = 2 + MAX_PARTS
MAX_ANSWER_BYTES = MAX_FRAME_BYTES + (16 << 20)
"""All distances, and a header with many predictions."""
_COUNT = struct.Struct("<I")
_LENGTH_BYTES = 8


class _End:
    """One end; holds the beginning of a message until the rest has come."""

    def __init__(self, end: socket.socket, most_bytes: int):
        self._end, self._most_bytes = end, most_bytes
        self._held = bytearray()

    def close(self) -> None:
        """Close this end. Twice is fine."""
        self._end.close()

    def _read(self) -> list[list[bytes]]:
        """Take in what has come; return the messages that are whole.

        Raises:
            EOFError: the other end is closed.
            BackendError: what comes is no message.
        """
        chunk = self._end.recv(CHUNK_BYTES)
        if not chunk:
            raise EOFError
        held: bytes | bytearray = chunk
        if self._held:
            self._held += chunk
            held = self._held
        messages, at = [], 0
        while (lengths := _lengths(held, at, self._most_bytes)) is not None:
            start = at + _COUNT.size + _LENGTH_BYTES * len(lengths)
            if len(held) < start + sum(lengths):
                break
            ends = list(accumulate(lengths, initial=start))
            messages.append([bytes(held[a:b]) for a, b in pairwise(ends)])
            at = ends[-1]
        if at or held is chunk:
            self._held = bytearray(held[at:])
        return messages


class WorkerEnd(_End):
    """The end that a worker holds: it waits for as long as it takes."""

    def __init__(self, fd: int):
        # A request has come through the core already, in as many frames as it takes.
        super().__init__(socket.socket(fileno=fd), MAX_FRAMES * MAX_FRAME_BYTES)

    def send(self, frames: Sequence[Frame]) -> None:
        """Send one message. Raises OSError when the core is gone."""
        left = [_prefix(frames), *frames]
        while left:
            left = _rest(left, self._end.sendmsg(left))

    def receive(self) -> Iterator[list[bytes]]:
        """The messages as they come, until the core is gone."""
        with suppress(EOFError, OSError):
            while True:
                yield from self._read()


class CoreEnd(_End):
    """The end that the core holds: it never waits, and believes nothing that comes."""

    def __init__(self, end: socket.socket, watch: epoll):
        super().__init__(end, MAX_ANSWER_BYTES)
        end.setblocking(False)
        self._watch, self._left = watch, list[Frame]()
        self._waits = False
        self.open = True
        watch.register(end, EPOLLIN)

    def fileno(self) -> int:
        """What the watch calls it by."""
        return self._end.fileno()

    def send(self, frames: Sequence[Frame]) -> None:
        """Begin to send one message; what the worker does not take at once is sent when it does."""
        self._left += [_prefix(frames), *frames]
        self.flush()

    def flush(self) -> None:
        """Send what the worker takes now of what is left."""
        try:
            while self._left:
                self._left = _rest(self._left, self._end.sendmsg(self._left))
        except BlockingIOError:
            pass
        except OSError:
            self._left = []  # it is gone, which is seen when its end of file is read
        if self.open and bool(self._left) != self._waits:
            self._waits = bool(self._left)
            self._watch.modify(self._end, EPOLLIN | (EPOLLOUT if self._waits else 0))

    def receive(self) -> list[list[bytes]]:
        """The messages that are whole.

        Raises:
            EOFError: the worker has closed its end; nothing more will come.
            BackendError: the worker sends what is no message.
        """
        try:
            return self._read()
        except BlockingIOError:
            return []
        except (EOFError, OSError):
            self._watch.unregister(self._end)
            self.open = False
            raise EOFError from None
        except MemoryError:
            raise BackendError("sent more than there is memory for") from None

    def close(self) -> None:
        """Close this end, which the watch forgets with it. Twice is fine."""
        self.open = False
        super().close()


def _prefix(frames: Sequence[Frame]) -> bytes:
    return struct.pack(f"<I{len(frames)}Q", len(frames), *map(len, frames))


def _rest(frames: Sequence[Frame], sent: int) -> list[Frame]:
    """What is left of frames after so many bytes."""
    for at, frame in enumerate(frames):
        if sent < len(frame):
            return [memoryview(frame)[sent:], *frames[at + 1 :]]
        sent -= len(frame)
    return []


def _lengths(held: bytes | bytearray, at: int, most_bytes: int) -> tuple[int, ...] | None:
    """The lengths of the frames of the message that begins there, or None while they have not come."""
    if len(held) < at + _COUNT.size:
        return None
    (count,) = _COUNT.unpack_from(held, at)
    if not 0 < count <= MAX_FRAMES:
        raise BackendError("sent what is no message")
    if len(held) < at + _COUNT.size + _LENGTH_BYTES * count:
        return None
    lengths = struct.unpack_from(f"<{count}Q", held, at + _COUNT.size)
    if sum(lengths) > most_bytes:
        raise BackendError(f"sent a message of {sum(lengths)} bytes; expected at most {most_bytes}")
    return lengths
