"""A change that a client asks for twice is made once: the repeat gets the first one's answer."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from reidd import protocol
from reidd.daemon.envelope import Caller
from reidd.keys import User

WINDOW_S = 60.0
MAX_REMEMBERED = 10_000


class Repeat(Enum):
    """What a request is, when its answer is not known already."""

    FIRST = "first"
    UNDER_WAY = "under way"


@dataclass
class _Attempt:
    until: float
    others: list[Caller] = field(default_factory=list)
    reply: bytes | None = None


class Retries:
    """Changes of the last minute by their request id and content, with their answers."""

    def __init__(self, window_s: float = WINDOW_S, known: Mapping[bytes, bytes] | None = None, now: float = 0.0):
        """Begin with the answers that are `known` from before this process."""
        self._window_s = window_s
        # In the order they came in, which is the order they grow old in.
        self._attempts = {key: _Attempt(now + window_s, reply=reply) for key, reply in (known or {}).items()}

    def noted(self, key: bytes, client: Caller, now: float) -> bytes | Repeat:
        """Return the answer to a repeat, or say that it is the first, or that the first is under way.

        In the last case `finished` names the client among those to answer.
        """
        self._forget_old(now)
        attempt = self._attempts.get(key)
        if attempt is None:
            if len(self._attempts) == MAX_REMEMBERED:
                del self._attempts[next(iter(self._attempts))]
            self._attempts[key] = _Attempt(now + self._window_s)
            return Repeat.FIRST
        if attempt.reply is None:
            attempt.others.append(client)
            return Repeat.UNDER_WAY
        return attempt.reply

    def finished(self, key: bytes, reply: bytes | None) -> list[Caller]:
        """Remember an answer, or with None that it failed and may be tried again; return who else waits for it."""
        attempt = self._attempts.get(key)
        if attempt is None:
            return []
        others, attempt.others, attempt.reply = attempt.others, [], reply
        if reply is None:
            del self._attempts[key]
        return others

    def _forget_old(self, now: float) -> None:
        while self._attempts:
            key = next(iter(self._attempts))
            if self._attempts[key].until > now:
                return
            del self._attempts[key]


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
