"""The daemon's life: one per runtime folder, sockets opened and closed, signals heeded, readiness told."""

import logging
import os
import select
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reidd import places
from reidd.daemon import folders, memory
from reidd.daemon.allowance import Allowance
from reidd.daemon.feed import Feed
from reidd.daemon.front import Front
from reidd.daemon.ladder import Rung
from reidd.daemon.notify import managed, notify
from reidd.daemon.orders import Orders, Pair
from reidd.daemon.patience import Patience
from reidd.daemon.pool import Pool
from reidd.daemon.publisher import Publisher
from reidd.daemon.server import Server
from reidd.daemon.signals import Signals, Stopped, heed_signals
from reidd.daemon.sockets import Addresses, bound, check_files, inherited
from reidd.daemon.zmtp import Kind, Null
from reidd.errors import CapacityError, ConfigError, FeatureSpaceError, GalleryKeyError, ReiddError
from reidd.gallery import Gallery, key
from reidd.model import ModelConfig

if TYPE_CHECKING:
    from reidd.daemon.door import Door

log = logging.getLogger(__name__)

START_POLL_S = 0.05
RETRY_S = 30
"""Between one start that fails and the next: each takes seconds of the processor and lines of the log."""
FOR_THE_OPERATOR = (ConfigError, FeatureSpaceError, GalleryKeyError, CapacityError)
"""Said at once, for no service manager starts us again."""
MOST_DIM = 2048


class Settings(NamedTuple):
    """What one daemon runs with."""

    model: ModelConfig
    runtime: Path
    state: Path
    rungs: Sequence[Rung]
    """What to run the network with, most wanted first."""
    workers: int
    threads: int
    capacity: int
    max_distance: float | None
    """Farther than this cosine distance, in [0, 2], is unknown, unless a request says otherwise; None: no verdict."""
    hang_s: float
    max_pause_s: float
    tcp: Addresses | None
    audit_days: float
    """How long entries of the audit log are kept."""
    keys: Path
    """The folder of keys, for tcp."""
    allowance: Allowance
    """How often a key may ask over tcp."""
    gallery_key: Path | None
    """The file with the key that the stored gallery is encrypted with."""
    old_gallery_key: Path | None
    """The file with the key that it was encrypted with before."""


def serve(settings: Settings) -> None:
    """Run a daemon until SIGTERM or SIGINT.

    Raises:
        ConfigError: the folders or a key cannot be used, or another daemon uses them.
        BackendUnavailableError: no configured engine/accelerator pair runs here.
        FeatureSpaceError: the stored gallery belongs to another model.
        GalleryKeyError: the stored gallery is encrypted with another key.
    """
    with ExitStack() as stack:
        # What is written here is features: for this user and its group only.
        os.umask(0o027)
        check_files()
        asked_to_stop, wakeup = heed_signals(stack)
        memory.keep_private()
        memory.bound(settings.capacity, settings.model.extras.dim or MOST_DIM, tcp=settings.tcp is not None)
        with suppress(Stopped):
            server = _started(stack, settings, asked_to_stop, wakeup)
            notify("READY=1")
            server.run(asked_to_stop)
        notify("STOPPING=1")
        # Stopped for good: a runtime folder on a disk would keep the features. After a crash readers still have them.
        (settings.runtime / places.RING).unlink(missing_ok=True)
        log.info("stopping")


def _started(stack: ExitStack, settings: Settings, asked_to_stop: Signals, wakeup: socket.socket) -> Server:
    """Open a server, or rest before the error that says why there is none. Raises Stopped when a signal comes first."""
    try:
        folders.claim(settings.runtime, "--runtime-folder")
        folders.claim(settings.state, "--state-folder")
        for folder in dict.fromkeys((settings.runtime, settings.state)):
            stack.enter_context(folders.held(folder))
        # Apart, for while it rests it holds the folders, and no workers.
        with ExitStack() as opened:
            server = _server(opened, settings, asked_to_stop, wakeup)
            stack.push(opened.pop_all())
            return server
    except FOR_THE_OPERATOR:
        raise
    except (ReiddError, OSError) as failure:
        _rest(failure, asked_to_stop)
        raise


def _rest(failure: Exception, asked_to_stop: Signals) -> None:
    """Wait under a service manager, which starts us again at once: what is missing seldom comes within a second."""
    if not managed():
        return
    log.error("%s; next try in %d s", failure, RETRY_S)
    notify(f"STATUS=next try within {RETRY_S} s, for {failure}")
    until = time.monotonic() + RETRY_S
    while time.monotonic() < until:
        if asked_to_stop():
            raise Stopped
        time.sleep(START_POLL_S)


def _server(stack: ExitStack, settings: Settings, asked_to_stop: Signals, wakeup: socket.socket) -> Server:
    """Open all that the server works with; it is ready. Raises Stopped when a signal comes first."""
    given = inherited()
    requests = bound(stack, settings.runtime / places.SOCKET, mode=0o660, given=given)
    analytics = bound(stack, settings.runtime / places.ANALYTICS, mode=0o660, given=given)
    pool = _pool(stack, settings)
    gallery = stack.enter_context(_gallery(settings, pool, asked_to_stop))
    for sentence in gallery.damage:
        log.warning("stored gallery: %s", sentence)
    _wait_for_worker(pool, asked_to_stop)
    door = _door(stack, settings)
    front = stack.enter_context(closing(Front(requests, door, settings.allowance)))
    feed = stack.enter_context(closing(Feed(analytics, partial(Null, Kind.PUB))))
    server = Server(
        front=front,
        pool=pool,
        publisher=Publisher(feed, settings.model.id, door),
        gallery=gallery,
        model=settings.model,
        wakeup=wakeup,
        ring=settings.runtime.absolute() / places.RING,
        analytics=f"ipc://{settings.runtime.absolute() / places.ANALYTICS}",
        audit_days=settings.audit_days,
        max_distance=settings.max_distance,
    )
    memory.give_back()
    log.info("ready: %s with %d instances on ipc://%s", settings.model.id, gallery.count(), requests.getsockname())
    return server


def _pool(stack: ExitStack, settings: Settings) -> Pool:
    def orders(identity: str, pairs: Sequence[Pair], pipe: int) -> Orders:
        return Orders(
            identity=identity,
            core=os.getpid(),
            pipe=pipe,
            ring=str(settings.runtime.absolute() / places.RING),
            model_file=str(settings.model.origin.absolute()),
            pairs=list(pairs),
            threads=settings.threads,
            max_distance=settings.max_distance,
            log_level=logging.getLogger().level,
        )

    pool = Pool(
        orders,
        settings.workers,
        settings.rungs,
        patience=Patience(settings.hang_s),
        max_pause_s=settings.max_pause_s,
    )
    stack.callback(pool.stop)
    pool.tick()
    return pool


def _door(stack: ExitStack, settings: Settings) -> "Door | None":
    """Open tcp, last of all: until the loop runs nobody would answer its handshakes."""
    if settings.tcp is None:
        return None
    # Here, for it takes libraries that most daemons do without.
    from reidd.daemon.door import Door

    door = Door(settings.keys, settings.tcp)
    stack.callback(door.close)
    return door


def _gallery(settings: Settings, pool: Pool, asked_to_stop: Signals) -> Gallery:
    # Read while the workers start, unless only a worker can tell the dimension.
    dim = settings.model.extras.dim or _wait_for_worker(pool, asked_to_stop)
    return Gallery.open(
        dim=dim,
        space=settings.model.feature_space(),
        capacity=settings.capacity,
        ring_path=settings.runtime / places.RING,
        store_path=settings.state / places.STORE,
        key=key.read(settings.gallery_key) if settings.gallery_key else None,
        old_key=key.read(settings.old_gallery_key) if settings.old_gallery_key else None,
    )


def _wait_for_worker(pool: Pool, asked_to_stop: Signals) -> int:
    """Return the feature's dimension once a worker is ready; raise when none of the configured pairs can run."""
    while pool.ready is None:
        if asked_to_stop():
            raise Stopped
        if pool.failure is not None:
            raise pool.failure
        if select.select([pool], [], [], START_POLL_S)[0]:
            pool.receive()
        pool.tick()
    return pool.ready.dim
