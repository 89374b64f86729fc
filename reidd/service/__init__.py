"""One request in, one answer out; knows no socket."""

import math
from typing import NamedTuple

import numpy as np

from reidd import protocol
from reidd.errors import FeatureError, RequestError
from reidd.protocol import Event

Frame = bytes | memoryview


class Answer(NamedTuple):
    """What to tell the client, and what to tell everybody."""

    reply: protocol.AnyReply
    frames: tuple[Frame, ...] = ()
    events: tuple[Event, ...] = ()


def array_answer(request: protocol.AnyRequest, rows: np.ndarray) -> Answer:
    """Answer with rows of float32."""
    reply = protocol.Array(request=request.request, shape=(rows.shape[0], rows.shape[1]))
    return Answer(reply, (float32_bytes(rows),))


def float32_rows(shape: tuple[int, int], frame: Frame) -> np.ndarray:
    """`(rows, columns)` float32 from a frame; a RequestError when the frame has another length."""
    if len(frame) != 4 * shape[0] * shape[1]:
        raise RequestError(f"frame has {len(frame)} bytes; float32 of shape {list(shape)} has {4 * math.prod(shape)}")
    return np.frombuffer(frame, "<f4").reshape(shape)


def feature_rows(part: protocol.Feature, frame: Frame, dim: int) -> np.ndarray:
    """`(rows, dim)` float32 from a frame of features; a FeatureError when they are not of the gallery's dimension."""
    if part.shape[1] != dim:
        raise FeatureError(f"feature has {part.shape[1]} values; this gallery's have {dim}")
    return float32_rows(part.shape, frame)


def float32_bytes(rows: np.ndarray) -> bytes:
    """Return rows as the bytes of a frame."""
    return np.ascontiguousarray(rows, dtype="<f4").tobytes()
