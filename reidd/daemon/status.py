"""How the daemon is, told to whoever asks."""

import os
import time
from pathlib import Path

from reidd import __version__, protocol
from reidd.daemon.pool import Pool
from reidd.daemon.publisher import Publisher
from reidd.gallery import Gallery
from reidd.model import ModelConfig


def status(
    request: protocol.Status,
    *,
    started: float,
    model: ModelConfig,
    gallery: Gallery,
    pool: Pool,
    publisher: Publisher,
    ring: Path,
    analytics: str,
    max_distance: float | None,
) -> protocol.StatusReply:
    """Gather what the parts of the daemon know of themselves; `started` is on the monotonic clock."""
    ready = pool.ready
    return protocol.StatusReply(
        request=request.request,
        version=__version__,
        pid=os.getpid(),
        uptime=time.monotonic() - started,
        model=model.id,
        purpose=model.purpose,
        engine=ready.engine if ready else None,
        accelerator=ready.accelerator if ready else None,
        degraded=pool.degraded,
        pairs=pool.records(),
        workers=pool.alive,
        waiting=pool.waiting,
        count=gallery.count(),
        id_count=len(gallery.ids()),
        capacity=gallery.capacity,
        dim=gallery.reader.dim,
        space=gallery.reader.space.hex(),
        limit=(gallery.limit.at_most, gallery.limit.drop_method) if gallery.limit else None,
        ttl_s=gallery.ttl_s,
        ring=str(ring),
        analytics=analytics,
        epoch=publisher.epoch,
        seq=publisher.seq,
        encrypted=gallery.encrypted,
        damage=list(gallery.damage),
        storage_failure=gallery.storage_failure,
        max_distance=None if max_distance is None else max_distance / 2,
        model_labels=model.labels,
        model_colors=model.colors.tolist() if model.colors is not None else None,
    )
