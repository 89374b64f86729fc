"""What a mutation changes: as told to the caller, and in a form that can be put together and taken back."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from reidd.gallery.aging import Ages
from reidd.gallery.audit import Head
from reidd.gallery.instance import Instance
from reidd.gallery.policy import Limit


class Change(msgspec.Struct, frozen=True):
    """What a mutation did to instances, by number; where an id may not be clear, as `(instance, id)`."""

    added: tuple[int, ...] = ()
    dropped: tuple[tuple[int, int], ...] = ()
    """Gone by the limit, or by age."""
    overwritten: tuple[tuple[int, int], ...] = ()
    """Gone because the gallery was full."""
    removed: int = 0
    moved: tuple[int, ...] = ()
    """Now of another id."""
    taken_back: str = ""
    """What an undone mutation had done, in words."""


@dataclass(frozen=True)
class Identity:
    """What is known about an id beside its instances; an id of which nothing is known has none."""

    label: str | None = None
    pinned: bool = False
    ttl_s: float | None = None

    def __bool__(self) -> bool:
        return self != _NOTHING_KNOWN


_NOTHING_KNOWN = Identity()


class Retention(NamedTuple):
    """What a gallery keeps, how much of it and for how long, as an archive carries it."""

    pinned: tuple[int, ...] = ()
    ttls_s: Mapping[int, float] = MappingProxyType({})
    """The time to live of ids that have one of their own."""
    limit: Limit | None = None
    ttl_s: float | None = None


class Way(NamedTuple):
    """How instances came from one id to another: by a rename, a merge or a move, or by the undo of one."""

    id: int
    """The other id."""
    before: int
    """The number of the next instance at that time."""
    instances: tuple[int, ...] = ()
    """Those that went that way, if not the whole id did."""


class Forgotten(NamedTuple):
    """That an id was forgotten: instances with these numbers, or of this id and below `before`, stay away."""

    time_ns: int
    before: int
    """The number of the next instance at that time; 0 of an id that was not forgotten, but has ways to others."""
    instances: tuple[int, ...] = ()
    """Those that went."""
    became: tuple[Way, ...] = ()
    """The ways to ids that this one, or instances of it, became."""


class Delta(msgspec.Struct):
    """Instances that go and come, and what holds beside them before and after. One that goes and comes is rewritten."""

    removed: dict[int, Instance] = {}
    added: dict[int, Instance] = {}
    identities: dict[int, tuple[Identity, Identity]] = {}
    limit: tuple[Limit | None, Limit | None] | None = None
    ages: tuple[Ages, Ages] | None = None
    answers: dict[bytes, bytes | None] = {}
    """What the clients were told, by what a repeat has in common with the first; None takes an answer back."""
    forgotten: dict[int, tuple[Forgotten | None, Forgotten | None]] = {}
    audit: tuple[Head, Head, str] | None = None
    """The audit log's latest entry before and after, and the line of the latter."""

    def __bool__(self) -> bool:
        return bool(
            self.removed or self.added or self.identities or self.limit or self.ages or self.forgotten or self.audit
        )

    @property
    def rows(self) -> int:
        """How many instances it holds on to."""
        return len(self.removed) + len(self.added)

    def inverse(self) -> "Delta":
        """Give the change that takes this one back."""
        return Delta(
            dict(self.added),
            dict(self.removed),
            {id: (after, before) for id, (before, after) in self.identities.items()},
            (self.limit[1], self.limit[0]) if self.limit else None,
            (self.ages[1], self.ages[0]) if self.ages else None,
            dict.fromkeys(self.answers),
            {id: (after, before) for id, (before, after) in self.forgotten.items()},
            (self.audit[1], self.audit[0], "") if self.audit else None,
        )

    @property
    def makes_room(self) -> bool:
        """Whether instances go, or an id is forgotten, and nothing comes."""
        return bool(self.removed or self.forgets) and not self.added

    @property
    def forgets(self) -> bool:
        """Whether an id is forgotten; that one became another is noted beside those, and takes nothing away."""
        return any(now is not None and now.before for _, now in self.forgotten.values())

    def parts(self, rows: int, notes: int) -> "list[Delta]":
        """Cut what makes room into parts of so many instances, then of so many notes of ids, and all the rest."""
        removed, forgotten = list(self.removed.items()), sorted(self.forgotten.items())
        return [
            *(Delta(removed=dict(removed[at : at + rows])) for at in range(0, len(removed), rows)),
            *(Delta(forgotten=dict(forgotten[at : at + notes])) for at in range(0, len(forgotten), notes)),
            replace(self, removed={}, forgotten={}),
        ]

    def extend(self, later: "Delta") -> None:
        """Make this the change that does both, one after the other."""
        # Asked first, for most changes are one instance that comes, and empty loops take longer than all the rest.
        if later.removed:
            for number, instance in later.removed.items():
                if self.added.pop(number, None) is None:
                    self.removed[number] = instance
        self.added.update(later.added)
        if later.identities:
            for id, (before, after) in later.identities.items():
                self.identities[id] = (self.identities.get(id, (before, after))[0], after)
        if later.forgotten:
            for id, (was, now) in later.forgotten.items():
                self.forgotten[id] = (self.forgotten.get(id, (was, now))[0], now)
        if later.limit:
            self.limit = (self.limit or later.limit)[0], later.limit[1]
        if later.ages:
            self.ages = (self.ages or later.ages)[0], later.ages[1]
        self.audit = later.audit or self.audit
