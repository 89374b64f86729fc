"""What is fuzzed: each takes bytes, and lets nothing out but errors that reidd raises on purpose."""

import struct
from contextlib import suppress

import curve as by_hand
from nacl.bindings import crypto_box_afternm, crypto_box_keypair

from reidd import images, protocol
from reidd.daemon.curve import Curve, KeyPair
from reidd.daemon.envelope import opened
from reidd.daemon.hearing import Hearing
from reidd.daemon.retries import key_of
from reidd.daemon.rights import check
from reidd.daemon.zmtp import COMMAND, Kind, Limits, Null, OutOfLineError
from reidd.errors import ReiddError
from reidd.keys import Role, User

FRAME_END = b"\0\0\0"
LIMITS = Limits(frames=4, hang_up_frames=20, frame_bytes=100_000, message_bytes=150_000)
SERVER = KeyPair(*crypto_box_keypair())
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
    hearing, at, most = Hearing(Null(Kind.ROUTER), LIMITS), 1, 1 + stream[0] if stream else 1
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
            _all_messages(hearing)


def curve(text: bytes) -> None:
    """All that the core does with a command of CURVE; the first byte says which, and whether it is in its box."""
    client, stage, text = by_hand.Client(SERVER.public), text[0] % 5 if text else 0, text[1:]
    hearing = Hearing(Curve(Kind.ROUTER, SERVER, lambda _: True), LIMITS)
    with suppress(OutOfLineError):
        hearing.hear(memoryview(by_hand.GREETING))
        if stage == 0:
            _command(hearing, text)
            return
        client.welcome(_command(hearing, client.hello()))
        if stage == 1:
            _command(hearing, text)
        elif stage == 2:
            nonce = client.next_nonce()
            box = crypto_box_afternm(text, b"CurveZMQINITIATE" + nonce, client.between)
            _command(hearing, b"\x08INITIATE" + client.cookie + nonce + box)
        else:
            _command(hearing, client.initiate())
            said = [text] if stage == 3 else [client.message(body[1:], flags=body[0]) for body in _pieces(text)]
            hearing.hear(memoryview(b"".join(map(by_hand.framed, said))))
            _all_messages(hearing)


def _command(hearing: Hearing, text: bytes) -> bytes:
    """The text of the answer to a command of a handshake."""
    hearing.answer = b""
    hearing.hear(memoryview(by_hand.framed(text, COMMAND)))
    _all_messages(hearing)
    return hearing.answer[2:]


def _all_messages(hearing: Hearing) -> None:
    while hearing.message() is not None or hearing.at_hand:
        pass


def _pieces(text: bytes) -> list[bytes]:
    return [piece for piece in text.split(FRAME_END) if piece]


def image(encoded: bytes) -> None:
    """The size of an image, read from its header."""
    with suppress(ReiddError):
        images.encoded_size(encoded)


def planted(encoded: bytes) -> None:
    """A parser that forgot how short a file may be: proof that the rig finds such a thing."""
    if encoded.startswith(b"\x89PNG") and b"IHDR" in encoded:
        struct.unpack(">II", encoded[16:24])


TARGETS = {"request": request, "said": said, "curve": curve, "image": image, "planted": planted}
