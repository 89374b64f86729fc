"""What a worker's reply becomes: an answer for the client, or an errand at the gallery."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from reidd import protocol
from reidd.daemon.batch import Errand
from reidd.daemon.events import identified
from reidd.daemon.jobs import Outcome
from reidd.protocol import ResultRecord
from reidd.service import Answer, float32_rows

Labelled = Callable[[Sequence[ResultRecord]], list[ResultRecord]]


def answer_or_errand(outcome: Outcome, reply: Sequence[bytes], labelled: Labelled) -> Answer | Errand:
    """Read a worker's reply, which may raise anything; `labelled` puts the ids' names into results."""
    job = outcome.job
    header, *frames = reply
    match protocol.decode_reply(header):
        case protocol.Array() as array if isinstance(job.request, protocol.AddToGallery):
            pair = outcome.pair_fields if job.request.images else {}
            return Errand(job.caller, job.request, job.until, float32_rows(array.shape, frames[0]), pair)
        case protocol.Array() as array:
            return Answer(replace(array, **outcome.pair_fields), tuple(frames))
        case protocol.Results() as results:
            results = replace(results, results=labelled(results.results), degraded=outcome.degraded)
            return Answer(results, tuple(frames), (identified(results),))
        case other:
            return Answer(other, tuple(frames))
