"""Requests that a `forget` has overtaken: what was asked before an id was forgotten must not enrol it afterwards."""

from reidd import protocol
from reidd.daemon.jobs import Job
from reidd.errors import UnknownIdError


class Forgets:
    """The ids that were forgotten while requests from before may still be under way."""

    def __init__(self) -> None:
        self._at: dict[int, float] = {}

    def note(self, id: int, now: float) -> None:
        """Remember that an id is forgotten; `now` is on the monotonic clock."""
        self._at = {other: at for other, at in self._at.items() if now - at < protocol.MAX_DEADLINE_MS / 1000}
        self._at[id] = now

    def check(self, job: Job) -> None:
        """Refuse to enrol, with UnknownIdError, when the id was forgotten after this was asked."""
        request = job.request
        if not isinstance(request, protocol.AddToGallery):
            return
        asked = job.until - request.deadline_ms / 1000
        if self._at.get(request.id, asked) > asked:
            raise UnknownIdError(f"id {request.id} was forgotten after this was asked; ask again to enrol it anew")
