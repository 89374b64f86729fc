"""The mechanism CURVE, the server's side: CurveZMQ (rfc.zeromq.org/spec/26) within ZMTP (spec/25).

We do this ourselves because libzmq, which has it too, bounds a frame but no message (see `hearing`): whoever held a key
could make it abort, and the core with it. What is not exactly what 26 has next ends the connection, and nothing else
can come of it. The boxes are libsodium's, by PyNaCl.

C and S are the long-term keys of client and server, C' and S' those of this one connection, as 26 names them.
"""

import os
from collections.abc import Callable
from hmac import compare_digest
from typing import NamedTuple

from nacl.bindings import (
    crypto_box_afternm,
    crypto_box_beforenm,
    crypto_box_keypair,
    crypto_box_open_afternm,
)
from nacl.exceptions import CryptoError

from reidd.daemon import zmtp
from reidd.daemon.zmtp import COMMAND, MORE, Kind, OutOfLineError, Piece

NONCE_BYTES, LONG_NONCE_BYTES, BOX_BYTES, COOKIE_BYTES = 8, 16, 16, 96
HELLO = b"\x05HELLO" + b"\x01\x00" + bytes(72)
HELLO_BYTES, INITIATE_BYTES = 200, 257
INITIATE, MESSAGE = b"\x08INITIATE", b"\x07MESSAGE"
BOXED_MORE, BOXED_COMMAND = 1, 2
"""The flags within a box, which are not those of a frame. 26 knows the first; libzmq has the second for commands."""
NOT_ALLOWED = b"\x03400"
"""ZAP's word (spec/27) for who is not on the allow-list; libzmq's clients do not come again then."""


class KeyPair(NamedTuple):
    """The server's long-term keys."""

    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return "KeyPair(...)"


class Curve:
    """One connection: HELLO, WELCOME, INITIATE, then READY or ERROR, then MESSAGE after MESSAGE."""

    name = b"CURVE"
    first_words = zmtp.greeting(name, as_server=True)
    wrapping_bytes = len(MESSAGE) + NONCE_BYTES + BOX_BYTES + 1

    def __init__(self, kind: Kind, server: KeyPair, allows: Callable[[bytes], bool]):
        """Take what a client's long-term public key is asked about before it comes in."""
        self._kind, self._server, self._allows = kind, server, allows
        self.ready = False
        self.key: bytes | None = None
        self._secret = self._client = self._cookie = self._shared = b""
        """s', C', what the client has to give back, and what makes boxes between C' and S'."""
        self._heard, self._said = -1, 0
        """The latest short nonces."""

    def shake(self, text: bytes) -> bytes:
        """HELLO gets WELCOME, and INITIATE READY."""
        return self._initiate(text) if self._cookie else self._hello(text)

    def opened(self, flags: int, body: Piece) -> tuple[int, bytes]:
        """Open a MESSAGE (26, "The MESSAGE Command")."""
        # A command for 26, and for libzmq a frame of a message, whose flags are in the box.
        if flags & MORE or len(body) < self.wrapping_bytes or body[:8] != MESSAGE:
            raise OutOfLineError("no MESSAGE")
        text = self._open(b"CurveZMQMESSAGEC", bytes(body[8:16]), body[16:], self._shared)
        if text[0] & ~(BOXED_MORE | BOXED_COMMAND):
            raise OutOfLineError("no flags of a MESSAGE")
        return MORE * bool(text[0] & BOXED_MORE) | COMMAND * bool(text[0] & BOXED_COMMAND), text[1:]

    def sealed(self, flags: int, body: Piece) -> list[Piece]:
        """Make a MESSAGE (26, "The MESSAGE Command")."""
        boxed = BOXED_MORE * bool(flags & MORE) | BOXED_COMMAND * bool(flags & COMMAND)
        return zmtp.frame(0, MESSAGE + self._seal(b"CurveZMQMESSAGES", bytes([boxed]) + body))

    def _hello(self, text: bytes) -> bytes:
        """Answer HELLO (26, "The HELLO Command") with WELCOME (26, "The WELCOME Command")."""
        if len(text) != HELLO_BYTES or not text.startswith(HELLO):
            raise OutOfLineError("no HELLO")
        client, nonce, signature = text[80:112], text[112:120], text[120:]
        between = _shared(client, self._server.secret)
        if self._open(b"CurveZMQHELLO---", nonce, signature, between) != bytes(64):
            raise OutOfLineError("a HELLO with another signature")
        public, self._secret = crypto_box_keypair()
        self._client, self._shared = client, _shared(client, self._secret)
        # 26 has s' in the cookie, sealed, for a server that remembers nothing. We remember it as long as the handshake
        # may take, of a bounded number of clients: so it never leaves us, and a cookie is nothing but random.
        self._cookie, long_nonce = os.urandom(COOKIE_BYTES), os.urandom(LONG_NONCE_BYTES)
        box = crypto_box_afternm(public + self._cookie, b"WELCOME-" + long_nonce, between)
        return _command(b"WELCOME", long_nonce + box)

    def _initiate(self, text: bytes) -> bytes:
        """Answer INITIATE (26, "The INITIATE Command") with READY (26, "The READY Command") or ERROR."""
        if len(text) < INITIATE_BYTES or not text.startswith(INITIATE):
            raise OutOfLineError("no INITIATE")
        cookie, nonce, box = text[9:105], text[105:113], text[113:]
        if not compare_digest(cookie, self._cookie):
            raise OutOfLineError("another cookie")
        plain = self._open(b"CurveZMQINITIATE", nonce, box, self._shared)
        client, vouch_nonce, vouch, metadata = plain[:32], plain[32:48], plain[48:128], plain[128:]
        vouched = _opened(b"VOUCH---" + vouch_nonce, vouch, _shared(client, self._secret))
        # That C itself speaks to us by C', and by no other's: else whoever has C as a client could pass for it.
        if not compare_digest(vouched, self._client + self._server.public):
            raise OutOfLineError("a vouch for somebody else")
        if not self._allows(client):
            raise OutOfLineError("a key that is not let in", _command(b"ERROR", NOT_ALLOWED))
        zmtp.check(metadata, self._kind)
        self.key, self.ready = client, True
        self._secret = b""
        return _command(b"READY", self._seal(b"CurveZMQREADY---", zmtp.metadata(self._kind)))

    def _open(self, prefix: bytes, nonce: bytes, box: Piece, shared: bytes) -> bytes:
        """Open a box of the client's whose short nonce is above all before (26, "The HELLO Command")."""
        number = int.from_bytes(nonce, "big")
        if number <= self._heard:
            raise OutOfLineError("a nonce that does not rise")
        self._heard = number
        return _opened(prefix + nonce, box, shared)

    def _seal(self, prefix: bytes, plain: bytes) -> bytes:
        """A short nonce of ours, and the box made with it."""
        self._said += 1
        nonce = self._said.to_bytes(NONCE_BYTES, "big")
        return nonce + crypto_box_afternm(plain, prefix + nonce, self._shared)


def _command(name: bytes, body: bytes) -> bytes:
    return b"".join(zmtp.frame(COMMAND, zmtp.command(name, body)))


def _shared(public: bytes, secret: bytes) -> bytes:
    try:
        return crypto_box_beforenm(public, secret)
    except CryptoError:
        # A point of low order: what it makes would be no secret.
        raise OutOfLineError("a key that is none") from None


def _opened(nonce: bytes, box: Piece, shared: bytes) -> bytes:
    try:
        # It takes a view too, which spares a copy.
        return crypto_box_open_afternm(box, nonce, shared)  # type: ignore[arg-type]
    except CryptoError:
        raise OutOfLineError("a box that does not open") from None
