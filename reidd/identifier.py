"""The methods of the published API: each is one request, answered in this process or by a daemon."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from reidd import protocol
from reidd.analytics import json_value, result_records
from reidd.arguments import chunks, feature_parts, image_parts, listed, question, several
from reidd.images import Image, pixels
from reidd.results import ReIdentificationPrediction, ReIdentificationResults
from reidd.saved_gallery import SavedGallery
from reidd.service import float32_rows


class Identifier(SavedGallery):
    """The methods that `ReIdentification` and `Client` share: who is on an image, and all that a gallery can do."""

    def extract_features(self, image: Image | Sequence[Image], flip_horizontal: bool = True) -> np.ndarray:
        """Turn an image into its feature: `(1, dim)` float32 of length 1; of a list of n images, `(n, dim)`.

        Args:
            image: `(h, w, 3)` uint8 BGR as OpenCV reads it, `(h, w)` grey, `(h, w, 4)` BGRA, or the bytes of a
                JPEG or PNG file.
            flip_horizontal: whether the mirror counts too: the features of the image and of its mirror are each
                normalised, summed and normalised again.

        Raises:
            ImageError: that is no image; says what it got.
            NotLoadedError: `load` was not called.
        """
        rows = []
        for chunk in chunks(listed(image)):
            parts, frames = image_parts(chunk)
            rows.append(
                self._array(protocol.ExtractFeatures(parts=parts, flip_horizontal=bool(flip_horizontal)), frames)
            )
        return np.concatenate(rows) if rows else np.empty((0, self._space()[1]), np.float32)

    def get_distances(
        self,
        image: Image,
        gallery_images: Sequence[Image],
        flip_horizontal: bool = True,
        normalize_distance: bool = True,
    ) -> np.ndarray:
        """Return the cosine distance of one image to each of n others: `(1, n)` float32. The gallery plays no part.

        `1 - cos`, in [0, 2], or with `normalize_distance` half of it, in [0, 1]: a fixed scale, so that
        thresholds stay valid whatever images are compared.
        """
        rows = [np.empty((1, 0), np.float32)]
        for chunk in chunks(several(gallery_images, "gallery_images"), protocol.MAX_PARTS - 1):
            parts, frames = image_parts([image, *chunk])
            request = protocol.GetDistances(
                parts=parts, flip_horizontal=bool(flip_horizontal), normalize_distance=bool(normalize_distance)
            )
            rows.append(self._array(request, frames))
        return np.concatenate(rows, axis=1)

    def re_id_image(
        self,
        image: Image,
        top_k: int = 1,
        normalize_distance: bool = True,
        flip_horizontal: bool = True,
        *,
        max_distance: float | None = None,
        margin: float = 0.0,
    ) -> ReIdentificationResults:
        """Answer who is on an image: the gallery's ids, nearest first.

        Args:
            image: as in `extract_features`.
            top_k: at most so many predictions, one per id (its nearest instance); a tie goes to the older instance.
            normalize_distance: distances in [0, 1] instead of [0, 2].
            flip_horizontal: as in `extract_features`.
            max_distance: farther than this, on the scale of the distances, the verdict is "unknown"; by default
                the daemon's own, in process the model's. Without any of them there is no verdict.
            margin: when the next id is less than this farther away, the verdict is "ambiguous".

        Returns:
            The predictions and all distances; with an empty gallery no predictions and a `(1, 0)` matrix.
        """
        asked = question(top_k, normalize_distance, max_distance, margin)
        return self._identified([image], flip_horizontal, asked)[0]

    def re_id_images(
        self,
        images: Sequence[Image],
        top_k: int = 1,
        normalize_distance: bool = True,
        flip_horizontal: bool = True,
        *,
        max_distance: float | None = None,
        margin: float = 0.0,
    ) -> list[ReIdentificationResults]:
        """Do what `re_id_image` does for a list of images in one call: one result per image."""
        asked = question(top_k, normalize_distance, max_distance, margin)
        return [
            result
            for chunk in chunks(several(images, "images"))
            for result in self._identified(chunk, flip_horizontal, asked)
        ]

    def re_id_features(
        self,
        features: np.ndarray,
        top_k: int = 1,
        normalize_distance: bool = True,
        *,
        max_distance: float | None = None,
        margin: float = 0.0,
    ) -> list[ReIdentificationResults]:
        """Do what `re_id_image` does for features, `(n, dim)` or `(dim,)` float: one result per row, no network."""
        asked = question(top_k, normalize_distance, max_distance, margin)
        return [
            result
            for part, frame in feature_parts(features, least=0)
            for result in self._results(protocol.ReIdImage(parts=[part], **asked), [frame], [None] * part.shape[0])
        ]

    def explain(self, image: Image, flip_horizontal: bool = True) -> protocol.ExplanationRecord | None:
        """Say which instance makes the nearest id the nearest, and by how much; None when the gallery is empty."""
        parts, frames = image_parts([image])
        request = protocol.Explain(parts=parts, flip_horizontal=bool(flip_horizontal))
        return self._reply(protocol.ExplanationReply, request, frames).explanation

    def publish_analytics(
        self,
        results: ReIdentificationResults | Sequence[ReIdentificationResults],
        tag: Any = None,
        **kwargs: Any,
    ) -> None:
        """Send these results to the subscribers of analytics, in a record with type, sequence number, time and model.

        Images, features and distance matrices stay here. In process the record goes to a running daemon, which
        publishes it, or into the file of JSON lines that `REIDD_ANALYTICS_FILE` names.

        Args:
            results: what `re_id_image` returned, or a list of such.
            tag: any JSON value that tells the subscriber what this is about, such as a camera's name.
            kwargs: more JSON values.

        Raises:
            PublishError: JSON cannot carry a value, or the file cannot be written; names it.
            RequestError: a record for the daemon is larger than 1 MiB.
            ConnectionError: no daemon is running.
        """
        self._publish(
            protocol.PublishAnalytics(
                results=result_records(results),
                tag=json_value(tag, "tag"),
                kwargs={key: json_value(value, key) for key, value in kwargs.items()},
            )
        )

    def _publish(self, request: protocol.PublishAnalytics) -> None:
        self._ask(request)

    def _identified(
        self, images: Sequence[Image], flip_horizontal: bool, asked: dict[str, Any]
    ) -> list[ReIdentificationResults]:
        parts, frames = image_parts(images)
        return self._results(
            protocol.ReIdImage(parts=parts, flip_horizontal=bool(flip_horizontal), **asked), frames, images
        )

    def _results(
        self, request: protocol.ReIdImage, frames: Sequence[Any], images: Sequence[Image | None]
    ) -> list[ReIdentificationResults]:
        reply, answered = self._answer(protocol.Results, request, frames)
        matrix = float32_rows(reply.shape, answered[0])
        return [
            ReIdentificationResults(
                [ReIdentificationPrediction(p.id, p.rank, p.distance, p.label) for p in record.predictions],
                matrix[row : row + 1],
                record.duration,
                image if image is None or isinstance(image, np.ndarray) else partial(pixels, bytes(image)),
                record.verdict,
            )
            for row, (record, image) in enumerate(zip(reply.results, images, strict=True))
        ]
