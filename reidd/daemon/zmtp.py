"""The words of ZMTP 3 (rfc.zeromq.org/spec/37): greeting, frames and commands, and the mechanism NULL."""

import struct
from enum import Enum
from typing import NamedTuple, Protocol

MORE, LONG, COMMAND = 1, 2, 4
SUBSCRIBE, CANCEL = b"\1", b"\0"
"""What a subscriber's message begins with; the rest is a topic."""
GREETING_BYTES = 64
MAX_COMMAND_BYTES = 4096

Piece = bytes | memoryview


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

    def __init__(self, why: str, last_words: bytes = b""):
        super().__init__(why)
        self.last_words = last_words
        """What it is told before the connection is closed."""


class Mechanism(Protocol):
    """How hands are shaken, and what is around each frame from then on."""

    name: bytes
    """As the greeting has it."""
    first_words: bytes
    """What the client is told before it has said anything."""
    ready: bool
    """Whether hands are shaken."""
    key: bytes | None
    """The public key that the client proved to hold."""
    wrapping_bytes: int
    """By how much a frame is longer than what is in it."""

    def shake(self, text: bytes) -> bytes:
        """Take the next command of the handshake; return the answer as it is on the wire.

        Raises:
            OutOfLineError: it is not that of a client who may come in.
        """
        ...

    def opened(self, flags: int, body: Piece) -> tuple[int, bytes]:
        """The flags and the body that are in a frame. Raises OutOfLineError when it is not the client's next one."""
        ...

    def sealed(self, flags: int, body: Piece) -> list[Piece]:
        """The pieces on the wire of a frame with such flags and such a body."""
        ...


class Null:
    """The mechanism NULL: permission on the socket file is the key."""

    name = b"NULL"
    key: bytes | None = None
    wrapping_bytes = 0

    def __init__(self, kind: Kind):
        self._kind = kind
        self.ready = False
        self.first_words = greeting(self.name) + b"".join(frame(COMMAND, command(b"READY", metadata(kind))))

    def shake(self, text: bytes) -> bytes:
        """READY, which we have said already."""
        name, body = spoken(text)
        if name != b"READY":
            raise OutOfLineError("no handshake of a client's socket")
        check(body, self._kind)
        self.ready = True
        return b""

    def opened(self, flags: int, body: Piece) -> tuple[int, bytes]:
        """Nothing is around a frame."""
        return flags, bytes(body)

    def sealed(self, flags: int, body: Piece) -> list[Piece]:
        """Nothing is around a frame."""
        return frame(flags, body)


def greeting(mechanism: bytes, *, as_server: bool = False) -> bytes:
    """What each side says first."""
    return b"\xff" + bytes(8) + b"\x7f\x03\x01" + mechanism.ljust(20, b"\0") + bytes([as_server]) + bytes(31)


def frame(flags: int, body: Piece) -> list[Piece]:
    """The pieces of a frame on the wire."""
    size = memoryview(body).nbytes
    return [bytes((flags, size)) if size < 256 else struct.pack(">BQ", flags | LONG, size), body]


def command(name: bytes, body: bytes) -> bytes:
    """The text of a command, which is the body of its frame."""
    return bytes([len(name)]) + name + body


def spoken(text: bytes) -> tuple[bytes, bytes]:
    """The name and the body of a command."""
    size = text[0] if text else 0
    return text[1 : 1 + size], text[1 + size :]


def metadata(kind: Kind) -> bytes:
    """What a handshake says of our socket."""
    name = kind.name.encode()
    return b"\x0bSocket-Type" + struct.pack(">I", len(name)) + name + b"\x08Identity" + bytes(4)


def check(metadata: bytes, kind: Kind) -> None:
    """Raise OutOfLineError when a handshake is not that of a socket which talks to one of our kind."""
    if _properties(metadata).get(b"socket-type") not in kind.value:
        raise OutOfLineError("no handshake of a client's socket")


def _properties(text: bytes) -> dict[bytes, bytes]:
    found, at = {}, 0
    while at < len(text):
        name = text[at + 1 : at + 1 + text[at]].lower()
        at += 1 + text[at]
        size = int.from_bytes(text[at : at + 4], "big")
        found[name] = text[at + 4 : at + 4 + size]
        at += 4 + size
    return found
