"""What a stored gallery consists of, and the checksums by which damage to any of it is noticed."""

import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from struct import Struct
from struct import error as StructError  # noqa: N812  (it is named so)
from types import MappingProxyType
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
import numpy as np

from reidd.distances import UNIT_TOLERANCE
from reidd.gallery.aging import Ages
from reidd.gallery.audit import Head
from reidd.gallery.changes import Forgotten, Identity
from reidd.gallery.cipher import SEALED_BYTES, Cipher
from reidd.gallery.instance import Instance, Rows
from reidd.gallery.policy import Limit

_NUMBERS = Struct("<qqq")
# When the counter itself is lost, numbers go on far above any that can have been given.
_LEAP = 1_000_000


class State(NamedTuple):
    """What the store knows about itself: `digest` is the xor of all its rows' crcs, so that a missing row shows."""

    next_instance: int = 1
    limit: Limit | None = None
    instances: int = 0
    digest: int = 0

    def encode(self) -> str:
        """Write it as text."""
        return _sealed([self.next_instance, self.limit, self.instances, self.digest])

    @classmethod
    def decode(cls, encoded: object) -> "State | None":
        """Read what `encode` wrote, or give None for anything else."""
        values = _unsealed(encoded)
        if values is None:
            return None
        next_instance, limit, instances, digest = values
        return cls(next_instance, Limit(*limit) if limit else None, instances, digest)


def encoded_ages(ages: Ages) -> str:
    """Write ages as text; apart from the state, for they are long and seldom change."""
    return _sealed([ages.ttl_s, ages.clock_s, ages.notes])


def decoded_ages(encoded: object) -> Ages | None:
    """Read what `encoded_ages` wrote, or give None for anything else."""
    values = _unsealed(encoded)
    if values is None:
        return None
    ttl_s, clock_s, notes = values
    return Ages(ttl_s, clock_s, tuple((number, at_s) for number, at_s in notes))


def encoded_forgotten(id: int, forgotten: Forgotten) -> str:
    """Write that an id was forgotten as text."""
    return _sealed([id, *forgotten])


def decoded_forgotten(encoded: object) -> tuple[int, Forgotten] | None:
    """Read what `encoded_forgotten` wrote, or give None for anything else."""
    values = _unsealed(encoded)
    if values is None:
        return None
    id, time_ns, before, instances = values
    return id, Forgotten(time_ns, before, tuple(instances))


def encoded_head(head: Head) -> str:
    """Write which entry of the audit log is the latest as text."""
    return _sealed(list(head))


def decoded_head(encoded: object) -> Head | None:
    """Read what `encoded_head` wrote, or give None for anything else."""
    values = _unsealed(encoded)
    return None if values is None else Head(*values)


def encoded_check(value: bytes) -> str:
    """Write a key's check value as text."""
    return _sealed([value.hex()])


def decoded_check(encoded: object) -> bytes | None:
    """Read what `encoded_check` wrote, or give None for anything else."""
    values = _unsealed(encoded)
    return None if values is None else bytes.fromhex(values[0])


def _sealed(values: list[Any]) -> str:
    text = msgspec.json.encode(values)
    return f"{crc32(text):08x} {text.decode()}"


def _unsealed(encoded: object) -> Any:
    if not isinstance(encoded, str) or encoded[:9] != f"{crc32(encoded[9:].encode()):08x} ":
        return None
    return msgspec.json.decode(encoded[9:])


class Contents(NamedTuple):
    """All that a store holds and could be read whole, and in `damage` a sentence for each thing that could not."""

    rows: Rows
    identities: Mapping[int, Identity]
    limit: Limit | None
    next_instance: int
    ages: Ages = Ages()
    damage: tuple[str, ...] = ()
    forgotten: Mapping[int, Forgotten] = MappingProxyType({})
    audit: Head = Head()
    origin: str = ""
    """Names the store, in which instance numbers are never used twice."""

    @classmethod
    def none(cls, dim: int) -> "Contents":
        """Give the contents of a new store."""
        return cls(Columns(dim).rows(), {}, None, 1)


def instance_crc(number: int, id: int, time_ns: int, stored: bytes) -> int:
    """Checksum a stored instance: numbers, time, and the feature as it lies there."""
    return crc32(stored, crc32(_NUMBERS.pack(number, id, time_ns)))


def identity_crc(id: int, identity: Identity) -> int:
    """Checksum what is known about an id; never 0, so that forgetting it shows in the digest."""
    return crc32(json.dumps([id, identity.label, identity.pinned, identity.ttl_s]).encode()) or 1


def stored_instance(instance: Instance, cipher: Cipher | None) -> tuple[int, int, int, int, bytes]:
    """Give an instance as a row of the store. The checksum is over what lies there: of a feature it would tell."""
    number, id, time_ns = instance.number, instance.id, instance.time_ns
    stored = instance.feature if cipher is None else cipher.sealed(instance)
    return number, id, time_ns, instance_crc(number, id, time_ns, stored), stored


def stored_feature(
    number: object, id: object, time_ns: object, crc: object, stored: object, *, dim: int, cipher: Cipher | None
) -> bytes | None:
    """Give the feature of a row as SQLite gave it, whatever it is, or None when it is not what was written."""
    if not (
        isinstance(number, int) and isinstance(id, int) and isinstance(time_ns, int) and isinstance(stored, bytes)
        and 0 < number < 2**63 and id >= 0 and len(stored) == 4 * dim + (SEALED_BYTES if cipher else 0)
        and crc == instance_crc(number, id, time_ns, stored)
    ):  # fmt: skip
        return None
    return cipher.feature(number, id, time_ns, stored) if cipher else stored


def _all_whole(rows: Sequence[Sequence[Any]], stored_bytes: int) -> bool:
    """Whether all of some rows are what was written: what `stored_feature` checks one by one, in half of its time."""
    numbers, ids, times_ns, crcs, stored = zip(*rows, strict=True)
    try:
        found = tuple(map(crc32, stored, map(crc32, map(_NUMBERS.pack, numbers, ids, times_ns))))
    except (StructError, TypeError):
        return False
    return found == crcs and min(numbers) > 0 and min(ids) >= 0 and set(map(len, stored)) == {stored_bytes}


def stored_identity(id: int, identity: Identity, cipher: Cipher | None) -> Identity:
    """Give what is known about an id as it is stored."""
    if cipher is None or identity.label is None:
        return identity
    return replace(identity, label=cipher.sealed_label(id, identity.label))


def read_identity(id: int, stored: Identity, cipher: Cipher | None) -> Identity | None:
    """Give what is known about an id; None when its label was not written for this id under this key."""
    if cipher is None or stored.label is None:
        return stored
    label = cipher.label(id, stored.label)
    return None if label is None else replace(stored, label=label)


class Columns:
    """Takes in stored rows, those that are whole, and counts what they say about the store's digest."""

    def __init__(self, dim: int, cipher: Cipher | None = None, room: np.ndarray | None = None):
        """Begin with none. Features go into `room` `(n, dim)`, as far as it is large enough."""
        self._dim, self._cipher, self.digest = dim, cipher, 0
        self.damage: list[str] = []
        self._numbers, self._ids, self._times_ns = array("Q"), array("q"), array("q")
        self._features = np.empty((0, dim), np.float32) if room is None else room

    def take(self, rows: Sequence[Sequence[Any]]) -> None:
        """Check rows as SQLite gave them, whatever they hold, and keep those that are what was written."""
        features = self._opened(rows)
        if None in features:
            damaged = [row[0] for row, feature in zip(rows, features, strict=True) if feature is None]
            self.damage += [f"instance {number!r} does not match its checksum" for number in damaged]
            rows = [row for row, feature in zip(rows, features, strict=True) if feature is not None]
        block = np.frombuffer(b"".join(filter(None, features)), np.float32).reshape(len(rows), self._dim)
        # One that is not finite would win every search; comparing refuses NaN too.
        good = np.abs(np.einsum("ij,ij->i", block, block) - 1) <= 2 * UNIT_TOLERANCE
        for row in rows:
            self.digest ^= row[3]
        if not good.all():
            endless = [row[0] for row, fine in zip(rows, good, strict=True) if not fine]
            self.damage += [f"instance {number} is not a unit vector" for number in endless]
            rows, block = [row for row, fine in zip(rows, good, strict=True) if fine], block[good]
        self._keep(rows, block)

    def rows(self) -> Rows:
        """Give the rows that may be searched, oldest first."""
        count = len(self._numbers)
        numbers, ids, times_ns = (np.array(column) for column in (self._numbers, self._ids, self._times_ns))
        rows = Rows(numbers, ids, times_ns, self._features[:count])
        if (numbers[1:] > numbers[:-1]).all():
            return rows
        _, ascending = np.unique(numbers, return_index=True)
        return Rows(*(column[ascending] for column in rows))

    def _opened(self, rows: Sequence[Sequence[Any]]) -> list[bytes | None]:
        """Give the features of rows; None for one that is not what was written."""
        cipher = self._cipher
        if not _all_whole(rows, 4 * self._dim + (SEALED_BYTES if cipher else 0)):
            return [stored_feature(*row, dim=self._dim, cipher=cipher) for row in rows]
        if cipher is None:
            return [stored for *_, stored in rows]
        return [cipher.feature(number, id, time_ns, stored) for number, id, time_ns, _, stored in rows]

    def _keep(self, rows: Sequence[Sequence[Any]], features: np.ndarray) -> None:
        begin, end = len(self._numbers), len(self._numbers) + len(rows)
        if end > len(self._features):
            larger = np.empty((2 * end, self._dim), np.float32)
            larger[:begin] = self._features[:begin]
            self._features = larger
        self._features[begin:end] = features
        self._numbers.extend([row[0] for row in rows])
        self._ids.extend([row[1] for row in rows])
        self._times_ns.extend([row[2] for row in rows])


def audited(
    columns: Columns, identities: Mapping[int, Identity], state: State | None, ages: Ages | None, damage: list[str]
) -> Contents:
    """Put together what could be read, and compare it with what the store says it holds."""
    rows = columns.rows()
    damage = damage + columns.damage
    digest = columns.digest
    for id, identity in identities.items():
        digest ^= identity_crc(id, identity)
    after_newest = int(rows.numbers[-1]) + 1 if len(rows.numbers) else 1
    if ages is None:
        damage.append("the times to live were lost; set them again")
        ages = Ages()
    if state is None:
        damage.append("the limit and the instance counter were lost; set the limit again")
        return Contents(rows, identities, None, after_newest + _LEAP, ages, tuple(damage))
    if state.instances != len(rows.numbers):
        damage.append(f"{len(rows.numbers)} of {state.instances} instances could be read")
    elif state.digest != digest and not damage:
        damage.append("what is known about some ids, or which instances there are, is not what was written")
    if state.next_instance < after_newest:
        damage.append("the instance counter was wrong")
    next_instance = max(state.next_instance, after_newest)
    return Contents(rows, identities, state.limit, next_instance, ages, tuple(damage))
