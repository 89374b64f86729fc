"""A CurveZMQ client by hand (RFC 26), to say what no library would. It knows nothing of reidd's own code.

client = Client(server_public)
sock.sendall(client.greeting + client.hello())
client.welcome(welcome); sock.sendall(client.initiate()); client.ready(ready); sock.sendall(client.message(b"hi"))
"""

import os
import socket
import struct

from nacl.bindings import crypto_box, crypto_box_afternm, crypto_box_beforenm, crypto_box_keypair, crypto_box_open
from zmq.utils import z85
from zmtp import COMMAND, LONG

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
GREETING_BYTES = 64


def metadata(kind: bytes) -> bytes:
    return b"\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind + b"\x08Identity" + bytes(4)


def framed(text: bytes, flags: int = 0) -> bytes:
    """One frame in its shortest form."""
    if len(text) < 256:
        return bytes([flags, len(text)]) + text
    return bytes([flags | LONG]) + struct.pack(">Q", len(text)) + text


def unframed(wire):
    """The text of the one frame that there is."""
    begin = 9 if wire[0] & LONG else 2
    return wire[begin:]


class Client:
    """One connection's half of the handshake. What it says next is an argument where a test may want another."""

    def __init__(self, server: bytes, pair: tuple[bytes, bytes] | None = None, kind: bytes = b"DEALER"):
        self.server, self.kind = server, kind
        self.public, self.secret = pair or crypto_box_keypair()
        self.short_public, self.short_secret = crypto_box_keypair()
        self.server_short = self.cookie = b""
        self.nonce = 0

    def next_nonce(self) -> bytes:
        self.nonce += 1
        return self.nonce.to_bytes(8, "big")

    def hello(self, *, version=b"\1\0", padding=bytes(72), signature=bytes(64), nonce=None) -> bytes:
        nonce = nonce or self.next_nonce()
        box = crypto_box(signature, b"CurveZMQHELLO---" + nonce, self.server, self.short_secret)
        return b"\x05HELLO" + version + padding + self.short_public + nonce + box

    def welcome(self, text: bytes) -> None:
        assert text.startswith(b"\x07WELCOME")
        assert len(text) == 168
        plain = crypto_box_open(text[24:], b"WELCOME-" + text[8:24], self.server, self.short_secret)
        self.server_short, self.cookie = plain[:32], plain[32:]
        self.between = crypto_box_beforenm(self.server_short, self.short_secret)

    def vouch(self, *, short_public=None, server=None, secret=None, server_short=None) -> bytes:
        nonce = os.urandom(16)
        plain = (short_public or self.short_public) + (server or self.server)
        to = server_short or self.server_short
        return nonce + crypto_box(plain, b"VOUCH---" + nonce, to, secret or self.secret)

    def initiate(self, *, cookie=None, vouch=None, public=None, properties=None, nonce=None) -> bytes:
        nonce = nonce or self.next_nonce()
        said = metadata(self.kind) if properties is None else properties
        plain = (public or self.public) + (vouch or self.vouch()) + said
        box = crypto_box(plain, b"CurveZMQINITIATE" + nonce, self.server_short, self.short_secret)
        return b"\x08INITIATE" + (cookie or self.cookie) + nonce + box

    def ready(self, text: bytes) -> bytes:
        """What the server's READY says of its socket."""
        assert text.startswith(b"\x05READY"), text
        return crypto_box_open(text[14:], b"CurveZMQREADY---" + text[6:14], self.server_short, self.short_secret)

    def message(self, body: bytes, *, flags: int = 0, nonce: bytes | None = None) -> bytes:
        nonce = nonce or self.next_nonce()
        box = crypto_box_afternm(bytes([flags]) + body, b"CurveZMQMESSAGEC" + nonce, self.between)
        return b"\x07MESSAGE" + nonce + box

    def opened(self, text: bytes) -> tuple[int, bytes]:
        """The flags and the body of a MESSAGE of the server's."""
        assert text.startswith(b"\x07MESSAGE")
        plain = crypto_box_open(text[16:], b"CurveZMQMESSAGES" + text[8:16], self.server_short, self.short_secret)
        return plain[0], plain[1:]


class Session:
    """A client on a connection of its own."""

    def __init__(self, address: str, client: Client, timeout: float = 5.0):
        host, port = address.removeprefix("tcp://").split(":")
        self.client = client
        self.talk = socket.create_connection((host, int(port)), timeout=timeout)
        self._heard = b""

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.talk.close()

    def say(self, text: bytes, flags: int = 0) -> None:
        self.talk.sendall(framed(text, flags))

    def heard(self, count: int) -> bytes:
        while len(self._heard) < count:
            piece = self.talk.recv(65536)
            if not piece:
                raise ConnectionResetError("the connection was closed")
            self._heard += piece
        said, self._heard = self._heard[:count], self._heard[count:]
        return said

    def frame(self) -> bytes:
        flags, size = self.heard(2)
        if flags & LONG:
            size = int.from_bytes(bytes([size]) + self.heard(7), "big")
        return self.heard(size)

    def greet(self) -> None:
        self.talk.sendall(GREETING)
        assert self.heard(GREETING_BYTES)[12:33] == b"CURVE".ljust(20, b"\0") + b"\1"

    def shake(self, *, greeted: bool = False) -> "Session":
        """Come in."""
        if not greeted:
            self.greet()
        self.say(self.client.hello(), COMMAND)
        self.client.welcome(self.frame())
        self.say(self.client.initiate(), COMMAND)
        self.client.ready(self.frame())
        return self

    def send(self, *frames: bytes) -> None:
        """One message."""
        for at, frame in enumerate(frames):
            self.say(self.client.message(frame, flags=int(at + 1 < len(frames))))

    def receive(self) -> list[bytes]:
        """One message."""
        frames, more = [], 1
        while more:
            more, body = self.client.opened(self.frame())
            frames.append(body)
        return frames


def pair(public: str, secret: str) -> tuple[bytes, bytes]:
    """A pair of keys as a file has it."""
    return z85.decode(public), z85.decode(secret)
