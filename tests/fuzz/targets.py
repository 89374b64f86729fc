"""What is fuzzed: each takes bytes, and lets nothing out but errors that reidd raises on purpose."""

import struct
from contextlib import suppress

from reidd import images, protocol
from reidd.daemon.envelope import opened
from reidd.daemon.retries import key_of
from reidd.daemon.rights import check
from reidd.daemon.zmtp import Hearing, Kind, Limits, OutOfLineError
from reidd.errors import ReiddError
from reidd.keys import Role, User

FRAME_END = b"\0\0\0"
LIMITS = Limits(frames=4, hang_up_frames=20, frame_bytes=100_000, message_bytes=150_000)
STRANGER = User("stranger", frozenset({Role.QUERY}))


def request(message: bytes) -> None:
    """All that the core does with a message before a worker sees it; frames end where three zeros are."""
    frames: list[bytes] = []
    with suppress(ReiddError):
        _, header, frames = opened([b"connection", *message.split(FRAME_END)])
        protocol.request_id(header)
        asked = protocol.decode_request(header)
        key_of(asked, frames)
        check(STRANGER, asked)


def said(stream: bytes) -> None:
    """All that the core does with a client's bytes until they are messages; the first says how they are cut."""
    hearing, at, most = Hearing(Kind.ROUTER, LIMITS), 1, 1 + stream[0] if stream else 1
    with suppress(OutOfLineError):
        while at < len(stream):
            room = hearing.room
            piece = memoryview(stream)[at : at + min(most, len(stream) if room is None else len(room))]
            if room is None:
                hearing.hear(piece)
            else:
                room[: len(piece)] = piece
                hearing.filled(len(piece))
            at += len(piece)
            while hearing.message() is not None:
                pass


def image(encoded: bytes) -> None:
    """The size of an image, read from its header."""
    with suppress(ReiddError):
        images.encoded_size(encoded)


def planted(encoded: bytes) -> None:
    """A parser that forgot how short a file may be: proof that the rig finds such a thing."""
    if encoded.startswith(b"\x89PNG") and b"IHDR" in encoded:
        struct.unpack(">II", encoded[16:24])


TARGETS = {"request": request, "said": said, "image": image, "planted": planted}
