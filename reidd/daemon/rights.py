"""What a key may ask, and how exactly it is answered: pure decisions."""

import math
from collections.abc import Sequence

import msgspec

from reidd import protocol
from reidd.errors import ForbiddenError
from reidd.keys import Role, User
from reidd.protocol import Event, ResultRecord

BAND = 0.1
"""Width of a coarse band of distances, on the scale 0 to 1, on which those without scores ask."""

_Q, _E, _A, _S = Role.QUERY, Role.ENROL, Role.ADMIN, Role.SUBSCRIBE
ALLOWED: dict[type[protocol.Request], frozenset[Role]] = {
    protocol.Status: frozenset({_Q, _E, _A, _S}),
    protocol.ReIdImage: frozenset({_Q, _E, _A}),
    protocol.Ids: frozenset({_Q, _E, _A}),
    protocol.PublishAnalytics: frozenset({_Q, _E, _A}),
    # With a feature at hand one could ask for the nearest id of any other, as often as one likes.
    protocol.ExtractFeatures: frozenset({_E, _A}),
    protocol.GetDistances: frozenset({_E, _A}),
    protocol.AddToGallery: frozenset({_E, _A}),
    protocol.RemoveFromGallery: frozenset({_E, _A}),
    protocol.SetLabel: frozenset({_E, _A}),
    protocol.Forgotten: frozenset({_E, _A}),
    protocol.Forget: frozenset({_A}),
    protocol.Audit: frozenset({_A}),
    protocol.Move: frozenset({_A}),
    protocol.Rename: frozenset({_A}),
    protocol.Merge: frozenset({_A}),
    protocol.Pin: frozenset({_A}),
    protocol.Unpin: frozenset({_A}),
    protocol.Undo: frozenset({_A}),
    protocol.SetTtl: frozenset({_A}),
    protocol.Explain: frozenset({_A}),
    protocol.Events: frozenset({_S, _A}),
    protocol.Clear: frozenset({_A}),
    protocol.SetPerIdGalleryLimit: frozenset({_A}),
    protocol.Load: frozenset({_A}),
    # Stored features leave the machine.
    protocol.Rows: frozenset({_A}),
}
_EXACT = (protocol.GetDistances, protocol.Rows, protocol.ExtractFeatures, protocol.Explain)


def check(user: User | None, request: protocol.AnyRequest) -> None:
    """Let a request pass; `None` is somebody on this machine, who may do everything.

    Raises:
        ForbiddenError: the key has no role for it; names those that have.
    """
    if user is None:
        return
    op = type(request).__struct_config__.tag
    wanted = ALLOWED[type(request)]
    if not user.roles & wanted:
        scores = ", and scores with it" if isinstance(request, _EXACT) and Role.SCORES not in user.roles else ""
        roles = " or ".join(sorted(wanted))
        raise ForbiddenError(f"op: the key {user.name!r} may not ask for {op!r}; it takes the role {roles}{scores}")
    if Role.SCORES in user.roles:
        return
    if isinstance(request, _EXACT):
        raise ForbiddenError(f"op: the key {user.name!r} may not ask for {op!r} without the role scores")
    if isinstance(request, protocol.ReIdImage):
        _check_question(user, request)


def _check_question(user: User, request: protocol.ReIdImage) -> None:
    if request.max_distance is not None or request.margin:
        # The verdict would tell on which side of any number the distance lies: a few questions give it exactly.
        raise ForbiddenError(f"max_distance, margin: the key {user.name!r} may not set them without the role scores")
    if not request.normalize_distance:
        # On a scale of twice the length a band is half as wide.
        raise ForbiddenError(
            f"normalize_distance: the key {user.name!r} may not ask on the scale 0 to 2 without the role scores"
        )
    if any(isinstance(part, protocol.Feature) for part in request.parts):
        raise ForbiddenError(f"parts: the key {user.name!r} may not ask about features without the role scores")


def may_see_scores(user: User | None) -> bool:
    """Whether distances go out exactly."""
    return user is None or Role.SCORES in user.roles


def coarse_results(results: Sequence[ResultRecord]) -> list[ResultRecord]:
    """Results whose distances are the upper ends of their bands."""
    return [
        msgspec.structs.replace(
            result, predictions=[msgspec.structs.replace(p, distance=band(p.distance)) for p in result.predictions]
        )
        for result in results
    ]


def coarse_reply(reply: protocol.Results) -> protocol.Results:
    """A reply without the distance to every instance; its frame is left empty."""
    return msgspec.structs.replace(reply, results=coarse_results(reply.results), shape=(len(reply.results), 0))


def coarse_event(event: Event) -> Event:
    """An event for those who may not see exact distances."""
    if isinstance(event.results, msgspec.UnsetType):
        return event
    return msgspec.structs.replace(event, results=coarse_results(event.results))


def band(distance: float) -> float:
    """The upper end of a distance's band."""
    return round(math.ceil(round(distance / BAND, 6)) * BAND, 6)
