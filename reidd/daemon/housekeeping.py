"""What the core does by itself now and then: the heartbeat, and letting go of what has been kept long enough."""

import logging
import time
from collections import Counter

from reidd.daemon.auditing import Unwritten
from reidd.daemon.publisher import Publisher
from reidd.errors import StorageUnavailableError
from reidd.gallery import Act, Gallery
from reidd.gallery.audit import DAY_S
from reidd.protocol import Event

log = logging.getLogger(__name__)

PRUNE_EVERY_S = 600.0


class Housekeeping:
    """Keeps a gallery as its retention times say."""

    def __init__(self, gallery: Gallery, publisher: Publisher, unwritten: Unwritten, audit_days: float):
        self._gallery, self._publisher, self._unwritten = gallery, publisher, unwritten
        self._audit_days, self._next_prune = audit_days, 0.0

    def tick(self, now: float, *, may_change: bool) -> None:
        """Do what it is time for; on a failing disk nothing goes until it works again."""
        self._gallery.heartbeat()
        if not may_change:
            return
        try:
            self._expire()
            if now >= self._next_prune:
                self._next_prune = now + PRUNE_EVERY_S
                # By the wall clock, the only one that knows days without power: one that is behind keeps them longer.
                if self._gallery.prune_audit(older_than_s=time.time() - self._audit_days * DAY_S):
                    self._next_prune = now
        except StorageUnavailableError as error:
            log.debug("nothing expires now: %s", error)

    def _expire(self) -> None:
        dropped = self._gallery.expire().dropped
        if not dropped:
            return
        gone = Counter(id for _, id in dropped)
        self._unwritten.note(*(Act(who="daemon", what="expired", id=id, dropped=n) for id, n in gone.items()))
        self._publisher.publish(Event(type="expired", dropped=[instance for instance, _ in dropped]))
