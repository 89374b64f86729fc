"""The pair that requests go to first, and its changes."""

import logging
from typing import NamedTuple

from reidd.daemon.crew import Crew
from reidd.daemon.orders import Ready

log = logging.getLogger(__name__)


class Shift(NamedTuple):
    """From now on requests go to another pair first."""

    ready: Ready
    degraded: bool


class Course:
    """Follows the crew: what its best worker runs, or last ran."""

    def __init__(self, crew: Crew):
        self._crew = crew
        self._shifts: list[Shift] = []
        self.ready: Ready | None = None

    @property
    def degraded(self) -> bool:
        """Whether requests go to a less wanted pair than they ought to."""
        return self.ready is not None and self._crew.ladder.is_degraded(self.ready.pair)

    def shifts(self) -> list[Shift]:
        """The changes since the last call."""
        shifts, self._shifts = self._shifts, []
        return shifts

    def follow(self) -> None:
        """Look whether the best worker runs another pair than before."""
        working = self._crew.working()
        if not working or working[0].ready is None:
            return
        before, self.ready = self.ready, working[0].ready
        if before is not None and (before.engine, before.accelerator) != (self.ready.engine, self.ready.accelerator):
            log.info(
                "requests now go to %s/%s%s", self.ready.engine, self.ready.accelerator, ", degraded" * self.degraded
            )
            self._shifts.append(Shift(self.ready, self.degraded))
