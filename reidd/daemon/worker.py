"""A worker process: decodes images, runs the network, searches the gallery. It may crash; the core may not."""

import logging
import os
import sys
from pathlib import Path

import msgspec

from reidd import confinement, protocol
from reidd.daemon import memory
from reidd.daemon.loading import load_first
from reidd.daemon.orders import ANSWER, FAILED, FAULT, READY, TRYING, Orders, Pair, Refusal, reason
from reidd.daemon.pipes import WorkerEnd
from reidd.errors import BackendError, ReiddError
from reidd.gallery import Reader
from reidd.images import MAX_PIXELS
from reidd.model import ModelConfig
from reidd.plugins import Registry
from reidd.service.images import ImageService

log = logging.getLogger(__name__)


def run(orders: Orders) -> None:
    """Serve the core until it is gone."""
    core = WorkerEnd(orders.pipe)

    def trying(pair: Pair) -> None:
        core.send([TRYING, msgspec.json.encode(pair)])

    try:
        model = ModelConfig(orders.model_file)
        loaded = load_first(model, orders.pairs, registry=Registry(), threads=orders.threads, trying=trying)
    except ReiddError as error:
        loaded = [Refusal(pair, str(error)) for pair in orders.pairs]
    if isinstance(loaded, list):
        core.send([FAILED, msgspec.json.encode(loaded)])
        return
    enough_bytes = memory.room_bytes() / 2
    core.send([READY, msgspec.json.encode(loaded.ready)])
    service: ImageService | None = None
    for header, *frames in core.receive():
        # Only now is it certain that the core has made the ring.
        service = service or ImageService(loaded.extractor, Reader(Path(orders.ring)), orders.max_distance)
        core.send(_answer(service, header, frames, enough_bytes))


def _answer(service: ImageService, header: bytes, frames: list[bytes], enough_bytes: float) -> list[bytes | memoryview]:
    try:
        answer = service.answer(protocol.decode_request(header), frames)
    except BackendError as error:
        # The core replaces this process and has another one answer.
        return [FAULT, reason(error).encode()]
    except ReiddError as error:
        failure = error
    except Exception as error:  # the net around one request: a fault here must not cost the next one
        log.exception("a request failed in a way that reidd did not foresee")
        failure = BackendError(f"the worker failed: {type(error).__name__}: {error}; its log has the details")
    else:
        return [ANSWER, protocol.encode(answer.reply), *answer.frames]
    if memory.room_bytes() < enough_bytes:
        # To decode an image may fail for that alone, and the image would be blamed, and all that follow.
        return [FAULT, b"ran out of memory, of which its runtime takes more and more"]
    return [ANSWER, protocol.encode(protocol.failed(failure, protocol.request_id(header)))]


def main() -> None:
    """Run as `python -m reidd.daemon.worker ORDERS`."""
    memory.go_first()
    memory.keep_private()
    memory.lift()
    # OpenCV reads this once, when it is imported: the last line of defence behind our own look at the header. Not in an
    # application's process, whose own images may be larger.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
    orders = msgspec.json.decode(sys.argv[1].encode(), type=Orders)
    confinement.end_with(orders.core)
    logging.basicConfig(level=orders.log_level, format=f"{orders.identity}: %(levelname)s: %(message)s")
    try:
        run(orders)
    except BaseException:
        log.exception("ends, for it met what reidd did not foresee")
        # At once: an interpreter that ends closes its pipe long before it is gone, and for that it would be killed.
        os._exit(1)


if __name__ == "__main__":
    main()
