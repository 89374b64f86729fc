"""What a client may ask without changing the gallery: one class per op, named after the method."""

from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from reidd.engines import Accelerator, Engine
from reidd.protocol.limits import (
    DEFAULT_DEADLINE_MS,
    MAX_ROWS,
    VERSION,
    DeadlineMs,
    Id,
    Natural,
    RequestId,
    TopK,
    Version,
)
from reidd.protocol.parts import Feature, Part, Parts, images_in
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

    @property
    def images(self) -> int:
        """How many images they hold."""
        return sum(map(images_in, self.frames))

    @property
    def rows(self) -> int:
        """How many rows of features they hold."""
        return sum(part.shape[0] for part in self.frames if isinstance(part, Feature))


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


class Forgotten(Request, frozen=True, kw_only=True, tag="forgotten"):
    """Which ids after one, ascending, were forgotten: whoever puts a backup back leaves these out."""

    after: Id | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_ROWS)] = MAX_ROWS


class Audit(Request, frozen=True, kw_only=True, tag="audit"):
    """Entries of the audit log after a number, oldest first."""

    after: Natural = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_ROWS)] = MAX_ROWS


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
