"""What happened in the daemon, as the events that subscribers get."""

from collections.abc import Collection
from typing import Any

import msgspec

from reidd import protocol
from reidd.analytics import json_value
from reidd.daemon.course import Shift
from reidd.protocol import Event


def identified(reply: protocol.Results) -> Event:
    """Turn results into the event that subscribers get."""
    pair = {"engine": reply.engine, "accelerator": reply.accelerator} if reply.engine and reply.accelerator else {}
    return Event(type="identified", results=reply.results, degraded=reply.degraded, **pair)  # type: ignore[arg-type]


def loaded(shift: Shift) -> Event:
    """Turn a change of pair into the event that subscribers get."""
    return Event(type="loaded", engine=shift.ready.engine, accelerator=shift.ready.accelerator, degraded=shift.degraded)


def published(request: protocol.PublishAnalytics) -> Event:
    """Turn a request to publish into the event that subscribers get.

    Raises:
        PublishError: it is nested too deep, or holds a number that is too large.
    """
    return Event(
        type="published",
        model=request.model or "",
        tag=json_value(request.tag, "tag"),
        results=request.results,
        kwargs={key: json_value(value, key) for key, value in request.kwargs.items()},
    )


def mentions(event: Event, ids: Collection[int]) -> bool:
    """Whether an event is about one of these ids, or holds its number in what a client published."""
    told = [] if isinstance(event.results, msgspec.UnsetType) else event.results
    named = {event.id, event.into_id, *(p.id for result in told for p in result.predictions)}
    return not named.isdisjoint(ids) or _holds(event.tag, ids) or _holds(event.kwargs, ids)


def _holds(value: Any, ids: Collection[int]) -> bool:
    if isinstance(value, dict):
        return any(_holds(key, ids) or _holds(held, ids) for key, held in value.items())
    if isinstance(value, list):
        return any(_holds(held, ids) for held in value)
    # A number, or one that is a key or a text: the client knows what it means, we do not.
    return str(value) in map(str, ids)
