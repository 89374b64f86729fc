"""ZMTP 3.1 by hand (RFC 37), to say what no library would."""

import socket
import struct

MORE, LONG, COMMAND = 0x01, 0x02, 0x04
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)


def ready(identity: bytes = b"", kind: bytes = b"DEALER") -> bytes:
    """The READY command of a socket that calls itself `identity`."""
    properties = b""
    for name, value in ((b"Socket-Type", kind), (b"Identity", identity)):
        properties += bytes([len(name)]) + name + struct.pack(">I", len(value)) + value
    body = b"\x05READY" + properties
    return bytes([COMMAND, len(body)]) + body


def frame(body: bytes, *, more: bool = False, claims: int | None = None) -> bytes:
    """One frame, which may claim to be longer than it is."""
    size = len(body) if claims is None else claims
    return bytes([LONG | (MORE if more else 0)]) + struct.pack(">Q", size) + body


def short_frame(body: bytes, *, more: bool = False) -> bytes:
    """One frame of less than 256 bytes, in its shortest form."""
    return bytes([MORE if more else 0, len(body)]) + body


def connected(path: str, timeout: float = 2.0) -> socket.socket:
    """A connection to a socket file."""
    opened = socket.socket(socket.AF_UNIX)
    # With a time-out it would give up at once while others wait to be accepted.
    opened.connect(path)
    opened.settimeout(timeout)
    return opened


def greeted(path: str, identity: bytes = b"", kind: bytes = b"DEALER") -> socket.socket:
    """A connection that has shaken hands."""
    opened = connected(path)
    opened.sendall(GREETING + ready(identity, kind))
    heard = b""
    # What is sent before the other side is ready may be lost with the connection.
    while b"READY" not in heard[64:]:
        heard += (piece := opened.recv(4096))
        if not piece:
            raise ConnectionResetError("the connection was closed during the handshake")
    return opened
