"""Who a request came from and where its reply goes: the frames in front of the header."""

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import zmq

from reidd.errors import RequestError
from reidd.keys import User

log = logging.getLogger(__name__)

MAX_HOPS = 8
"""Frames before the delimiter: the connection, a correlated REQ's number, and one for each proxy between."""

Envelope: TypeAlias = tuple[bytes, ...]
"""The frames that lead a reply back, the empty one at the end included."""


class Caller(NamedTuple):
    """Who asked: the way back, who holds the key, and what a repeat of the very request has in common with it."""

    envelope: Envelope
    remote: bool = False
    """Whether it came in over tcp."""
    user: User | None = None
    """Whoever holds the key it came in with; None for somebody on this machine."""
    retry: bytes = b""
    uid: int | None = None
    """The local user, where the kernel tells."""

    @property
    def connection(self) -> bytes:
        """What ZeroMQ names the caller's connection by."""
        return self.envelope[0]

    @property
    def name(self) -> str:
        """Who that is, for the audit log."""
        if self.user is not None:
            return f"key {self.user.name}"
        return "local" if self.uid is None else f"uid {self.uid}"


def arrived(socket: "zmq.Socket[bytes]", at_most: int) -> Iterator[list[bytes]]:
    """The messages that have come in, without waiting; trying to receive one is far cheaper than polling for it."""
    for _ in range(at_most):
        try:
            yield socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        except MemoryError:
            passed_over(socket)


def passed_over(socket: "zmq.Socket[bytes]") -> None:
    """Let go of a message that there is no memory for, to its end, where the next one begins."""
    log.warning("a message was passed over, for there is not enough memory for it")
    while socket.getsockopt(zmq.RCVMORE):
        socket.recv(copy=False)


class Letter(NamedTuple):
    """One request as it came."""

    envelope: Envelope
    header: bytes
    frames: list[bytes]


def opened(message: Sequence[bytes]) -> Letter:
    """Split a ROUTER's message at its first empty frame.

    Raises:
        RequestError: there is none, or nothing behind it.
    """
    for at, frame in enumerate(message[1 : MAX_HOPS + 1], 1):
        if not frame and at + 1 < len(message):
            return Letter(tuple(message[: at + 1]), message[at + 1], list(message[at + 2 :]))
    raise RequestError("no header behind an empty frame; a DEALER sends an empty frame first, then header and parts")
