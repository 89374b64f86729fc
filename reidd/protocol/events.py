"""What the daemon tells its subscribers."""

from typing import Any

import msgspec
from msgspec import Struct

from reidd.engines import Accelerator, Engine
from reidd.protocol.records import ResultRecord


class Event(Struct, frozen=True, kw_only=True):
    """What subscribers are told: never an image, never a feature."""

    type: str
    seq: int = 0
    epoch: str = ""
    time: float = 0.0
    model: str = ""
    tag: Any = None
    results: list[ResultRecord] | msgspec.UnsetType = msgspec.UNSET
    kwargs: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    id: int | msgspec.UnsetType = msgspec.UNSET
    instances: list[int] | msgspec.UnsetType = msgspec.UNSET
    dropped: list[int] | msgspec.UnsetType = msgspec.UNSET
    count: int | msgspec.UnsetType = msgspec.UNSET
    drop_method: str | msgspec.UnsetType = msgspec.UNSET
    label: str | msgspec.UnsetType | None = msgspec.UNSET
    into_id: int | msgspec.UnsetType = msgspec.UNSET
    ttl_s: float | msgspec.UnsetType | None = msgspec.UNSET
    engine: Engine | msgspec.UnsetType = msgspec.UNSET
    accelerator: Accelerator | msgspec.UnsetType = msgspec.UNSET
    degraded: bool | msgspec.UnsetType = msgspec.UNSET


EVENT_TYPES = (
    "identified",
    "added",
    "overwritten",
    "expired",
    "removed",
    "forgotten",
    "redacted",
    "cleared",
    "limited",
    "labelled",
    "pinned",
    "unpinned",
    "renamed",
    "merged",
    "moved",
    "undone",
    "loaded",
    "published",
)
