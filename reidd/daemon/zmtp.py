"""ZMTP 3 with the NULL mechanism (rfc.zeromq.org/spec/37): a client's bytes in, whole messages out, within limits.

libzmq bounds a frame but no message: one of eight million empty frames fits into 16 MB, and makes it abort.
"""

import struct
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

MORE, LONG, COMMAND = 1, 2, 4
GREETING_BYTES = 64
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
MAX_COMMAND_BYTES = 4096
LARGE_BYTES = 64 << 10
"""A frame that is read right into its place, unless it comes in one piece."""
MAX_PING_CONTEXT = 16


class Kind(Enum):
    """What we speak as, and to whom."""

    ROUTER = frozenset({b"REQ", b"DEALER", b"ROUTER"})
    PUB = frozenset({b"SUB", b"XSUB"})


class Limits(NamedTuple):
    """What a client may say."""

    frames: int
    """Of one message. Of one with more, one frame more is given, which tells that it had too many."""
    hang_up_frames: int
    """A client that sends so many is told nothing any more."""
    frame_bytes: int
    message_bytes: int


class OutOfLineError(Exception):
    """A client does not speak ZMTP 3, or exceeds a limit: its connection is of no more use."""


def message(frames: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    """The pieces of a message on the wire."""
    pieces: list[bytes | memoryview] = []
    for left, frame in zip(range(len(frames) - 1, -1, -1), frames, strict=True):
        pieces += (_head(MORE if left else 0, memoryview(frame).nbytes), frame)
    return pieces


def command(name: bytes, body: bytes) -> bytes:
    """One command on the wire."""
    text = bytes([len(name)]) + name + body
    return _head(COMMAND, len(text)) + text


def ready(kind: Kind) -> bytes:
    """Our half of the handshake, behind the greeting."""
    name = kind.name.encode()
    return command(b"READY", b"\x0bSocket-Type" + struct.pack(">I", len(name)) + name + b"\x08Identity" + bytes(4))


class Hearing:
    """What one client has said so far: its handshake, then message after message."""

    def __init__(self, kind: Kind, limits: Limits):
        self._kind, self._limits = kind, limits
        self._heard, self._at = bytearray(), 0
        self._large, self._filled, self._large_flags = bytearray(), 0, 0
        """A frame that comes in many pieces, how much of it is there, and its flags."""
        self._frames: list[bytes] = []
        self._count = self._frame_bytes = 0
        self._greeted = self.ready = False
        self.answer = b""
        """What is to be sent to the client; whoever sends it empties it."""

    @property
    def held_bytes(self) -> int:
        """How much memory the unfinished takes."""
        return len(self._heard) - self._at + len(self._large) + self._frame_bytes

    @property
    def room(self) -> memoryview | None:
        """Where the rest of a large frame belongs, which is then not copied twice; None: anything may come."""
        return memoryview(self._large)[self._filled :] if self._large else None

    def filled(self, size: int) -> None:
        """So much of the room was filled."""
        self._filled += size

    def hear(self, piece: memoryview) -> None:
        """Take in what has come."""
        self._heard += piece

    def message(self) -> list[bytes] | None:
        """The next whole message; None when more has to come first.

        Raises:
            OutOfLineError: what came is no ZMTP 3, or too much.
        """
        if not self._greeted and not self._greeting():
            return None
        while (frame := self._frame()) is not None:
            flags, body = frame
            if flags & COMMAND:
                if (said := self._obey(body)) is not None:
                    return [said]
            elif (whole := self._joined(flags, body)) is not None:
                return whole
        del self._heard[: self._at]
        self._at = 0
        return None

    def _greeting(self) -> bool:
        heard = self._heard
        if (heard and heard[0] != GREETING[0]) or (len(heard) > 9 and not heard[9] & 1):
            raise OutOfLineError("no ZMTP")
        if len(heard) > 10 and heard[10] < 3:
            raise OutOfLineError("a ZMTP older than 3.0")
        if len(heard) < GREETING_BYTES:
            return False
        if heard[12:32].rstrip(b"\0") != b"NULL":
            raise OutOfLineError("another mechanism than NULL")
        self._greeted, self._at = True, GREETING_BYTES
        return True

    def _frame(self) -> tuple[int, bytes] | None:
        """The next frame's flags and body, once all of it is there."""
        if self._large:
            return self._large_frame()
        heard, at = self._heard, self._at
        if len(heard) < at + 2:
            return None
        flags, size, begin = heard[at], heard[at + 1], at + 2
        if flags & LONG:
            begin = at + 9
            if len(heard) < begin:
                return None
            size = int.from_bytes(heard[at + 1 : begin], "big")
        self._allow(flags, size)
        if len(heard) < begin + size:
            if size >= LARGE_BYTES:
                self._begin_large(flags, size, begin)
            return None
        self._at = begin + size
        with memoryview(heard) as view:
            return flags, bytes(view[begin : self._at])

    def _begin_large(self, flags: int, size: int, begin: int) -> None:
        self._large, self._filled, self._large_flags = bytearray(size), len(self._heard) - begin, flags
        self._large[: self._filled] = self._heard[begin:]
        self._heard.clear()
        self._at = 0

    def _large_frame(self) -> tuple[int, bytes] | None:
        if self._filled < len(self._large):
            return None
        body, self._large = bytes(self._large), bytearray()
        return self._large_flags, body

    def _allow(self, flags: int, size: int) -> None:
        if flags > MORE | LONG | COMMAND or flags & (MORE | COMMAND) == MORE | COMMAND:
            raise OutOfLineError("no ZMTP frame")
        if not (self.ready or flags & COMMAND):
            raise OutOfLineError("a message before the handshake")
        if size > (MAX_COMMAND_BYTES if flags & COMMAND else self._limits.frame_bytes):
            raise OutOfLineError("a frame that is too large")
        if self._frame_bytes + size > self._limits.message_bytes:
            raise OutOfLineError("a message that is too large")

    def _joined(self, flags: int, body: bytes) -> list[bytes] | None:
        self._count += 1
        if self._count > self._limits.hang_up_frames:
            raise OutOfLineError("a message of too many frames")
        if self._count <= self._limits.frames + 1:
            self._frames.append(body)
            self._frame_bytes += len(body)
        if flags & MORE:
            return None
        whole, self._frames = self._frames, []
        self._count = self._frame_bytes = 0
        return whole

    def _obey(self, text: bytes) -> bytes | None:
        """Do what a command asks for; return the message that it stands for, if any."""
        size = text[0] if text else 0
        name, body = text[1 : 1 + size], text[1 + size :]
        if not self.ready:
            if name != b"READY" or _properties(body).get(b"socket-type") not in self._kind.value:
                raise OutOfLineError("no handshake of a client's socket")
            self.ready = True
        elif name == b"PING":
            self.answer += command(b"PONG", body[2 : 2 + MAX_PING_CONTEXT])
        elif name == b"SUBSCRIBE":
            return b"\1" + body
        elif name == b"CANCEL":
            return b"\0" + body
        return None


def _head(flags: int, size: int) -> bytes:
    return bytes((flags, size)) if size < 256 else struct.pack(">BQ", flags | LONG, size)


def _properties(text: bytes) -> dict[bytes, bytes]:
    found, at = {}, 0
    while at < len(text):
        name = text[at + 1 : at + 1 + text[at]].lower()
        at += 1 + text[at]
        size = int.from_bytes(text[at : at + 4], "big")
        found[name] = text[at + 4 : at + 4 + size]
        at += 4 + size
    return found
