"""Ids that were forgotten lately: requests from before may still be under way, and must not bring them back."""

from collections.abc import Iterable

from reidd import protocol


class Forgets:
    """When ids were forgotten, for as long as a request from before may take."""

    def __init__(self) -> None:
        self._forgotten: dict[int, float] = {}

    def note(self, ids: Iterable[int], at: float) -> None:
        """Note that ids were forgotten, on the monotonic clock."""
        longest_s = protocol.MAX_DEADLINE_MS / 1000
        recent = {id: before for id, before in self._forgotten.items() if at - before < longest_s}
        self._forgotten = recent | dict.fromkeys(ids, at)

    def overtook(self, id: int, asked: float) -> bool:
        """Whether an id was forgotten after a request about it was asked."""
        return self._forgotten.get(id, asked) > asked

    def since(self, asked: float) -> set[int]:
        """All ids that were forgotten after a request was asked."""
        return {id for id, at in self._forgotten.items() if at > asked}
