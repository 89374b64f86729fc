"""The gallery's bytes in shared memory: the only file that knows their layout (docs/gallery.md has the offsets)."""

import errno
import mmap
import os
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from zlib import crc32

import numpy as np

from reidd.errors import FeatureSpaceError, GalleryError
from reidd.gallery.instance import Instance, Rows

MAGIC = b"REIDDRNG"
LAYOUT_VERSION = 1
HEADER_BYTES = 4096
FREE_ID = -1

# Every number of the header is a u64 at its own multiple of eight; these are its indexes.
_VERSION, _DIM, _CAPACITY, _SLOTS_AT, _SLOT_BYTES, _FEATURES_AT, _FILE_BYTES = range(1, 8)
_SPACE_AT, _SPACE_BYTES = 64, 32
# What changes lies in cache lines of its own, so that polling it does not evict what does not.
_GENERATION, _COUNT, _USED, _NEXT_INSTANCE, _HEARTBEAT_NS, _WRITER_PID, _CLOSED = range(16, 23)

_SLOT = np.dtype(
    [("sequence", "<u8"), ("id", "<i8"), ("instance", "<u8"), ("time_ns", "<i8"), ("crc", "<u4"), ("reserved", "<u4")]
)
_CHECKED = struct.Struct("<QqQq")  # the part of a slot its crc covers, before the feature
_FIELDS = struct.Struct("<QqQqII")
_ALIGNMENT = 64


class Ring:
    """A mapping of the gallery: written by the one writer that created it, read by everybody else."""

    def __init__(self, mapping: mmap.mmap, *, writable: bool):
        self.writable = writable
        self._words = np.frombuffer(mapping, "<u8", HEADER_BYTES // 8)
        self.dim: int = int(self._words[_DIM])
        self.capacity: int = int(self._words[_CAPACITY])
        self.space = bytes(mapping[_SPACE_AT : _SPACE_AT + _SPACE_BYTES])
        self.slots = np.frombuffer(mapping, _SLOT, self.capacity, HEADER_BYTES)
        self._mapping, self._sequences = mapping, self.slots["sequence"]
        block = np.frombuffer(mapping, "<f4", self.capacity * self.dim, int(self._words[_FEATURES_AT]))
        self.features = block.reshape(self.capacity, self.dim)
        self.nobody = Instance(0, FREE_ID, 0, np.zeros(self.dim, np.float32))
        """What a free slot holds."""

    @classmethod
    def create(
        cls,
        path: Path | None,
        *,
        dim: int,
        capacity: int,
        space: bytes,
        rows: Rows | None = None,
        next_instance: int = 1,
    ) -> "Ring":
        """Make a ring that holds `rows`, as a file in place of any older one, or in this process's memory.

        Raises GalleryError when there is too little room: rather now than SIGBUS at the first touch.
        """
        count = 0 if rows is None else len(rows.numbers)
        if count > capacity:
            raise GalleryError(f"{count} instances do not fit into a gallery of {capacity}; raise the capacity")
        plan = _plan(dim, capacity)
        with _new_mapping(path, plan[-1]) as mapping:
            words = np.frombuffer(mapping, "<u8", HEADER_BYTES // 8)
            words[_VERSION : _FILE_BYTES + 1] = plan
            words[_NEXT_INSTANCE], words[_WRITER_PID] = next_instance, os.getpid()
            words[_HEARTBEAT_NS] = time.monotonic_ns()
            mapping[_SPACE_AT : _SPACE_AT + _SPACE_BYTES] = space
            mapping[: len(MAGIC)] = MAGIC
            ring = cls(mapping, writable=True)
            ring.slots["id"] = FREE_ID
            if rows is not None:
                ring._fill(rows)
        return ring

    @classmethod
    def open(cls, path: Path, *, space: bytes | None = None) -> "Ring":
        """Map somebody else's ring read-only.

        Raises GalleryError when there is none, or none of this layout, and FeatureSpaceError when it is of another
        space than `space`.
        """
        try:
            with path.open("rb") as file:
                # The mapping starts at offset 0, a multiple of every page size: 4, 16 and 64 KiB alike.
                mapping = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
        except FileNotFoundError:
            raise GalleryError(f"no gallery at {str(path)!r}; is the daemon running?") from None
        except (OSError, ValueError) as error:
            raise GalleryError(f"cannot map the gallery at {str(path)!r}: {error}") from None
        _check_layout(mapping, path)
        ring = cls(mapping, writable=False)
        if space is not None and ring.space != space:
            raise FeatureSpaceError(
                f"the gallery at {str(path)!r} holds features of another space ({ring.space.hex()[:12]}, "
                f"not {space.hex()[:12]}); use the model and preprocessing it was made with"
            )
        return ring

    @property
    def generation(self) -> int:
        """Even, and another after every change; odd while a change is under way."""
        return int(self._words[_GENERATION])

    @property
    def count(self) -> int:
        """Instances in the gallery."""
        return int(self._words[_COUNT])

    @property
    def used(self) -> int:
        """Slots from the first to the last that ever held an instance: no reader needs to look further."""
        return int(self._words[_USED])

    @property
    def next_instance(self) -> int:
        """The number the next instance will have."""
        return int(self._words[_NEXT_INSTANCE])

    @property
    def closed(self) -> bool:
        """Whether the writer has left: this mapping will never change again."""
        return bool(self._words[_CLOSED])

    @property
    def heartbeat_ns(self) -> int:
        """When the writer last said it is alive, on CLOCK_MONOTONIC."""
        return int(self._words[_HEARTBEAT_NS])

    def heartbeat(self) -> None:
        """Say that the writer is alive."""
        self._words[_HEARTBEAT_NS] = time.monotonic_ns()

    def close(self) -> None:
        """Tell every reader that this mapping will not change again; the memory goes when the last of them lets go."""
        if self.writable:
            self._words[_CLOSED] = 1

    @contextmanager
    def change(self, *, count: int, used: int, next_instance: int) -> Iterator[None]:
        """Write slots inside this block: readers see all of it or scan again."""
        # Single aligned stores, so that no reader sees half a number.
        self._words[_GENERATION] += np.uint64(1)
        yield
        self._words[_COUNT], self._words[_USED], self._words[_NEXT_INSTANCE] = count, used, next_instance
        self._words[_GENERATION] += np.uint64(1)

    def write(self, slot: int, instances: Sequence[Instance]) -> None:
        """Put instances into the slots from `slot` on; `nobody` empties one, whose feature is overwritten.

        Their sequences are odd meanwhile, and the crcs make a torn read noticeable.
        """
        end = slot + len(instances)
        writing = self._sequences[slot:end] + np.uint64(1)
        self._sequences[slot:end] = writing
        features = self.features[slot:end]
        np.concatenate([instance.feature for instance in instances], out=features.reshape(-1))
        fields = []
        for sequence, (number, id, time_ns, _), feature in zip(writing.tolist(), instances, features, strict=True):
            crc = crc32(feature, crc32(_CHECKED.pack(sequence + 1, id, number, time_ns)))
            fields.append(_FIELDS.pack(sequence, id, number, time_ns, crc, 0))
        at = HEADER_BYTES + slot * _SLOT.itemsize
        self._mapping[at : at + len(fields) * _SLOT.itemsize] = b"".join(fields)
        self._sequences[slot:end] = writing + np.uint64(1)

    def _fill(self, rows: Rows) -> None:
        """Put rows, oldest first, into the first slots of a new ring."""
        n = len(rows.numbers)
        slots = self.slots[:n]
        self.features[:n] = rows.features
        slots["id"], slots["instance"], slots["time_ns"] = rows.ids, rows.numbers, rows.times_ns
        slots["sequence"] = 2
        checked = slots.tobytes()
        starts = range(0, n * _SLOT.itemsize, _SLOT.itemsize)
        crcs = (
            crc32(feature, crc32(checked[at : at + _CHECKED.size]))
            for at, feature in zip(starts, self.features[:n], strict=True)
        )
        slots["crc"] = np.fromiter(crcs, np.uint32, n)
        self._words[_COUNT] = self._words[_USED] = n

    def read(self, slot: int) -> Instance | None:
        """Copy what is in a slot, or give None when it is free, being written, or damaged."""
        fields, feature = self.slots[slot].tobytes(), self.features[slot].copy()
        sequence, id, number, time_ns = _CHECKED.unpack_from(fields)
        crc = int.from_bytes(fields[_CHECKED.size : _CHECKED.size + 4], "little")
        if sequence % 2 or id == FREE_ID or crc32(feature, crc32(fields[: _CHECKED.size])) != crc:
            return None
        return Instance(number, id, time_ns, feature)

    def copy(self, slot: int) -> Instance:
        """Copy what is in a slot, unchecked: for the writer, whom nobody can disturb."""
        _, id, number, time_ns = _CHECKED.unpack_from(self.slots[slot].tobytes())
        return Instance(number, id, time_ns, self.features[slot].copy())


def _plan(dim: int, capacity: int) -> tuple[int, ...]:
    """Lay a ring out: the header's words from the version to the size of the file."""
    if sys.byteorder != "little":
        raise GalleryError("the gallery's layout is little-endian, and this machine is not")
    features_at = -(-(HEADER_BYTES + capacity * _SLOT.itemsize) // _ALIGNMENT) * _ALIGNMENT
    size = features_at + capacity * dim * 4
    return LAYOUT_VERSION, dim, capacity, HEADER_BYTES, _SLOT.itemsize, features_at, size


def _check_layout(mapping: mmap.mmap, path: Path) -> None:
    if mapping[: len(MAGIC)] != MAGIC or len(mapping) < HEADER_BYTES:
        raise GalleryError(f"{str(path)!r} is not a reidd gallery")
    words = np.frombuffer(mapping, "<u8", HEADER_BYTES // 8)
    if words[_VERSION] != LAYOUT_VERSION:
        raise GalleryError(
            f"the gallery at {str(path)!r} has layout version {words[_VERSION]}, this reidd reads {LAYOUT_VERSION}; "
            "use the same reidd on both sides"
        )
    plan = _plan(int(words[_DIM]), int(words[_CAPACITY]))
    if tuple(words[_VERSION : _FILE_BYTES + 1].tolist()) != plan or len(mapping) != plan[-1]:
        raise GalleryError(
            f"the gallery at {str(path)!r} has {len(mapping)} bytes and should have {plan[-1]}, or its header is "
            "damaged; restart the daemon to rebuild it"
        )


@contextmanager
def _new_mapping(path: Path | None, size: int) -> Iterator[mmap.mmap]:
    """Map new zeroed bytes, which appear at `path` when the block ends well: readers never map a half-made file."""
    if path is None:
        yield mmap.mmap(-1, size)
        return
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        file = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            os.fchmod(file, 0o640)
            # ftruncate succeeds on a full tmpfs and the first touch is SIGBUS; this says ENOSPC.
            os.posix_fallocate(file, 0, size)
            mapping = mmap.mmap(file, size)
        finally:
            os.close(file)
        yield mapping
        unfinished.rename(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        advice = "; lower the capacity" if error.errno in (errno.ENOSPC, errno.ENOMEM) else ""
        raise GalleryError(
            f"cannot make a gallery of {size >> 20} MiB at {str(path)!r}: {error.strerror or error}{advice}"
        ) from None
