"""`ReIdentification`: the published API in this process, with no daemon and no second process."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from reidd import places, protocol
from reidd.arguments import counted, member
from reidd.channel import KEY, Channel, Turns, obstacle
from reidd.colors import checked_colors
from reidd.engines import Accelerator, Engine
from reidd.errors import ConfigError, ConnectionError, NotLoadedError, PublishError, RequestError, shown
from reidd.features import Extractor
from reidd.gallery import Gallery
from reidd.gallery.policy import checked_limit
from reidd.identifier import Identifier
from reidd.keys import credentials
from reidd.model import ModelConfig
from reidd.plugins import Registry
from reidd.service import Answer, float32_rows
from reidd.service.gallery import GalleryService
from reidd.service.images import ImageService

DEFAULT_CAPACITY = 10_000
ANALYTICS_FILE = "REIDD_ANALYTICS_FILE"
"""Names the JSON-lines file that analytics go to, in place of a daemon."""
PUBLISH_TIMEOUT_S = 5.0


class ReIdentification(Identifier):
    """Find who is on an image, by its feature's distance to those of a gallery in this process's memory.

    Threads may share one: their calls take turns. A forked child has a gallery of its own, a copy.

    Args:
        model_id: a model folder's `<publisher>/<name>`, such as `reidd/person`, which comes with reidd.
        model_config: the model folder itself, in place of a search by id.
        capacity: instances the gallery holds; when it is full, the oldest one makes room.
        threads: of the network; more than one helps only while other cores are idle. OpenCV's engines set it for all
            that the process does with OpenCV (`cv2.setNumThreads`).

    Raises:
        RequestError: the capacity or the threads are no count.
        UnknownModelError: there is no such model folder; says where it looked.
        ConfigError: the model folder is broken; names the file and the key.
    """

    def __init__(
        self,
        model_id: str,
        model_config: ModelConfig | None = None,
        *,
        capacity: int = DEFAULT_CAPACITY,
        threads: int = 1,
    ):
        self._model = ModelConfig.from_model_id(model_id) if model_config is None else model_config
        if not isinstance(self._model, ModelConfig):
            raise ConfigError(f"model_config is {shown(model_config)}; expected ModelConfig(path), or None")
        self._colors = self._model.colors
        self._capacity, self._threads = counted(capacity, "capacity"), counted(threads, "threads")
        self._extractor: Extractor | None = None
        self._gallery: Gallery | None = None
        self._limit: protocol.SetPerIdGalleryLimit | None = None
        self._daemon: Channel | None = None
        self._turns = Turns()
        if self._model.extras.dim is not None:
            self._open_gallery(self._model.extras.dim)

    def load(self, engine: Engine = Engine.DNN, accelerator: Accelerator = Accelerator.DEFAULT) -> None:
        """Load the network with an engine; the gallery stays as it is. Failing leaves what was loaded before.

        Args:
            engine: the software that runs the network, as an `Engine` or its name.
            accelerator: the hardware that it runs on; `DEFAULT` is the engine's first.

        Raises:
            BackendUnavailableError: that pair cannot run here; says why, and which pairs can.
        """
        engine, accelerator = member(Engine, engine), member(Accelerator, accelerator)
        loaded = Extractor.load(self._model, engine, accelerator, registry=Registry(), threads=self._threads)
        with self._turns.mine:
            if self._extractor is not None:
                self._extractor.close()
            self._extractor = loaded
            if self._gallery is None:
                self._open_gallery(loaded.dim)
            self._images.extractor = loaded

    @property
    def engine(self) -> Engine | None:
        """The engine that runs the network, or None before `load`."""
        return self._extractor.engine if self._extractor else None

    @property
    def accelerator(self) -> Accelerator | None:
        """The accelerator that runs the network (never `DEFAULT`), or None before `load`."""
        return self._extractor.accelerator if self._extractor else None

    @property
    def model_id(self) -> str:
        """The model's `<publisher>/<name>`."""
        return self._model.id

    @property
    def model_config(self) -> ModelConfig:
        """The model folder."""
        return self._model

    @property
    def model_purpose(self) -> str:
        """What the model is for: "ReIdentification"."""
        return self._model.purpose

    @property
    def labels(self) -> list[str] | None:
        """The model's class names, or None: most re-identification networks have none."""
        return self._model.labels

    @property
    def colors(self) -> np.ndarray | None:
        """One BGR row per label, `(n, 3)` uint8, or None without labels. Settable to as many rows.

        Raises:
            ConfigError: the rows are not as many as the labels, or hold values outside 0 to 255.
        """
        return self._colors

    @colors.setter
    def colors(self, colors: Any) -> None:
        self._colors = checked_colors(colors, self.labels)

    def close(self) -> None:
        """Give the network and the gallery back."""
        with self._turns.mine:
            for thing in (self._extractor, self._gallery, self._daemon):
                if thing is not None:
                    thing.close()
            self._extractor = None
            if self._gallery is not None:
                self._images.extractor = None

    def __enter__(self) -> "ReIdentification":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_gallery(self, dim: int) -> None:
        self._gallery = Gallery.open(dim=dim, space=self._model.feature_space(), capacity=self._capacity)
        self._images = ImageService(None, self._gallery.reader, self._model.extras.max_distance)
        self._service = GalleryService(self._gallery)
        if self._limit is not None:
            self._service.answer(self._limit)

    def _space(self) -> tuple[bytes, int]:
        if self._gallery is None:
            raise NotLoadedError(f"{self.model_id} does not say its feature's dimension; call load() first")
        return self._model.feature_space(), self._gallery.reader.dim

    def _ask(self, request: protocol.Request, frames: Sequence[Any] = ()) -> tuple[protocol.AnyReply, list[Any]]:
        with self._turns.mine:
            if self._gallery is None and isinstance(request, protocol.SetPerIdGalleryLimit):
                checked_limit(request.count, request.drop_method)
                self._limit = request  # kept until `load` tells the dimension
                return protocol.Changed(), []
            self._space()
            answer = self._answered(request, frames)
        return answer.reply, list(answer.frames)

    def _answered(self, request: Any, frames: Sequence[Any]) -> Answer:
        if isinstance(request, protocol.AddToGallery):
            features = self._images.answer(request, frames)
            return self._service.answer(request, _rows(features))
        if request.needs_worker:
            answer = self._images.answer(request, frames)
            if isinstance(answer.reply, protocol.Results):
                labelled = self._service.labelled(answer.reply.results)
                return answer._replace(reply=msgspec.structs.replace(answer.reply, results=labelled))
            return answer
        return self._service.answer(request)

    def _publish(self, request: protocol.PublishAnalytics) -> None:
        request = msgspec.structs.replace(request, model=self.model_id)
        if path := os.environ.get(ANALYTICS_FILE):
            _append(Path(path), request)
            return
        if self._daemon is None:
            endpoint = places.default_endpoint()
            # Said at once: an application that publishes every frame must not wait for nobody each time.
            if reason := obstacle(endpoint):
                raise ConnectionError(
                    f"nobody to publish to at {endpoint}: {reason}; or name a file in {ANALYTICS_FILE}"
                )
            key = os.environ.get(KEY)
            self._daemon = Channel(endpoint, PUBLISH_TIMEOUT_S, credentials(Path(key)) if key else None)
        try:
            self._daemon.ask(request)
        except ConnectionError:
            self._daemon = None  # so that the next call looks whether anybody listens
            raise


def _rows(answer: Answer) -> np.ndarray:
    if not isinstance(answer.reply, protocol.Array):
        raise RequestError("expected features")
    return float32_rows(answer.reply.shape, answer.frames[0])


def _append(path: Path, request: protocol.PublishAnalytics) -> None:
    event = protocol.Event(
        type="published",
        time=time.time(),
        model=request.model or "",
        tag=request.tag,
        results=request.results,
        kwargs=request.kwargs,
    )
    try:
        # Who was seen when is for this user and its group, as what the daemon writes is.
        with open(path, "ab", opener=lambda path, flags: os.open(path, flags, 0o640)) as file:
            file.write(protocol.encode(event) + b"\n")
    except OSError as error:
        raise PublishError(f"{path} cannot be written ({error.strerror}); check {ANALYTICS_FILE}") from None
