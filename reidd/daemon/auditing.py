"""What the audit log is told: who asked for which change, and what came of it. Numbers only."""

from collections import deque
from collections.abc import Iterable

from reidd import protocol
from reidd.daemon.envelope import Caller
from reidd.gallery import Act

MAX_UNWRITTEN = 10_000
_FIELDS = ("id", "into_id", "instance", "seconds", "count")


class Unwritten:
    """Acts that no change goes with, waiting for the next entry; on a failing disk they wait until it works again."""

    def __init__(self) -> None:
        self._acts: deque[Act] = deque(maxlen=MAX_UNWRITTEN)
        self._under_way: list[Act] = []
        self.fresh = False
        """Whether one came since the last attempt to write them."""

    def note(self, *acts: Act) -> None:
        """Take acts in."""
        self._acts.extend(acts)
        self.fresh = self.fresh or bool(acts)

    def take(self) -> list[Act]:
        """Give them all, for an attempt to write them: then say that they are `written`, or were `refused`."""
        self.fresh = False
        self._under_way = list(self._acts)
        self._acts.clear()
        return self._under_way

    def written(self) -> None:
        """Let go of those that were taken."""
        self._under_way = []

    def refused(self) -> None:
        """Keep those that were taken for the next attempt."""
        self._acts.extendleft(reversed(self._under_way))
        self._under_way = []


def act(caller: Caller, request: protocol.AnyRequest, reply: protocol.AnyReply) -> Act:
    """Say what came of a request."""
    asked = {field: getattr(request, field) for field in _FIELDS if getattr(request, field, None) is not None}
    match request:
        case protocol.Load():
            asked["pair"] = f"{request.engine}/{request.accelerator}"
        case protocol.SetPerIdGalleryLimit():
            asked["method"] = request.drop_method
    match reply:
        case protocol.Changed():
            asked |= {
                "added": len(reply.added),
                "removed": reply.removed,
                "dropped": len(reply.dropped),
                "overwritten": len(reply.overwritten),
                "moved": len(reply.moved),
            }
        case protocol.Receipt():
            asked["removed"] = len(reply.instances)
        case protocol.RowsReply():
            asked["count"] = len(reply.instances)
    return Act(who=caller.name, what=str(type(request).__struct_config__.tag), **asked)


def key_acts(changes: Iterable[tuple[str, str]]) -> list[Act]:
    """Say which keys came and went; who did it is for the file system to know."""
    return [Act(who="local", what=what, keys=[name]) for what, name in changes]
