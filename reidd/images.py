"""From what a caller hands in to pixels: JPEG or PNG bytes, or an array, checked before anything is decoded."""

import os
import struct
from typing import Any, TypeAlias

import numpy as np

from reidd.errors import BackendError, ImageError

MAX_PIXELS = 40_000_000
"""More than any camera's frame (8K is 33 million), less than what exhausts a board's memory."""
MIN_SIDE = 4
"""Pixels; fewer show no object at all."""

Image: TypeAlias = np.ndarray | bytes
"""`(h, w, 3)` uint8 BGR as OpenCV reads it, `(h, w)` grey, `(h, w, 4)` BGRA, or the bytes of a JPEG or PNG file."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
# Markers of a frame header, which holds height and width (ITU-T T.81, table B.1).
_JPEG_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA


def pixels(image: Any) -> np.ndarray:
    """Return any accepted image as `(h, w, 3)` uint8 BGR.

    Raises:
        ImageError: it is none of the accepted kinds, is damaged, too small or too large; says what it got.
    """
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _bgr(_decoded(bytes(image)))
    if image is None:
        raise ImageError("image is None, which is what cv2.imread gives for a file that it cannot read; check its path")
    if not isinstance(image, np.ndarray):
        what, expected = _article(type(image).__name__), "a (h, w, 3) uint8 array, or JPEG or PNG bytes"
        raise ImageError(f"image is {what}; expected {expected}{_way(image)}")
    return _bgr(np.asarray(image))


def cropped(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Cut a box (x, y, width, height, in pixels) out of an image `(h, w, 3)`; an ImageError when it sticks out."""
    x, y, width, height = box
    if x + width > image.shape[1] or y + height > image.shape[0]:
        size = f"{image.shape[1]}x{image.shape[0]} px"
        raise ImageError(f"box {list(box)} (x, y, width, height) sticks out of the image of {size}")
    _check_size(width, height)
    return np.ascontiguousarray(image[y : y + height, x : x + width])


def _way(given: Any) -> str:
    """How to make an image of what many hand in instead."""
    if isinstance(given, (str, os.PathLike)):
        return ": read the file first, with cv2.imread(path) or Path(path).read_bytes()"
    if isinstance(given, (list, tuple)):
        return "; re_id_images asks about a list of them"
    return ""


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _bgr(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8:
        raise ImageError(f"image is {image.dtype} of shape {image.shape}; expected uint8, 0 to 255: convert it")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        expected = "(h, w, 3) BGR, (h, w) grey or (h, w, 4) BGRA"
        way = "; of an encoded file pass its bytes, with .tobytes()" if image.ndim == 1 else ""
        raise ImageError(f"image has shape {image.shape}; expected {expected}{way}")
    _check_size(image.shape[1], image.shape[0])
    if image.ndim == 3 and image.shape[2] == 3:
        return image
    # By numpy, for a client that sends arrays may do without OpenCV; channel by channel is its quickest way.
    grey = image.ndim == 2 or image.shape[2] == 1
    return np.dstack([image] * 3 if grey else [image[..., channel] for channel in range(3)])


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"image is {width}x{height} px; expected at least {MIN_SIDE} px on each side")
    if width * height > MAX_PIXELS:
        raise ImageError(f"image is {width}x{height} px; expected at most {MAX_PIXELS} px: send a crop of the object")


def opencv() -> Any:
    """Return the module cv2, which decodes and resizes images. Raises BackendError when there is none."""
    try:
        import cv2
    except ImportError as error:
        raise BackendError(
            f"images are decoded and resized with OpenCV: pip install 'reidd[opencv]' ({error})"
        ) from None
    return cv2


def _decoded(encoded: bytes) -> np.ndarray:
    cv2 = opencv()
    width, height = encoded_size(encoded)
    _check_size(width, height)
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"image of {len(encoded)} bytes cannot be decoded: {error.err}") from None
    if image is None:
        raise ImageError(f"image of {len(encoded)} bytes cannot be decoded: its data is damaged")
    return np.asarray(image)


def encoded_size(encoded: bytes) -> tuple[int, int]:
    """Width and height of a whole JPEG or PNG file, read from its header alone.

    A decoder that meets a file cut short fills the rest with grey, or with what its memory held before, so the
    end is looked for too.
    """
    if not encoded:
        raise ImageError("image is empty (0 bytes); expected the bytes of a JPEG or PNG file")
    if encoded.startswith(_PNG):
        return _png_size(encoded)
    if encoded.startswith(_JPEG):
        return _jpeg_size(encoded)
    raise ImageError(f"image starts with {encoded[:4]!r}, which is neither JPEG nor PNG: convert it")


def _png_size(encoded: bytes) -> tuple[int, int]:
    if len(encoded) < 24 or encoded[12:16] != b"IHDR":
        raise ImageError("png is damaged: it has no header chunk")
    if b"IEND" not in encoded[-16:]:
        raise ImageError(f"png is cut short: it has no end after {len(encoded)} bytes")
    width, height = struct.unpack(">II", encoded[16:24])
    return width, height


def _jpeg_size(encoded: bytes) -> tuple[int, int]:
    size, at = None, 2
    while at + 4 <= len(encoded):
        if encoded[at] != 0xFF:
            raise ImageError(f"jpeg is damaged: no marker at byte {at}")
        marker = encoded[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        length = struct.unpack(">H", encoded[at + 2 : at + 4])[0]
        if marker in _JPEG_FRAME_HEADERS and at + 9 <= len(encoded):
            height, width = struct.unpack(">HH", encoded[at + 5 : at + 9])
            size = width, height
        if marker == _JPEG_SCAN:
            break
        at += 2 + length
    if size is None:
        raise ImageError("jpeg is damaged: it has no frame header")
    # The end of image must follow the scan; an embedded thumbnail has one of its own before it.
    if encoded.rfind(b"\xff\xd9") < at:
        raise ImageError(f"jpeg is cut short: it has no end after {len(encoded)} bytes")
    return size
