"""Requests that hold images: answered with a network and a reader of the gallery, in a worker or in process."""

import math
import time
from collections.abc import Iterator, Sequence

import numpy as np

from reidd import distances, images, protocol
from reidd.errors import NotLoadedError, RequestError
from reidd.features import Extractor
from reidd.gallery import Explanation, Match, Reader, explained
from reidd.protocol import PredictionRecord, ResultRecord
from reidd.service import Answer, Frame, array_answer, feature_rows, float32_bytes


class ImageService:
    """Answers requests that hold images, with one network and a reader of the gallery."""

    def __init__(self, extractor: Extractor | None, reader: Reader, max_distance: float | None):
        self.extractor = extractor
        self._reader, self._max_distance = reader, max_distance

    def answer(self, request: protocol.AnyRequest, frames: Sequence[Frame]) -> Answer:
        """Answer one request; for `AddToGallery` the answer is the features to store."""
        match request:
            case protocol.ExtractFeatures() | protocol.AddToGallery():
                features = self._features(request.parts, frames, request.flip_horizontal)
                return array_answer(request, features)
            case protocol.GetDistances():
                return self._distances(request, frames)
            case protocol.Explain():
                return self._explain(request, frames)
            case protocol.ReIdImage():
                return self._identify(request, frames)
        raise RequestError(f"{type(request).__name__} needs no image")

    def _features(self, parts: Sequence[protocol.Part], frames: Sequence[Frame], flip: bool) -> np.ndarray:
        """The features of all parts, `(n, dim)`, in their order."""
        if len(parts) != len(frames):
            raise RequestError(f"{len(parts)} parts are described but {len(frames)} frames came; expected one each")
        given = list(zip(parts, frames, strict=True))
        extracted, at = self._extracted(given, flip), 0
        rows = [np.empty((0, self._reader.dim), np.float32)]
        for part, frame in given:
            if isinstance(part, protocol.Feature):
                rows.append(distances.unit(feature_rows(part, frame, self._reader.dim)))
            else:
                count = protocol.images_in(part)
                rows.append(extracted[at : at + count])
                at += count
        return np.concatenate(rows)

    def _extracted(self, given: Sequence[tuple[protocol.Part, Frame]], flip: bool) -> np.ndarray:
        held = [(part, frame) for part, frame in given if not isinstance(part, protocol.Feature)]
        if not held:
            return np.empty((0, self._reader.dim), np.float32)
        if self.extractor is None:
            raise NotLoadedError("no engine is loaded; call load(engine, accelerator) first")
        # One after the other: 64 large ones at once are more than a board's memory.
        pixels = (image for part, frame in held for image in _pixels(part, frame))
        return self.extractor.features(pixels, flip_horizontal=flip)

    def _distances(self, request: protocol.GetDistances, frames: Sequence[Frame]) -> Answer:
        features = self._features(request.parts, frames, request.flip_horizontal)
        if not len(features):
            raise RequestError("parts: expected at least one image, the probe")
        row = distances.cosine_distance(features[:1], features[1:])
        return array_answer(request, distances.normalize(row) if request.normalize_distance else row)

    def _explain(self, request: protocol.Explain, frames: Sequence[Frame]) -> Answer:
        probes = self._features(request.parts, frames, request.flip_horizontal)
        if len(probes) != 1:
            raise RequestError(f"parts: expected one image or feature to explain, got {len(probes)}")
        found = explained(self._reader, probes[0])
        return Answer(protocol.ExplanationReply(request=request.request, explanation=found and _explanation(found)))

    def _identify(self, request: protocol.ReIdImage, frames: Sequence[Frame]) -> Answer:
        start = time.perf_counter()
        probes = self._features(request.parts, frames, request.flip_horizontal)
        self._check_extent(len(probes), request.top_k)
        # One more than asked for: the verdict weighs the best id against the next.
        top_k = max(request.top_k, 2)
        matches = self._reader.search(probes, top_k=top_k, matrix=request.matrix) if len(probes) else []
        duration = time.perf_counter() - start
        records = [self._record(match, request, duration) for match in matches]
        rows = [match.distances for match in matches] if request.matrix else []
        matrix = np.stack(rows) if rows else np.empty((len(records), 0), np.float32)
        matrix = distances.normalize(matrix) if request.normalize_distance else matrix
        reply = protocol.Results(
            request=request.request,
            results=records,
            shape=(matrix.shape[0], matrix.shape[1]),
            engine=self.extractor.engine if self.extractor else None,
            accelerator=self.extractor.accelerator if self.extractor else None,
        )
        return Answer(reply, (float32_bytes(matrix),))

    def _check_extent(self, probes: int, top_k: int) -> None:
        """Refuse what would make more distances than a frame holds, sent or not, or more predictions than a reply."""
        instances = self._reader.count()
        if 4 * probes * instances > protocol.MAX_FRAME_BYTES:
            most = max(1, protocol.MAX_FRAME_BYTES // (4 * instances))
            raise RequestError(f"parts: {probes} probes against {instances} instances; expected at most {most} at once")
        # Finding the distinct ids takes a while.
        if probes * top_k > protocol.MAX_PREDICTIONS:
            ids = min(top_k, len(self._reader.ids()))
            if probes * ids > protocol.MAX_PREDICTIONS:
                raise RequestError(
                    f"top_k: {ids} ids for each of {probes} probes; expected at most {protocol.MAX_PREDICTIONS} "
                    "predictions at once"
                )

    def _record(self, match: Match, request: protocol.ReIdImage, duration: float) -> ResultRecord:
        scale = 0.5 if request.normalize_distance else 1.0
        nearest = [n._replace(distance=n.distance * scale) for n in match.nearest]
        limit = request.max_distance
        if limit is None and self._max_distance is not None:
            limit = self._max_distance * scale
        verdict = None if limit is None else distances.verdict(nearest, max_distance=limit, margin=request.margin)
        best = nearest[: request.top_k]
        return ResultRecord([PredictionRecord(n.id, r, n.distance) for r, n in enumerate(best, 1)], duration, verdict)


def _pixels(part: protocol.Encoded | protocol.Pixels, frame: Frame) -> Iterator[np.ndarray]:
    """The images that a frame holds, one for each box."""
    match part:
        case protocol.Encoded():
            whole = images.pixels(bytes(frame))
        case protocol.Pixels():
            size = math.prod(part.shape)
            if len(frame) != size:
                raise RequestError(f"frame has {len(frame)} bytes; uint8 of shape {part.shape} has {size}")
            whole = images.pixels(np.frombuffer(frame, np.uint8).reshape(part.shape))
    return iter([whole]) if part.boxes is None else (images.cropped(whole, box) for box in part.boxes)


def _explanation(found: Explanation) -> protocol.ExplanationRecord:
    next_id = found.runner_up
    return protocol.ExplanationRecord(
        id=found.nearest.id,
        distance=found.nearest.distance,
        instance=found.instance,
        time_ns=found.time_ns,
        younger=found.younger,
        instances_of_id=found.instances_of_id,
        runner_up=next_id.id if next_id else None,
        margin=next_id.distance - found.nearest.distance if next_id else None,
    )
