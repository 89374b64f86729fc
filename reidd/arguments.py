"""What callers hand in, checked, and made ready to travel in a request."""

import math
import operator
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, TypeVar

import numpy as np

from reidd import protocol
from reidd.errors import FeatureError, ImageError, RequestError, shown
from reidd.images import Image, pixels

MAX_IMAGES_BYTES = 32 << 20
"""Of images in one request: a daemon has room for 256 MiB of requests, all clients together."""
NUMBERS = (int, float, np.integer, np.floating)

_E = TypeVar("_E", bound=Enum)


def listed(image: Image | Sequence[Image]) -> list[Image]:
    """One image or several, as a list."""
    return list(image) if isinstance(image, (list, tuple)) else [image]  # type: ignore[list-item]


def several(images: Any, name: str) -> list[Image]:
    """Images, as a list; one image would be taken apart into its rows, so it is refused."""
    single = isinstance(images, (bytes, bytearray, memoryview, str)) or getattr(images, "ndim", 4) < 4
    if single or not hasattr(images, "__iter__"):
        what = f"one array of shape {images.shape}" if isinstance(images, np.ndarray) else f"a {type(images).__name__}"
        raise ImageError(f"{name} is {what}; expected a list of images, such as [image]")
    return list(images)


def chunks(images: Sequence[Image], size: int = protocol.MAX_PARTS) -> Iterator[list[Image]]:
    """As many at a time as one request takes."""
    chunk: list[Image] = []
    held = 0
    for image in images:
        travelling = _travelling_bytes(image)
        if chunk and (len(chunk) == size or held + travelling > MAX_IMAGES_BYTES):
            yield chunk
            chunk, held = [], 0
        chunk.append(image)
        held += travelling
    if chunk:
        yield chunk


def _travelling_bytes(image: Any) -> int:
    """How large an image is on its way; of what is none, nothing, for it will not travel."""
    if isinstance(image, np.ndarray):
        return 3 * int(math.prod(image.shape[:2]))
    return memoryview(image).nbytes if isinstance(image, (bytes, bytearray, memoryview)) else 0


def image_parts(images: Sequence[Image]) -> tuple[list[protocol.Part], list[Any]]:
    """How images travel: files as they are, arrays as raw pixels once they are known to be an image."""
    parts: list[protocol.Part] = []
    frames: list[Any] = []
    for image in images:
        if isinstance(image, (bytes, bytearray, memoryview)):
            parts.append(protocol.Encoded())
            frames.append(bytes(image))
        else:
            checked = np.ascontiguousarray(pixels(image))
            parts.append(protocol.Pixels(shape=list(checked.shape)))
            frames.append(checked.data.cast("B"))
    return parts, frames


def feature_parts(features: np.ndarray, *, least: int = 1) -> Iterator[tuple[protocol.Feature, bytes]]:
    """How features travel: raw float32, as many rows in one request as a daemon takes."""
    try:
        rows = np.atleast_2d(np.asarray(features))
    except ValueError as error:
        raise FeatureError(f"features are no array: {error}") from None
    if rows.ndim != 2 or len(rows) < least or not rows.shape[1] or rows.dtype.kind != "f":
        raise FeatureError(
            f"features are {rows.dtype} of shape {rows.shape}; expected float of shape (n, dim) or (dim,)"
        )
    for at in range(0, len(rows), protocol.MAX_ROWS):
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinity, and is refused as such
            chunk = np.ascontiguousarray(rows[at : at + protocol.MAX_ROWS], "<f4")
        yield protocol.Feature(shape=(chunk.shape[0], chunk.shape[1])), chunk.tobytes()


def question(top_k: int, normalize_distance: bool, max_distance: float | None, margin: float) -> dict[str, Any]:
    """What is asked about a probe, as the fields of a request."""
    return {
        "top_k": min(counted(top_k, "top_k"), protocol.MAX_TOP_K),
        "normalize_distance": bool(normalize_distance),
        "max_distance": None if max_distance is None else _distance(max_distance, "max_distance"),
        "margin": _distance(margin, "margin"),
    }


def _distance(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, NUMBERS) or not 0 <= value <= 2:
        raise RequestError(f"{name} is {shown(value)}; expected a number from 0 to 2")
    return float(value)


def counted(count: Any, name: str = "count", *, least: int = 1) -> int:
    """Return a number of things, `least` or more, as a plain int; a RequestError names what it is not."""
    try:
        number = operator.index(count)
    except TypeError:
        number = least - 1
    if isinstance(count, bool) or not least <= number <= protocol.MAX_ID:
        raise RequestError(f"{name} is {shown(count)}; expected an integer of {least} or more")
    return number


def seconds_of(value: Any, name: str) -> float:
    """Return a time, more than 0, as a plain float; a RequestError names what it is not."""
    if isinstance(value, bool) or not isinstance(value, NUMBERS) or not 0 < value < math.inf:
        raise RequestError(f"{name} is {shown(value)}; expected seconds, more than 0")
    return float(value)


def label_text(text: Any) -> str | None:
    """Return an id's name, or None for no name."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise RequestError(f"label is {shown(text)}; expected a string, or None for no name")
    if len(text) > protocol.MAX_TEXT:
        raise RequestError(f"label has {len(text)} characters; expected at most {protocol.MAX_TEXT}")
    return protocol.checked_text(text, "label")


def member(kind: type[_E], value: Any) -> _E:
    """Return a member of an enum by itself or by its name; a RequestError names those there are."""
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(member.value for member in kind)
        raise RequestError(f"{kind.__name__.lower()} is {shown(value)}; expected one of {names}") from None
