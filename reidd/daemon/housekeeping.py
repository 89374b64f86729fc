"""What the core does by itself now and then: the heartbeat, and letting go of what has been kept long enough."""

import logging
import math
import time

from reidd.daemon.publisher import Publisher
from reidd.daemon.recorder import Recorder
from reidd.errors import GalleryError, StorageUnavailableError
from reidd.gallery import Gallery
from reidd.gallery.audit import DAY_S

log = logging.getLogger(__name__)

EXPIRE_EVERY_S = 1.0
PRUNE_EVERY_S = 600.0


class Housekeeping:
    """Keeps a gallery as its retention times say."""

    def __init__(self, gallery: Gallery, publisher: Publisher, recorder: Recorder, audit_days: float):
        self._gallery, self._publisher, self._recorder = gallery, publisher, recorder
        self._keep_audit_s, self._next_prune, self._next_expiry = audit_days * DAY_S, 0.0, 0.0
        self._began_s, self._began_after = time.monotonic(), gallery.audit.seq

    def tick(self, now: float) -> None:
        """Do what it is time for; on a failing disk nothing goes until it works again."""
        self._gallery.heartbeat()
        if self._recorder.idle and now >= self._next_prune:
            self._prune(now)
        if self._recorder.idle and now >= self._next_expiry:
            self._next_expiry = now + EXPIRE_EVERY_S
            self._recorder.expire(self._publisher)

    def _prune(self, now: float) -> None:
        self._next_prune = now + PRUNE_EVERY_S
        try:
            # By the wall clock, the only one that knows days without power. But a board that lay in a drawer begins
            # with the time it was put there: what this process wrote before the clock was set is as young as it is.
            young_after = self._began_after if now - self._began_s < self._keep_audit_s else math.inf
            if self._gallery.prune_audit(older_than_s=time.time() - self._keep_audit_s, young_after=young_after):
                self._next_prune = now
        except StorageUnavailableError as error:
            log.debug("nothing is pruned now: %s", error)
        except GalleryError as error:
            log.warning("old entries of the audit log stay, for it cannot be read: %s", error)
