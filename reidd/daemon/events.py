"""What happened in the daemon, as the events that subscribers get."""

from reidd import protocol
from reidd.daemon.course import Move
from reidd.protocol import Event


def identified(reply: protocol.Results) -> Event:
    """Turn results into the event that subscribers get."""
    pair = {"engine": reply.engine, "accelerator": reply.accelerator} if reply.engine and reply.accelerator else {}
    return Event(type="identified", results=reply.results, degraded=reply.degraded, **pair)  # type: ignore[arg-type]


def loaded(move: Move) -> Event:
    """Turn a change of pair into the event that subscribers get."""
    return Event(type="loaded", engine=move.ready.engine, accelerator=move.ready.accelerator, degraded=move.degraded)


def published(request: protocol.PublishAnalytics) -> Event:
    """Turn a request to publish into the event that subscribers get."""
    return Event(
        type="published", model=request.model or "", tag=request.tag, results=request.results, kwargs=request.kwargs
    )
