"""The gallery's bytes in shared memory: the only file that knows their layout (docs/gallery.md has the offsets)."""

import mmap
import os
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from zlib import crc32

import numpy as np

from reidd.errors import CapacityError, FeatureSpaceError, GalleryError
from reidd.gallery.instance import Instance, Rows
from reidd.gallery.ring_file import new_mapping

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
_CRC = struct.Struct("<I4x")  # and what is reserved
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
        self._features_at = int(self._words[_FEATURES_AT])
        block = np.frombuffer(mapping, "<f4", self.capacity * self.dim, self._features_at)
        self.features = block.reshape(self.capacity, self.dim)
        self.nobody = Instance(0, FREE_ID, 0, bytes(4 * self.dim))
        """What a free slot holds."""

    @classmethod
    @contextmanager
    def create(cls, path: Path | None, *, dim: int, capacity: int, space: bytes) -> Iterator["Ring"]:
        """Make a ring: a file that takes the place of any older one when the block ends, or in this process's memory.

        Raises GalleryError for a capacity below 1, and when there is too little room: rather now than SIGBUS at the
        first touch.
        """
        if capacity < 1:
            raise GalleryError(f"a gallery has room for at least 1 instance; got a capacity of {capacity}")
        plan = _plan(dim, capacity)
        with new_mapping(path, plan[-1]) as mapping:
            words = np.frombuffer(mapping, "<u8", HEADER_BYTES // 8)
            words[_VERSION : _FILE_BYTES + 1] = plan
            words[_NEXT_INSTANCE], words[_WRITER_PID] = 1, os.getpid()
            words[_HEARTBEAT_NS] = time.monotonic_ns()
            mapping[_SPACE_AT : _SPACE_AT + _SPACE_BYTES] = space
            mapping[: len(MAGIC)] = MAGIC
            ring = cls(mapping, writable=True)
            ring.slots["id"] = FREE_ID
            yield ring

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
        sequences = self._sequences[slot : slot + len(instances)]
        sequences += np.uint64(1)
        fields: list[bytes] = []
        for sequence, row in zip((sequences + np.uint64(1)).tolist(), instances, strict=True):
            checked = _CHECKED.pack(sequence, row.id, row.number, row.time_ns)
            fields += (checked, _CRC.pack(crc32(row.feature, crc32(checked))))
        block = np.frombuffer(bytearray(b"".join(fields)), _SLOT)
        block["sequence"] -= np.uint64(1)
        self._put(self._features_at + slot * 4 * self.dim, b"".join([row.feature for row in instances]))
        self._put(HEADER_BYTES + slot * _SLOT.itemsize, block.tobytes())
        sequences += np.uint64(1)

    def fill(self, rows: Rows, *, next_instance: int) -> None:
        """Put rows, oldest first, into the first slots of a new ring; features that lie there already stay.

        Raises CapacityError when they do not fit.
        """
        n = len(rows.numbers)
        if n > self.capacity:
            raise CapacityError(
                f"{n} instances do not fit into a gallery of {self.capacity}; raise the capacity to {n} or more"
            )
        slots = self.slots[:n]
        self.features[:n] = rows.features
        slots["id"], slots["instance"], slots["time_ns"] = rows.ids, rows.numbers, rows.times_ns
        slots["sequence"] = 2
        checked = map(_CHECKED.pack, repeat(2), rows.ids.tolist(), rows.numbers.tolist(), rows.times_ns.tolist())
        slots["crc"] = np.fromiter(map(crc32, self.features[:n], map(crc32, checked)), np.uint32, n)
        self._words[_COUNT] = self._words[_USED] = n
        self._words[_NEXT_INSTANCE] = next_instance

    def read(self, slot: int) -> Instance | None:
        """Copy what is in a slot, or give None when it is free, being written, or damaged."""
        fields, feature = self.slots[slot].tobytes(), self.features[slot].tobytes()
        sequence, id, number, time_ns = _CHECKED.unpack_from(fields)
        crc = int.from_bytes(fields[_CHECKED.size : _CHECKED.size + 4], "little")
        if sequence % 2 or id == FREE_ID or crc32(feature, crc32(fields[: _CHECKED.size])) != crc:
            return None
        return Instance(number, id, time_ns, feature)

    def copy(self, slot: int) -> Instance:
        """Copy what is in a slot, unchecked: for the writer, whom nobody can disturb."""
        _, id, number, time_ns = _CHECKED.unpack_from(self.slots[slot].tobytes())
        return Instance(number, id, time_ns, self.features[slot].tobytes())

    def _put(self, at: int, content: bytes) -> None:
        self._mapping[at : at + len(content)] = content


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
