"""What a client may ask to be changed in the gallery: one class per op, named after the method."""

from typing import Annotated, ClassVar

from msgspec import Meta

from reidd.protocol.limits import Id, Positive, Text
from reidd.protocol.parts import Parts
from reidd.protocol.requests import Request


class GalleryChange(Request, frozen=True, kw_only=True):
    """What every change of the gallery has in common."""

    changes_gallery: ClassVar[bool] = True


class AddToGallery(GalleryChange, frozen=True, kw_only=True, tag="add_to_gallery"):
    """Store the features of these images under one id."""

    id: Id
    parts: Parts
    flip_horizontal: bool = True
    needs_worker: ClassVar[bool] = True


class RemoveFromGallery(GalleryChange, frozen=True, kw_only=True, tag="remove_from_gallery"):
    """Remove all instances of an id; `undo` brings them back."""

    id: Id


class Forget(GalleryChange, frozen=True, kw_only=True, tag="forget"):
    """Erase an id for good, from backups that are put back too; it need not be in the gallery any more."""

    id: Id


class Clear(GalleryChange, frozen=True, kw_only=True, tag="clear"):
    """Remove all instances of every id; `undo` brings them back, if they were not too many."""


class SetPerIdGalleryLimit(GalleryChange, frozen=True, kw_only=True, tag="set_per_id_gallery_limit"):
    """How many instances an id keeps, and which one makes room."""

    count: Positive
    drop_method: Text


class SetLabel(GalleryChange, frozen=True, kw_only=True, tag="set_label"):
    """Name an id for people, or with null take the name away."""

    id: Id
    label: Text | None


class Pin(GalleryChange, frozen=True, kw_only=True, tag="pin"):
    """Keep a full gallery from overwriting an id."""

    id: Id


class Unpin(GalleryChange, frozen=True, kw_only=True, tag="unpin"):
    """Let a full gallery overwrite an id again."""

    id: Id


class Rename(GalleryChange, frozen=True, kw_only=True, tag="rename"):
    """Give an id another number, which is free."""

    id: Id
    into_id: Id


class Merge(GalleryChange, frozen=True, kw_only=True, tag="merge"):
    """Make all instances of an id another's: they are the same person."""

    id: Id
    into_id: Id


class Move(GalleryChange, frozen=True, kw_only=True, tag="move"):
    """Make one instance another id's: it was enrolled under the wrong one."""

    instance: Positive
    id: Id


class Undo(GalleryChange, frozen=True, kw_only=True, tag="undo"):
    """Take the latest change back; again for the one before."""


class SetTtl(GalleryChange, frozen=True, kw_only=True, tag="set_ttl"):
    """How long instances live, those of one id or all; with null for ever."""

    seconds: Annotated[float, Meta(gt=0)] | None
    id: Id | None = None
