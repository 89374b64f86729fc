"""Requests that a `forget` has overtaken: what was asked before an id was forgotten must not enrol it afterwards."""

from reidd import protocol
from reidd.daemon.changes import Change
from reidd.errors import UnknownIdError


class Forgets:
    """The ids that were to be forgotten while requests from before may still be under way."""

    def __init__(self) -> None:
        self._asked: dict[int, float] = {}

    def heed(self, change: Change) -> None:
        """Take changes in the order they are made: remember a `forget`, let all others pass but what it has overtaken.

        Raises:
            UnknownIdError: an addition that was asked for before its id was to be forgotten.
        """
        match change.request:
            case protocol.Forget(id=id):
                longest_s = protocol.MAX_DEADLINE_MS / 1000
                recent = {one: asked for one, asked in self._asked.items() if change.asked - asked < longest_s}
                self._asked = {**recent, id: change.asked}
            case protocol.AddToGallery(id=id) if self._asked.get(id, change.asked) > change.asked:
                raise UnknownIdError(f"id {id} was forgotten after this was asked; ask again to enrol it anew")
