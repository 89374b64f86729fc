"""What a stored gallery consists of, and the checksums by which damage to any of it is noticed."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from struct import Struct
from types import MappingProxyType
from typing import NamedTuple, TypeVar
from zlib import crc32

import msgspec

from reidd.gallery.aging import Ages
from reidd.gallery.audit import Head
from reidd.gallery.changes import Forgotten, Identity, Way
from reidd.gallery.cipher import SEALED_BYTES, Cipher
from reidd.gallery.instance import Instance, Rows
from reidd.gallery.policy import Limit

NUMBERS = Struct("<qqq")
_Kind = TypeVar("_Kind")


class State(NamedTuple):
    """What the store knows about itself: `digest` is the xor of all its rows' crcs, so that a missing row shows."""

    next_instance: int = 1
    limit: Limit | None = None
    instances: int = 0
    digest: int = 0

    def encode(self) -> str:
        """Write it as text."""
        return _sealed(self)

    @classmethod
    def decode(cls, encoded: object) -> "State | None":
        """Read what `encode` wrote, or give None for anything else."""
        return _unsealed(encoded, cls)


class _Note(NamedTuple):
    """An id and its `Forgotten`, whose latter fields a store of old does not have."""

    id: int
    time_ns: int
    before: int
    instances: tuple[int, ...] = ()
    became: tuple[Way, ...] = ()


def encoded_ages(ages: Ages) -> str:
    """Write ages as text; apart from the state, for they are long and seldom change."""
    return _sealed((ages.ttl_s, ages.clock_s, ages.notes))


def decoded_ages(encoded: object) -> Ages | None:
    """Read what `encoded_ages` wrote, or give None for anything else."""
    values = _unsealed(encoded, tuple[float | None, float, tuple[tuple[int, float], ...]])
    return None if values is None else Ages(*values)


def encoded_forgotten(id: int, forgotten: Forgotten) -> str:
    """Write that an id was forgotten as text."""
    return _sealed((id, *forgotten))


def decoded_forgotten(encoded: object) -> tuple[int, Forgotten] | None:
    """Read what `encoded_forgotten` wrote, or give None for anything else."""
    values = _unsealed(encoded, _Note)
    return None if values is None else (values[0], Forgotten(*values[1:]))


def encoded_head(head: Head) -> str:
    """Write which entry of the audit log is the latest as text."""
    return _sealed(head)


def decoded_head(encoded: object) -> Head | None:
    """Read what `encoded_head` wrote, or give None for anything else."""
    return _unsealed(encoded, Head)


def encoded_check(value: bytes) -> str:
    """Write a key's check value as text."""
    return _sealed((value.hex(),))


def decoded_check(encoded: object) -> bytes | None:
    """Read what `encoded_check` wrote, or give None for anything else."""
    values = _unsealed(encoded, tuple[str])
    return None if values is None else bytes.fromhex(values[0])


def _sealed(values: tuple[object, ...]) -> str:
    text = msgspec.json.encode(values)
    return f"{crc32(text):08x} {text.decode()}"


def _unsealed(encoded: object, kind: type[_Kind]) -> _Kind | None:
    if not isinstance(encoded, str) or encoded[:9] != f"{crc32(encoded[9:].encode()):08x} ":
        return None
    # One flipped bit of the file may put a whole text in the place of another.
    with suppress(msgspec.MsgspecError):
        return msgspec.json.decode(encoded[9:], type=kind)
    return None


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
        return cls(Rows.none(dim), {}, None, 1)


def instance_crc(number: int, id: int, time_ns: int, stored: bytes) -> int:
    """Checksum a stored instance: numbers, time, and the feature as it lies there."""
    return crc32(stored, crc32(NUMBERS.pack(number, id, time_ns)))


def identity_crc(id: int, identity: Identity) -> int:
    """Checksum what is known about an id; never 0, so that forgetting it shows in the digest."""
    # One flipped bit makes bytes of a text: those have a checksum too, which is another.
    known = json.dumps([id, identity.label, identity.pinned, identity.ttl_s], default=repr)
    return crc32(known.encode()) or 1


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
