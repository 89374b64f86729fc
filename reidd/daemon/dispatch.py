"""Which worker gets which job, and when: at once where one is idle, and ahead of time where nobody loses by it."""

from reidd.daemon.crew import Crew
from reidd.daemon.jobs import Job, Line
from reidd.daemon.patience import Patience
from reidd.daemon.process import Worker


class Dispatch:
    """Hands the jobs of a line out. Of two idle workers the better one, as the crew orders them, gets the next job."""

    def __init__(self, line: Line, crew: Crew, patience: Patience):
        self._line, self._crew, self._patience = line, crew, patience

    def hand_out(self, now: float) -> list[Job]:
        """Give jobs to workers; return those that are too late."""
        if not len(self._line):
            return []
        late: list[Job] = []
        working = self._crew.working()
        pairs = {worker.pair for worker in working}
        for place, worker in enumerate(working):
            while worker.idle and (job := self._job_for(worker, len(pairs) > 1, place >= self._crew.size)):
                if job.until <= now:
                    late.append(job)
                    continue
                worker.begin(job, now)
                worker.pipe.send([job.header, *job.frames])
        # Whoever began first is likely to be done first.
        for worker in sorted(working[: self._crew.size], key=lambda worker: worker.since):
            if worker.job is not None and (job := self._job_ahead(worker, worker.job)) is not None:
                worker.ahead = job
                worker.pipe.send([job.header, *job.frames])
        return late

    def _job_for(self, worker: Worker, others: bool, reserve: bool) -> Job | None:
        again = self._line.next_again(avoid=worker.pair if others else None)
        return again if again is not None or reserve else self._line.next()

    def _job_ahead(self, worker: Worker, present: Job) -> Job | None:
        """The next job for a worker that is at work, so that it need not wait for the core between the two.

        Only of one probe behind one probe, for it must not wait long while another worker gets free; and only with
        time left for another worker, should this one hang.
        """
        if worker.ahead is not None or worker.answered or worker.retiring or not worker.pipe.open:
            return None
        if present.probes > 1:
            return None
        return self._line.next(lambda job: job.probes <= 1 and self._patience.leaves_time(worker, job))
