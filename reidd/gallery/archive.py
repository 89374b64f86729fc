"""One file that holds a gallery: to carry it to another board, or to keep it. Features and labels, no images."""

import glob
import hashlib
import json
import os
import zipfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from reidd.errors import GalleryError
from reidd.gallery.changes import Retention
from reidd.gallery.disk import sync
from reidd.gallery.instance import Rows

_FORMAT = "reidd-gallery-1"


class Archive(NamedTuple):
    """What such a file holds; `space` is the fingerprint of the feature space."""

    rows: Rows
    labels: Mapping[int, str]
    space: bytes
    retention: Retention | None = None
    """None in a file of a reidd that did not save them."""
    origin: str = ""
    """Names the gallery that the instance numbers are of."""

    def about(self, ids: Collection[int]) -> "Archive":
        """Leave out what is known about other ids than these."""
        labels = {id: label for id, label in self.labels.items() if id in ids}
        retention = self.retention
        if retention is not None:
            ttls_s = {id: ttl_s for id, ttl_s in retention.ttls_s.items() if id in ids}
            retention = retention._replace(pinned=tuple(id for id in retention.pinned if id in ids), ttls_s=ttls_s)
        return self._replace(labels=labels, retention=retention)


def save(
    path: Path,
    rows: Rows,
    *,
    labels: Mapping[int, str],
    space: bytes,
    retention: Retention | None = None,
    origin: str = "",
) -> None:
    """Write all of this to `path`, in place of what was there, so that a crash leaves the old or the new file.

    Raises GalleryError when it cannot be written.
    """
    # Not Path.is_dir, which raises where the folder above may not be looked into.
    if not path.name or os.path.isdir(path):  # noqa: PTH112
        raise GalleryError(f"cannot write the gallery file {str(path)!r}: it is a folder; name a file")
    content: dict[str, Any] = {
        "features": np.ascontiguousarray(rows.features, np.float32),
        "ids": np.ascontiguousarray(rows.ids, np.int64),
        "instances": np.ascontiguousarray(rows.numbers, np.uint64),
        "times_ns": np.ascontiguousarray(rows.times_ns, np.int64),
        "labels": _bytes(json.dumps({str(id): label for id, label in labels.items()}).encode()),
        "space": _bytes(space),
        "origin": _bytes(origin.encode()),
        "format": _bytes(_FORMAT.encode()),
    }
    if retention is not None:
        # The name that it has in files, of old too.
        content["settings"] = _bytes(msgspec.json.encode(retention._replace(ttls_s=dict(retention.ttls_s))))
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
            if left.suffix[1:].isdecimal() and not Path("/proc", left.suffix[1:]).exists():
                with suppress(OSError):
                    left.unlink()  # of a save that was killed, with features in it
        # Features are biometric data, nobody else's to read: not while they are written, nor through a file or a link
        # that somebody else put here.
        unfinished.unlink(missing_ok=True)
        with open(unfinished, "xb", opener=_for_us_alone) as file:
            np.savez(file, sha256=_bytes(_digest(content)), **content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync(path.parent)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise GalleryError(f"cannot write the gallery file {str(path)!r}: {error.strerror or error}") from error


def load(path: Path) -> Archive:
    """Read what `save` wrote. Raises GalleryError for a file that is damaged, or not one of ours."""
    try:
        # Opened here, for numpy forgets to close a file that it cannot read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
        claimed = content.pop("sha256").tobytes()
        if content["format"].tobytes() != _FORMAT.encode():
            raise GalleryError(f"{str(path)!r} is a gallery file of a format this reidd does not read")
        if claimed != _digest(content):
            raise GalleryError(f"the gallery file {str(path)!r} is damaged: its checksum does not match its content")
        return _decoded(content)
    except OSError as error:
        raise GalleryError(f"cannot read the gallery file {str(path)!r}: {error.strerror or error}") from error
    # What numpy, zipfile, zlib and msgspec raise for bytes that are not theirs; the names are theirs to change.
    except (
        ValueError,
        LookupError,
        EOFError,
        TypeError,
        AttributeError,
        NotImplementedError,
        zipfile.BadZipFile,
        msgspec.MsgspecError,
    ) as error:
        raise GalleryError(f"{str(path)!r} is not a whole gallery file; name one that `reidd save` wrote") from error


def _decoded(content: Mapping[str, np.ndarray]) -> Archive:
    """Raises ValueError for what no gallery holds: whoever made the file made its checksum too."""
    rows = Rows(content["instances"], content["ids"], content["times_ns"], content["features"])
    alike = zip(rows, Rows.none(rows.features.shape[-1]), strict=True)
    if any((c.dtype, c.shape) != (like.dtype, (rows.ids.size, *like.shape[1:])) for c, like in alike):
        raise ValueError("rows are columns of one length")
    if rows.ids.min(initial=0) < 0:
        raise ValueError("an id is 0 or more")
    labels = {int(id): str(label) for id, label in json.loads(content["labels"].tobytes()).items()}
    retention = msgspec.json.decode(content["settings"].tobytes(), type=Retention) if "settings" in content else None
    origin = content["origin"].tobytes().decode() if "origin" in content else ""
    archive = Archive(rows, labels, content["space"].tobytes(), retention, origin)
    # An id may have gone while the file was written.
    return archive.about(set(rows.ids.tolist()))


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _bytes(value: bytes) -> np.ndarray:
    return np.frombuffer(value, np.uint8)


def _digest(content: Mapping[str, np.ndarray]) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(content):
        array = content[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.digest()
