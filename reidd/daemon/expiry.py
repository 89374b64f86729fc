"""Instances that have lived their time: gone when the disk has it, for which nobody who asks has to wait."""

import logging
from collections import Counter

from reidd.daemon.batch import Settled
from reidd.daemon.publisher import Publisher
from reidd.errors import ReiddError
from reidd.gallery import Act, Gallery
from reidd.protocol import Event

log = logging.getLogger(__name__)


class Expiry:
    """What a `Batch` is, for what nobody asked for."""

    def __init__(self, gallery: Gallery, publisher: Publisher):
        """Let go of them, and note it, as a draft for the disk."""
        self._publisher = publisher
        with gallery.draft() as self.draft:
            self._dropped = gallery.expire().dropped
            if gone := Counter(id for _, id in self._dropped):
                gallery.note([Act(who="daemon", what="expired", id=id, dropped=n) for id, n in gone.items()])

    def written(self) -> list[Settled]:
        """Show readers and subscribers that they are gone."""
        self.draft.show()
        if self._dropped:
            self._publisher.publish(Event(type="expired", dropped=[instance for instance, _ in self._dropped]))
        return []

    def refused(self, error: ReiddError) -> list[Settled]:
        """Keep them until the next attempt."""
        self.draft.take_back()
        log.debug("nothing expires now: %s", error)
        return []
