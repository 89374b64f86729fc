"""The audit log: who changed the gallery or took features out of it, in entries of which each holds the hash before."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import msgspec

GENESIS = "0" * 64
MAX_ENTRIES = 200_000
"""More than these are not kept, whatever their age: about 60 MiB."""
PRUNED = "pruned"
DAY_S = 86_400.0
_CLOCK_S = 1.7e9  # a time before 2023 is of a board that had no clock yet, and says nothing of an entry's age


class Head(NamedTuple):
    """The latest entry: its number, which counts from 1, and the SHA-256 of its line."""

    seq: int = 0
    hash: str = GENESIS


class Act(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that somebody did: numbers only, never a feature, an image or a label's text."""

    who: str
    what: str
    """The op, or `started`, `expired`, `pruned`, `restore`, `key_added`, `key_changed`, `key_revoked`."""
    id: int | None = None
    into_id: int | None = None
    instance: int | None = None
    added: int = 0
    removed: int = 0
    dropped: int = 0
    overwritten: int = 0
    moved: int = 0
    count: int | None = None
    """Of a limit; of a `rows`, the instances that went out."""
    method: str | None = None
    seconds: float | None = None
    pair: str | None = None
    """The engine and accelerator of a `load`."""
    keys: list[str] | None = None
    """Who is let in over tcp."""
    through: int | None = None
    hash: str | None = None
    """Of the latest entry that was let go of, and `through` is its number."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in one turn of the daemon's loop. `before` is the hash of the line before."""

    seq: int
    time: float
    before: str
    acts: list[Act]


def written(before: Head, acts: Sequence[Act], time_s: float) -> tuple[Head, str]:
    """Write the entry that follows another; `time_s` is wall time, a label and not an order."""
    entry = Entry(seq=before.seq + 1, time=round(time_s, 3), before=before.hash, acts=list(acts))
    line = msgspec.json.encode(entry)
    return Head(entry.seq, hashlib.sha256(line).hexdigest()), line.decode()


def head_of(line: str) -> Head:
    """Tell the number and the hash of an entry."""
    return Head(_decoded(line).seq, hashlib.sha256(line.encode()).hexdigest())


def older(lines: Iterable[str], than_s: float, surplus: int, *, young_after: float = math.inf) -> Head | None:
    """Find the latest of these entries, oldest first, up to which all are old or among the first `surplus`.

    Those after the number `young_after` are not old, whatever their time says. None while the oldest is too old by
    less than a day: saying so is an entry, too.
    """
    found = None
    for line in lines:
        # One that is damaged, or of no known age, goes with the next that is neither: else the log would only grow.
        with suppress(msgspec.MsgspecError):
            entry = _decoded(line)
            if entry.seq > surplus:
                slack_s = 0.0 if found else DAY_S
                if entry.time < _CLOCK_S:
                    continue
                if entry.time >= than_s - slack_s or entry.seq > young_after:
                    break
            found = line
    return None if found is None else head_of(found)


class Check:
    """Follows the chain, one line after the other, and names the first entry that is not what was written."""

    def __init__(self) -> None:
        self.flaw: str | None = None
        self.entries = 0
        self.hashes: set[str] = set()
        self._first, self._last = Head(), Head()
        self._pruned: set[Head] = set()

    def take(self, line: str) -> None:
        """Follow the chain to the next line."""
        if self.flaw is not None:
            return
        following = self._last.seq + 1
        try:
            entry = _decoded(line)
        except (msgspec.MsgspecError, UnicodeEncodeError):
            self.flaw = f"entry {following} cannot be read"
            return
        if not self.entries:
            self._first = self._last = Head(entry.seq - 1, entry.before)
        elif entry.seq != following:
            self.flaw = f"entry {following} is missing: entry {entry.seq} is in its place"
        elif entry.before != self._last.hash:
            self.flaw = f"entry {self._last.seq} is not what was written: entry {entry.seq} holds another hash of it"
        self._pruned |= {Head(act.through or 0, act.hash or "") for act in entry.acts if act.what == PRUNED}
        self._last = head_of(line)
        self.hashes.add(self._last.hash)
        self.entries += 1

    def end(self, head: Head) -> str | None:
        """Compare the end with what the store says is the latest entry; returns the flaw, or None for a whole chain."""
        if self.flaw is None and self._first not in {Head(), *self._pruned}:
            first = self._first.seq + 1
            self.flaw = f"entry {first - 1} is missing, and no later one says that those before {first} were let go of"
        if self.flaw is None and self._last.seq < head.seq:
            self.flaw = f"entry {self._last.seq + 1} is missing: the log ends before it, at {self._last.seq}"
        if self.flaw is None and self._last != head:
            self.flaw = f"entry {self._last.seq} is not what was written, and is the latest"
        return self.flaw


def _decoded(line: str) -> Entry:
    return msgspec.json.decode(line.encode(), type=Entry)
