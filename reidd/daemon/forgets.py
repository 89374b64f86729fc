"""Ids that were forgotten lately: requests from before may still be under way, and must not bring them back."""

from collections import deque
from collections.abc import Iterable

from reidd import protocol

MAX_MOVED = 10_000
"""Of the latest renamed and merged ids, that are remembered."""


class Forgets:
    """When ids were forgotten, for as long as a request from before may take."""

    def __init__(self) -> None:
        self._forgotten: dict[int, float] = {}
        self._moved: deque[tuple[int, int, float]] = deque(maxlen=MAX_MOVED)

    def note(self, ids: Iterable[int], at: float) -> None:
        """Note that ids were forgotten, on the monotonic clock; and who was one of them by another number before."""
        longest_s = protocol.MAX_DEADLINE_MS / 1000
        recent = {id: before for id, before in self._forgotten.items() if at - before < longest_s}
        now = dict.fromkeys(ids, at)
        for id, into_id, moved_at in reversed(self._moved):
            if into_id in now:
                # Not later: whoever has the number by then is somebody else.
                now[id] = max(now.get(id, moved_at), recent.get(id, moved_at), moved_at)
        self._forgotten = recent | now

    def note_move(self, id: int, into_id: int, at: float) -> None:
        """Note that an id became, or was merged into, another."""
        self._moved.append((id, into_id, at))

    def overtook(self, id: int, asked: float) -> bool:
        """Whether an id was forgotten after a request about it was asked."""
        return self._forgotten.get(id, asked) > asked

    def since(self, asked: float) -> set[int]:
        """All ids that were forgotten after a request was asked."""
        return {id for id, at in self._forgotten.items() if at > asked}
