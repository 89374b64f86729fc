"""What a client may ask: one class per op, named after the method."""

from typing import Annotated, Any, ClassVar, TypeAlias, get_args

from msgspec import Meta, Struct

from reidd.engines import Accelerator, Engine
from reidd.protocol.limits import (
    DEFAULT_DEADLINE_MS,
    MAX_ROWS,
    VERSION,
    DeadlineMs,
    Id,
    Natural,
    Positive,
    RequestId,
    Text,
    TopK,
    Version,
)
from reidd.protocol.parts import Part, Parts
from reidd.protocol.records import ResultRecord


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op"):
    """What every request may carry."""

    v: Version = VERSION
    request: RequestId = ""
    deadline_ms: DeadlineMs = DEFAULT_DEADLINE_MS

    needs_worker: ClassVar[bool] = False
    changes_gallery: ClassVar[bool] = False

    @property
    def frames(self) -> list[Part]:
        """What the frames behind the header hold."""
        return list(getattr(self, "parts", ()))


class ExtractFeatures(Request, frozen=True, kw_only=True, tag="extract_features"):
    """Images in, features out."""

    parts: Parts
    flip_horizontal: bool = True
    needs_worker: ClassVar[bool] = True


class GetDistances(Request, frozen=True, kw_only=True, tag="get_distances"):
    """The distance of the first image to each of the others."""

    parts: Parts
    flip_horizontal: bool = True
    normalize_distance: bool = True
    needs_worker: ClassVar[bool] = True


class ReIdImage(Request, frozen=True, kw_only=True, tag="re_id_image"):
    """Who is this? One answer per image or feature row."""

    parts: Parts
    top_k: TopK = 1
    normalize_distance: bool = True
    flip_horizontal: bool = True
    max_distance: Annotated[float, Meta(ge=0, le=2)] | None = None
    margin: Annotated[float, Meta(ge=0, le=2)] = 0.0
    matrix: bool = True
    needs_worker: ClassVar[bool] = True


class AddToGallery(Request, frozen=True, kw_only=True, tag="add_to_gallery"):
    """Store the features of these images under one id."""

    id: Id
    parts: Parts
    flip_horizontal: bool = True
    needs_worker: ClassVar[bool] = True
    changes_gallery: ClassVar[bool] = True


class RemoveFromGallery(Request, frozen=True, kw_only=True, tag="remove_from_gallery"):
    """Remove all instances of an id; `undo` brings them back."""

    id: Id
    changes_gallery: ClassVar[bool] = True


class Forget(Request, frozen=True, kw_only=True, tag="forget"):
    """Erase an id for good, from backups that are put back too; it need not be in the gallery any more."""

    id: Id
    changes_gallery: ClassVar[bool] = True


class Forgotten(Request, frozen=True, kw_only=True, tag="forgotten"):
    """Which ids after one, ascending, were forgotten: whoever puts a backup back leaves these out."""

    after: Id | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_ROWS)] = MAX_ROWS


class Audit(Request, frozen=True, kw_only=True, tag="audit"):
    """Entries of the audit log after a number, oldest first."""

    after: Natural = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_ROWS)] = MAX_ROWS


class Clear(Request, frozen=True, kw_only=True, tag="clear"):
    """Forget every id."""

    changes_gallery: ClassVar[bool] = True


class SetPerIdGalleryLimit(Request, frozen=True, kw_only=True, tag="set_per_id_gallery_limit"):
    """How many instances an id keeps, and which one makes room."""

    count: Positive
    drop_method: str
    changes_gallery: ClassVar[bool] = True


class SetLabel(Request, frozen=True, kw_only=True, tag="set_label"):
    """Name an id for people, or with null take the name away."""

    id: Id
    label: Text | None
    changes_gallery: ClassVar[bool] = True


class Pin(Request, frozen=True, kw_only=True, tag="pin"):
    """Keep a full gallery from overwriting an id."""

    id: Id
    changes_gallery: ClassVar[bool] = True


class Unpin(Request, frozen=True, kw_only=True, tag="unpin"):
    """Let a full gallery overwrite an id again."""

    id: Id
    changes_gallery: ClassVar[bool] = True


class Rename(Request, frozen=True, kw_only=True, tag="rename"):
    """Give an id another number, which is free."""

    id: Id
    into_id: Id
    changes_gallery: ClassVar[bool] = True


class Merge(Request, frozen=True, kw_only=True, tag="merge"):
    """Make all instances of an id another's: they are the same person."""

    id: Id
    into_id: Id
    changes_gallery: ClassVar[bool] = True


class Move(Request, frozen=True, kw_only=True, tag="move"):
    """Make one instance another id's: it was enrolled under the wrong one."""

    instance: Positive
    id: Id
    changes_gallery: ClassVar[bool] = True


class Undo(Request, frozen=True, kw_only=True, tag="undo"):
    """Take the latest change back; again for the one before."""

    changes_gallery: ClassVar[bool] = True


class SetTtl(Request, frozen=True, kw_only=True, tag="set_ttl"):
    """How long instances live, those of one id or all; with null for ever."""

    seconds: Annotated[float, Meta(gt=0)] | None
    id: Id | None = None
    changes_gallery: ClassVar[bool] = True


class Explain(Request, frozen=True, kw_only=True, tag="explain"):
    """Why is this the nearest id? One image or feature."""

    parts: Parts
    flip_horizontal: bool = True
    needs_worker: ClassVar[bool] = True


class Ids(Request, frozen=True, kw_only=True, tag="ids"):
    """The ids after one, ascending, or some, with their instances, their labels and what else is known of them."""

    after: Id | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_ROWS)] = MAX_ROWS
    only: Annotated[list[Id], Meta(max_length=MAX_ROWS)] | None = None


class Rows(Request, frozen=True, kw_only=True, tag="rows"):
    """Instances after a number, oldest first, features included: for saving a gallery."""

    after: Natural = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_ROWS)] = MAX_ROWS


class Status(Request, frozen=True, kw_only=True, tag="status"):
    """How the daemon is."""


class Events(Request, frozen=True, kw_only=True, tag="events"):
    """Recent events after a sequence number: what a subscriber missed."""

    after: Natural = 0


class Load(Request, frozen=True, kw_only=True, tag="load"):
    """Change the engine/accelerator pair."""

    engine: Engine = Engine.DNN
    accelerator: Accelerator = Accelerator.DEFAULT


class PublishAnalytics(Request, frozen=True, kw_only=True, tag="publish_analytics"):
    """Send a record to the subscribers."""

    results: list[ResultRecord]
    tag: Any = None
    kwargs: dict[str, Any] = {}
    model: str | None = None


AnyRequest: TypeAlias = (
    ExtractFeatures
    | GetDistances
    | ReIdImage
    | AddToGallery
    | RemoveFromGallery
    | Forget
    | Forgotten
    | Audit
    | Clear
    | SetPerIdGalleryLimit
    | SetLabel
    | Pin
    | Unpin
    | Rename
    | Merge
    | Move
    | Undo
    | SetTtl
    | Explain
    | Ids
    | Rows
    | Status
    | Events
    | Load
    | PublishAnalytics
)
OPS = tuple(sorted(str(kind.__struct_config__.tag) for kind in get_args(AnyRequest)))
