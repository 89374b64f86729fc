"""A change that a client asks for twice is made once: the repeat gets the first one's answer."""

import hashlib
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from reidd import protocol
from reidd.daemon.envelope import Caller
from reidd.keys import User

WINDOW_S = 60.0
MAX_REMEMBERED = 10_000
MAX_REPEATS = 64
"""Of one change under way that are answered; who sends more is not waiting for each."""


class Repeat(Enum):
    """What a request is, when its answer is not known already."""

    FIRST = "first"
    UNDER_WAY = "under way"


class _Answer(NamedTuple):
    until: float
    reply: bytes


class Retries:
    """Changes that are under way or were made in the last minute, by their request id and content."""

    def __init__(self, known: Mapping[bytes, bytes] | None = None, now: float = 0.0):
        """Begin with the answers that are `known` from before this process."""
        self._under_way: dict[bytes, list[Caller]] = {}
        """However long they take; with those who repeat them."""
        # In the order they were given, which is the order they grow old in.
        self._answers = {key: _Answer(now + WINDOW_S, reply) for key, reply in (known or {}).items()}

    def noted(self, key: bytes, caller: Caller, now: float) -> bytes | Repeat:
        """Return the answer to a repeat, or say that it is the first, or that the first is under way.

        In the last case `finished` names the caller among those to answer.
        """
        self._forget_old(now)
        if (answer := self._answers.get(key)) is not None:
            return answer.reply
        if (others := self._under_way.get(key)) is not None:
            if len(others) < MAX_REPEATS:
                others.append(caller)
            return Repeat.UNDER_WAY
        self._under_way[key] = []
        return Repeat.FIRST

    def finished(self, key: bytes, reply: bytes | None, now: float) -> list[Caller]:
        """Remember an answer, or with None that it failed and may be tried again; return who else waits for it."""
        others = self._under_way.pop(key, None)
        if others is None:
            return []
        if reply is not None:
            self._answers[key] = _Answer(now + WINDOW_S, reply)
        return others

    def _forget_old(self, now: float) -> None:
        while self._answers:
            key, answer = next(iter(self._answers.items()))
            if answer.until > now and len(self._answers) <= MAX_REMEMBERED:
                return
            del self._answers[key]


def key_of(request: protocol.AnyRequest, frames: Sequence[bytes], user: User | None = None) -> bytes:
    """What a repeat has in common with the first: user, request id and content, but not the time that is left.

    Empty for requests that change nothing and for those without a request id.
    """
    if not request.changes_gallery or not request.request:
        return b""
    digest = hashlib.blake2b(protocol.encode(msgspec.structs.replace(request, deadline_ms=1)), digest_size=16)
    digest.update(repr(user and user.name).encode())
    for frame in frames:
        digest.update(frame)
    return digest.digest()
