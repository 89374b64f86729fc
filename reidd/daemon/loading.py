"""Before a worker takes its first request: the first pair that works, loaded, examined and warmed up."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np

from reidd import golden, images
from reidd.daemon.orders import Pair, Ready, Refusal, reason
from reidd.errors import BackendError
from reidd.features import Extractor
from reidd.model import ModelConfig
from reidd.plugins import Registry


class Loaded(NamedTuple):
    """A network that is ready to serve, and what to tell the core of it."""

    extractor: Extractor
    ready: Ready


def load_first(
    model: ModelConfig,
    pairs: Sequence[Pair],
    *,
    registry: Registry,
    threads: int,
    trying: Callable[[Pair], None],
) -> Loaded | list[Refusal]:
    """Load the network with the first pair that works, or say why none does.

    `trying` is told of each pair first, so that the core knows which one to blame for a crash.
    """
    refused: list[Refusal] = []
    for pair in pairs:
        trying(pair)
        try:
            with ExitStack() as refusal:
                extractor = refusal.enter_context(Extractor.load(model, *pair, registry=registry, threads=threads))
                image_s = warmed_up(extractor)
                refusal.pop_all()
        except BackendError as error:
            refused.append(Refusal(pair, reason(error)))
            continue
        return Loaded(extractor, Ready(pair, extractor.engine, extractor.accelerator, extractor.dim, image_s, refused))
    return refused


def warmed_up(extractor: Extractor) -> float:
    """Have one image decoded and its feature extracted, twice; return the seconds of the second time.

    What is imported or allocated at first use can take a small board longer than a worker may be silent.

    Raises:
        BackendError: the network failed at it.
    """
    import cv2

    image = np.concatenate(golden.noise(extractor.model, 1))
    encoded = cv2.imencode(".jpg", image)[1].tobytes()
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        extractor.features([images.pixels(encoded)])
        seconds = time.perf_counter() - start
    return seconds
