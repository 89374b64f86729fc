"""What everybody may hear: numbered events, the recent ones kept for subscribers who missed some."""

import math
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from reidd import protocol
from reidd.daemon.events import mentions
from reidd.daemon.feed import Feed
from reidd.daemon.forgets import Forgets
from reidd.daemon.rights import coarse_event
from reidd.protocol import Event

if TYPE_CHECKING:
    from reidd.daemon.door import Door

KEPT_EVENTS = 1000
KEPT_BYTES = 1 << 20
"""Of all kept events together: they travel in one reply."""


class _Kept(NamedTuple):
    """One event as it went out, on this machine and over tcp."""

    exact: bytes
    coarse: bytes


class Publisher:
    """Numbers events from 1 within one run of the daemon, which its epoch names, and sends them."""

    def __init__(self, feed: Feed, model_id: str, door: "Door | None" = None):
        self.feed, self._model_id, self._door = feed, model_id, door
        self.epoch = secrets.token_hex(8)
        self.seq = 0
        self._recent: deque[_Kept] = deque()
        self._recent_bytes = 0
        self._forgets = Forgets()

    def publish(self, event: Event, *, asked: float = math.inf) -> None:
        """Send one event to whoever has subscribed to its type; slow subscribers lose messages, nobody waits.

        Nothing is said about an id that was forgotten after the event was `asked` for, on the monotonic clock.
        """
        if (forgotten := self._forgets.since(asked)) and mentions(event, forgotten):
            return
        self.seq += 1
        event = msgspec.structs.replace(
            event, seq=self.seq, epoch=self.epoch, time=time.time(), model=event.model or self._model_id
        )
        exact = protocol.encode(event)
        kept = _Kept(exact, exact if self._door is None else protocol.encode(coarse_event(event)))
        self._keep(kept)
        self.feed.publish(event.type.encode(), kept.exact)
        if self._door is not None:
            self._door.publish(event.type.encode(), kept.coarse)

    def since(self, request: protocol.Events, *, exact: bool = True) -> protocol.EventList:
        """The events after a number, as far as they are kept, with exact distances or coarse ones."""
        oldest_kept = self.seq - len(self._recent) + 1
        missing = list(self._recent)[max(0, request.after + 1 - oldest_kept) :]
        return protocol.EventList(
            request=request.request,
            epoch=self.epoch,
            # A number that is still to come is of another run of the daemon, whose events are gone.
            complete=oldest_kept <= request.after + 1 <= self.seq + 1,
            events=[msgspec.Raw(kept.exact if exact else kept.coarse) for kept in missing],
        )

    def forget(self, id: int) -> None:
        """Take what was said about an id out of the events that are kept; their numbers stay, for gaps alarm.

        What was asked for before now, and not answered yet, will not name it either.
        """
        ids = {id}
        for at in reversed(range(len(self._recent))):
            event = msgspec.json.decode(self._recent[at].exact, type=Event)
            # Whoever was merged into it, or had another number before, is the same person.
            if event.type in {"renamed", "merged"} and event.into_id in ids and isinstance(event.id, int):
                ids.add(event.id)
            if mentions(event, ids):
                blank = Event(type="redacted", seq=event.seq, epoch=event.epoch, time=event.time, model=event.model)
                encoded = protocol.encode(blank)
                self._recent_bytes += len(encoded) - len(self._recent[at].exact)
                self._recent[at] = _Kept(encoded, encoded)
        self._forgets.note(ids, time.monotonic())

    def _keep(self, event: _Kept) -> None:
        self._recent.append(event)
        self._recent_bytes += len(event.exact)
        while len(self._recent) > KEPT_EVENTS or self._recent_bytes > KEPT_BYTES:
            self._recent_bytes -= len(self._recent.popleft().exact)
