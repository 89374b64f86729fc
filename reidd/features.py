"""From an image to its feature: preprocessing, the network, the mirror, unit length."""

import logging
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import numpy as np

from reidd import certificates, distances, golden
from reidd.backend import Backend
from reidd.engines import Accelerator, Engine
from reidd.errors import BackendError, BackendUnavailableError, FeatureError
from reidd.images import opencv
from reidd.model import ModelConfig
from reidd.plugins import Registry

log = logging.getLogger(__name__)

SELF_TEST_CROPS = 4
DIFFERENT = 0.25
"""Of the summed spread of two crops' values, how far apart they lie on average when they cannot be one image."""


def preprocess(image: np.ndarray, model: ModelConfig) -> np.ndarray:
    """`(h, w, 3)` uint8 BGR to the `(height, width, 3)` float32 that the model's network takes.

    The rules are those of OpenCV's `blobFromImage`: bilinear resize (with `crop`, of the shorter side, and the
    middle kept), then red and blue swapped if asked, then `(value - mean) * scalefactor / std` per channel.
    """
    p = model.parameters
    prepared = fitted(image, model).astype(np.float32)
    if any(p.mean):
        prepared -= np.array(p.mean, np.float32)
    scale = np.float32(p.scalefactor) / np.array(model.extras.std, np.float32)
    if (scale != 1).any():
        prepared *= scale
    return prepared


def fitted(image: np.ndarray, model: ModelConfig) -> np.ndarray:
    """`(h, w, 3)` uint8 BGR to `(height, width, 3)` uint8 of the network's size and in its order of channels."""
    import cv2

    p = model.parameters
    image = _cropped(image, p.size) if p.crop else cv2.resize(image, p.size, interpolation=cv2.INTER_LINEAR)
    # A copy, for cv2 takes no views with a negative stride.
    return np.ascontiguousarray(image[..., ::-1]) if p.swaprb else image


def _cropped(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import cv2

    (height, width), (to_width, to_height) = image.shape[:2], size
    factor = max(to_width / width, to_height / height)
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    left, top = int(0.5 * (image.shape[1] - to_width)), int(0.5 * (image.shape[0] - to_height))
    return image[top : top + to_height, left : left + to_width]


class Extractor:
    """One network on one backend, turning images into features. A context manager."""

    def __init__(self, model: ModelConfig, backend: Backend, accelerator: Accelerator):
        self.model, self.accelerator = model, accelerator
        self._backend = backend
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        width, height = model.size
        output = self._infer(np.zeros((1, height, width, 3), np.float32))
        self.dim: int = output.shape[1]
        if model.extras.dim not in (None, self.dim):
            raise BackendError(
                f"{self.engine}/{accelerator} gives {self.dim} values, {model.id} says {model.extras.dim}"
            )

    @classmethod
    def load(
        cls, model: ModelConfig, engine: Engine, accelerator: Accelerator, *, registry: Registry, threads: int = 1
    ) -> "Extractor":
        """Load the network with the backend of that pair.

        Raises:
            BackendUnavailableError: no backend runs the pair here, or it could not load this model; says why.
        """
        pair = registry.choose(model, engine, accelerator)
        try:
            opencv()
            with ExitStack() as refused:
                backend = pair.load(model, threads=threads)
                # Else this process keeps the device from the next one that tries.
                refused.callback(_give_up, backend)
                extractor = cls(model, backend, pair.accelerator)
                extractor.check_itself()
                refused.pop_all()
        except (Exception, SystemExit) as error:  # the net around one plugin
            log.debug("loading %s on %s/%s failed", model.id, pair.engine, pair.accelerator, exc_info=True)
            others = [p for p in registry.pairs(model) if p.obstacle is None and p != pair]
            able = ", ".join(map(str, others)) or "none"
            what = f"it ends the process ({error!r})" if isinstance(error, SystemExit) else error
            reason = f"{pair} cannot run {model.id}: {what}; others ready: {able}"
            raise BackendUnavailableError(reason) from error
        return extractor

    @property
    def engine(self) -> Engine:
        """The engine that runs the network."""
        return self._backend.engine

    def features(self, images: Iterable[np.ndarray], *, flip_horizontal: bool = True) -> np.ndarray:
        """Unit features `(n, dim)` float32 of n images, each `(h, w, 3)` uint8 BGR.

        With `flip_horizontal`, the features of the image and of its mirror are each normalised, summed and
        normalised again.

        Raises:
            BackendError: the network's output is not what it should be.
        """
        prepared = [preprocess(image, self.model) for image in images]
        if not prepared:
            return np.empty((0, self.dim), np.float32)
        batch = np.stack(prepared)
        features = self._unit(batch)
        if flip_horizontal:
            features = distances.unit(features + self._unit(np.ascontiguousarray(batch[:, :, ::-1])))
        return features

    def check_itself(self) -> None:
        """Run the model's golden crops, or blocks of colour, before anybody relies on this pair.

        Raises:
            BackendError: the outputs are broken, or are not the features that the model's gallery holds.
        """
        known = golden.read(self.model)
        crops = golden.noise(self.model) if known is None else known.crops[:SELF_TEST_CROPS]
        rows = self._unit(golden.batch(crops, self.model))
        file = self.model.file(self._backend.formats)
        objection = file and certificates.objection(self.model, file, self.engine, self.accelerator)
        if objection:
            raise BackendError(objection)
        if known is not None:
            worst = golden.cosines(rows, known.embeddings[: len(crops)]).min()
            if worst < golden.WORST_COSINE:
                raise BackendError(
                    f"its features are not this model's: worst cosine {worst:.3f} with the golden vectors, expected "
                    f"{golden.WORST_COSINE} or more; keep its file out of this model's folder"
                )

    def outputs(self, batch: np.ndarray) -> np.ndarray:
        """What the network gives for a preprocessed batch `(n, h, w, 3)`: `(n, dim)`, neither normalised nor judged."""
        return self._infer(batch)

    def close(self) -> None:
        """Give the network back."""
        self._backend.close()

    def __enter__(self) -> "Extractor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _unit(self, batch: np.ndarray) -> np.ndarray:
        output = self._infer(batch)
        if output.shape[1] != self.dim:
            raise BackendError(f"{self.engine} gave {output.shape[1]} values, expected {self.dim}")
        try:
            features = distances.unit(output)
        except FeatureError as error:
            raise BackendError(f"{self.engine} gave a broken feature: {error}") from None
        if (features == features[:, :1]).all(axis=1).any():
            raise BackendError(f"{self.engine} gave a broken feature: one value throughout")
        self._check_not_stuck(batch, features)
        return features

    def _infer(self, batch: np.ndarray) -> np.ndarray:
        try:
            output: Any = self._backend.infer(batch)
        except (Exception, SystemExit) as error:  # the net around one plugin: whatever a runtime raises
            raise BackendError(f"{self.engine}/{self.accelerator} failed: {type(error).__name__}: {error}") from error
        if not isinstance(output, np.ndarray):
            raise BackendError(f"{self.engine} gave a {type(output).__name__}, expected float32 ({len(batch)}, dim)")
        if output.ndim != 2 or len(output) != len(batch) or output.dtype != np.float32:
            raise BackendError(
                f"{self.engine} gave {output.dtype} {output.shape}, expected float32 ({len(batch)}, dim)"
            )
        return output

    def _check_not_stuck(self, batch: np.ndarray, features: np.ndarray) -> None:
        """An accelerator that hangs on the bus may hand out its last answer again: everybody would be one person."""
        for crop, feature in zip(batch[:, ::8, ::8], features, strict=True):
            if self._last is not None and np.array_equal(feature, self._last[1]):
                change = float(np.abs(crop - self._last[0]).mean())
                if change > DIFFERENT * float(crop.std() + self._last[0].std()):
                    raise BackendError(f"{self.engine}/{self.accelerator} gave the same output for different images")
            self._last = crop.copy(), feature


def _give_up(backend: Backend) -> None:
    """Close what failed; what it says at its end must not stand in place of how it failed."""
    try:
        backend.close()
    except (Exception, SystemExit):  # the net around one plugin
        log.debug("closing it failed too", exc_info=True)
