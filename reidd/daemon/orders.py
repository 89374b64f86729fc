"""What the core and a worker say to each other beside requests and replies."""

import logging
from typing import TypeAlias

import msgspec

from reidd.engines import Accelerator, Engine
from reidd.errors import BackendError

TRYING, READY, FAILED, ANSWER, FAULT = b"trying", b"ready", b"failed", b"answer", b"fault"
"""A worker loads a pair; has loaded one; could load none; has answered; got nonsense from its backend."""

Pair: TypeAlias = tuple[Engine, Accelerator]


class Orders(msgspec.Struct, frozen=True):
    """What the core tells a worker when it starts it."""

    identity: str
    core: int
    """The process that gives the orders; the worker does not outlive it."""
    pipe: int
    """The file descriptor of its end of the pipe to the core."""
    ring: str
    model_file: str
    pairs: list[Pair]
    threads: int
    max_distance: float | None = None
    """Cosine distance, in [0, 2], beyond which nobody is known, unless a request says otherwise."""
    log_level: int = logging.INFO


class Refusal(msgspec.Struct, frozen=True):
    """A pair that could not be loaded, and why."""

    pair: Pair
    reason: str


class Ready(msgspec.Struct, frozen=True):
    """What a worker says once its network is loaded."""

    pair: Pair
    """As the core named it; `DEFAULT` has become a real accelerator in the next two."""
    engine: Engine
    accelerator: Accelerator
    dim: int
    image_s: float
    """Seconds that one encoded image took it, once everything was loaded."""
    refused: list[Refusal] = []


def reason(error: BackendError) -> str:
    """What an error says, in one line that a message can carry: a runtime's words may hold bytes of no encoding."""
    return " ".join(str(error).encode(errors="backslashreplace").decode().split())


def spoken(pair: Pair) -> str:
    """Return a pair as people write it, such as "TFLITE/EDGE_TPU"."""
    engine, accelerator = pair
    return str(engine) if accelerator is Accelerator.DEFAULT else f"{engine}/{accelerator}"
