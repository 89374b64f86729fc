"""What the daemon answers."""

from typing import Any, TypeAlias

from msgspec import Struct

from reidd.engines import Accelerator, Engine
from reidd.protocol.limits import VERSION
from reidd.protocol.records import ExplanationRecord, ForgottenRecord, IdRecord, PairRecord, ResultRecord


class Reply(Struct, frozen=True, kw_only=True, tag_field="reply"):
    """What every reply carries; `request` repeats the request's."""

    v: int = VERSION
    request: str = ""


class Failed(Reply, frozen=True, kw_only=True, tag="error"):
    """The request was not carried out: a stable code for programs, a sentence for people."""

    code: str
    message: str
    retry_after_ms: int | None = None
    """With code "busy": when there is likely to be room."""


class Done(Reply, frozen=True, kw_only=True, tag="done"):
    """It is done, and there is nothing more to say."""


class Array(Reply, frozen=True, kw_only=True, tag="array"):
    """Features (rows, dim) or distances (1, n); the frame holds little-endian float32."""

    shape: tuple[int, int]
    engine: Engine | None = None
    accelerator: Accelerator | None = None
    degraded: bool = False


class Results(Reply, frozen=True, kw_only=True, tag="results"):
    """One result per image; the frame holds the distances, little-endian float32 of `shape`, if asked for."""

    results: list[ResultRecord]
    shape: tuple[int, int]
    engine: Engine | None = None
    accelerator: Accelerator | None = None
    degraded: bool = False
    """A more wanted engine/accelerator pair is out of service."""


class Changed(Reply, frozen=True, kw_only=True, tag="changed"):
    """What a change did: instance numbers added, and how many instances went."""

    added: list[int] = []
    dropped: list[int] = []
    overwritten: list[int] = []
    removed: int = 0
    moved: list[int] = []
    taken_back: str = ""
    """What the change that `undo` took back had done, in words."""
    engine: Engine | None = None
    accelerator: Accelerator | None = None
    degraded: bool = False
    """As in results; of an addition that took no network, nothing is said."""


class Receipt(Reply, frozen=True, kw_only=True, tag="receipt"):
    """That an id was forgotten: what was erased, when, the audit log's entry about it, and what is out of reach."""

    id: int
    instances: list[int]
    erased: list[str]
    time: float
    sequence: int = 0
    """The number of the audit log's entry; 0 without a log."""
    hash: str = ""
    """The SHA-256 of that entry."""
    not_reached: list[str] = []


class ForgottenReply(Reply, frozen=True, kw_only=True, tag="forgotten"):
    """Ids that were forgotten, ascending; `origin` names the gallery whose instance numbers are meant."""

    origin: str
    ids: list[ForgottenRecord]


class AuditReply(Reply, frozen=True, kw_only=True, tag="audit"):
    """Entries of the audit log, each one line of JSON; `sequence` and `hash` are of the latest entry there is."""

    lines: list[str]
    last: int
    """The number of the last of these lines: ask again with `after` = this, until there are none."""
    sequence: int
    hash: str


class ExplanationReply(Reply, frozen=True, kw_only=True, tag="explanation"):
    """The instance behind the nearest id, and the next id; null when the gallery is empty. Distances lie in [0, 2]."""

    explanation: ExplanationRecord | None


class IdList(Reply, frozen=True, kw_only=True, tag="ids"):
    """Ids in ascending order, and what holds for all. Ask again with `after` = the last one, until there are none."""

    ids: list[IdRecord]
    count: int = 0
    """Instances in the gallery."""
    limit: tuple[int, str] | None = None
    ttl_s: float | None = None


class RowsReply(Reply, frozen=True, kw_only=True, tag="rows"):
    """Instances in order of age; the frame holds their features."""

    shape: tuple[int, int]
    instances: list[int]
    ids: list[int]
    times_ns: list[int]


class StatusReply(Reply, frozen=True, kw_only=True, tag="status"):
    """How the daemon is. Times in seconds, sizes in instances."""

    version: str
    pid: int
    uptime: float
    model: str
    purpose: str
    engine: Engine | None
    accelerator: Accelerator | None
    workers: int
    waiting: int
    count: int
    id_count: int
    capacity: int
    dim: int
    space: str
    limit: tuple[int, str] | None
    ring: str
    analytics: str
    epoch: str
    seq: int
    degraded: bool = False
    pairs: list[PairRecord] = []
    ttl_s: float | None = None
    encrypted: bool = False
    """Whether features and labels are encrypted on the disk."""
    damage: list[str] = []
    """What was wrong with the stored gallery at the start, in sentences."""
    storage_failure: str | None = None
    """Why changes are refused, and what to do."""
    max_distance: float | None = None
    """Farther than this, in [0, 1], is unknown, unless a request says otherwise."""
    model_labels: list[str] | None = None
    model_colors: list[list[int]] | None = None


class EventList(Reply, frozen=True, kw_only=True, tag="events"):
    """Recent events, oldest first; `complete` is false when some of those asked for are no longer held."""

    epoch: str
    complete: bool
    events: list[Any]
    """Each an object, as it was published."""


AnyReply: TypeAlias = (
    Failed
    | Done
    | Array
    | Results
    | Changed
    | Receipt
    | ForgottenReply
    | AuditReply
    | ExplanationReply
    | IdList
    | RowsReply
    | StatusReply
    | EventList
)
