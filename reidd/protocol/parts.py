"""What a payload frame holds: an image file, raw pixels or features."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from reidd.protocol.limits import MAX_PARTS, Natural, Positive

Box: TypeAlias = tuple[Natural, Natural, Positive, Positive]
"""x and y of the upper left corner, width and height, in pixels of the frame; it lies within the frame."""
Boxes = Annotated[list[Box], Meta(min_length=1, max_length=MAX_PARTS)]


class Encoded(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="encoded", omit_defaults=True):
    """The bytes of a JPEG or PNG file: one image, or one for each box within it."""

    boxes: Boxes | None = None


class Pixels(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="pixels", omit_defaults=True):
    """Raw uint8, row by row, of shape (h, w, 3) BGR, (h, w) grey or (h, w, 4) BGRA: one image, or one for each box."""

    shape: Annotated[list[Positive], Meta(min_length=2, max_length=3)]
    boxes: Boxes | None = None


class Feature(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="feature"):
    """Raw little-endian float32: `shape` is [rows, dim]."""

    shape: tuple[Positive, Positive]


Part: TypeAlias = Encoded | Pixels | Feature
Parts = Annotated[list[Part], Meta(max_length=MAX_PARTS)]


def images_in(part: Part) -> int:
    """How many images a frame holds: one, or one for each box within it."""
    return 0 if isinstance(part, Feature) else len(part.boxes or [()])
