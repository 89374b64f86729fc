"""A gallery that is open: its members, in shared memory for readers and on the disk for ever."""

import math
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from reidd.gallery.audit import MAX_ENTRIES, PRUNED, Act, Head, older
from reidd.gallery.contents import Contents
from reidd.gallery.index import Index
from reidd.gallery.ledger import Ledger
from reidd.gallery.members import Members
from reidd.gallery.reader import Reader
from reidd.gallery.ring import Ring
from reidd.gallery.store import Store
from reidd.gallery.writer import Writer

_PRUNED_AT_ONCE = 1000  # entries: the daemon answers nobody meanwhile, and asks for more a second later


class Gallery(Members):
    """The one writer of a gallery. Mutations are durable, and visible to readers, when their transaction ends."""

    def __init__(
        self,
        ring: Ring,
        store: Store | None,
        contents: Contents,
        *,
        seed: int | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ):
        """Take over a ring and a store that both hold `contents`; `seed` makes `drop_random` repeatable."""
        self._ring, self._store = ring, store
        self.reader = Reader(ring)
        self.damage = contents.damage
        """What was wrong with the store when it was opened, in sentences; the damaged file is kept beside it."""
        index = Index(contents.rows.numbers, contents.rows.ids)
        index.identities, index.limit, index.ages = dict(contents.identities), contents.limit, contents.ages
        index.forgotten = dict(contents.forgotten)
        self.origin = contents.origin or secrets.token_hex(8)
        """Names this gallery, in which instance numbers are never used twice."""
        ledger = Ledger(index, Writer(ring), store, next_instance=contents.next_instance, audit=contents.audit)
        super().__init__(index, ledger, dim=ring.dim, capacity=ring.capacity, seed=seed, clock_s=clock_s)

    @classmethod
    def open(
        cls,
        *,
        dim: int,
        space: bytes,
        capacity: int = 10_000,
        ring_path: Path | None = None,
        store_path: Path | None = None,
        key: bytes | None = None,
        old_key: bytes | None = None,
        seed: int | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> "Gallery":
        """Open the gallery of one feature space: `dim` values, `space` the 32-byte fingerprint.

        Without `ring_path` only this process sees it, without `store_path` it is forgotten at the end. With a `key` of
        32 bytes the store is encrypted; one that is plain, or encrypted with the `old_key`, becomes so.
        Raises FeatureSpaceError, GalleryKeyError, StorageUnavailableError or GalleryError, which say what to do.
        """
        store = Store(store_path, dim=dim, space=space, key=key, old_key=old_key) if store_path else None
        try:
            # Filled before it appears, so that no reader finds a gallery without anybody in it.
            with Ring.create(ring_path, dim=dim, capacity=capacity, space=space) as ring:
                contents = store.load(ring.features) if store is not None else Contents.none(dim)
                ring.fill(contents.rows, next_instance=contents.next_instance)
            return cls(ring, store, contents, seed=seed, clock_s=clock_s)
        except BaseException:
            if store is not None:
                store.close()
            raise

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Tell the readers and let go of the store. Twice is fine."""
        self._ring.close()
        if self._store is not None:
            self._store.close()

    @property
    def storage_failure(self) -> str | None:
        """Why changes cannot be written now, and what to do; None as long as they can."""
        return self._store.failure if self._store is not None else None

    def answers(self, within_s: float) -> dict[bytes, bytes]:
        """What clients were told in the last seconds, by another process too."""
        return self._store.answers(within_s) if self._store is not None else {}

    def note(self, acts: Sequence[Act]) -> Head:
        """Write who does what into the audit log, in one entry with the open transaction."""
        return self._ledger.note(acts)

    @property
    def encrypted(self) -> bool:
        """Whether what is on the disk of features and labels is encrypted."""
        return self._store is not None and self._store.encrypted

    @property
    def audit(self) -> Head:
        """The latest entry of the audit log."""
        return self._ledger.audit

    def audit_lines(self, after: int, limit: int) -> list[tuple[int, str]]:
        """Give numbered entries of the audit log, oldest first; none for a gallery without a store."""
        return self._store.audit_lines(after, limit) if self._store is not None else []

    def prune_audit(self, *, older_than_s: float, young_after: float = math.inf) -> bool:
        """Let go of entries from before a time, or beyond `MAX_ENTRIES`, and say so in the log itself.

        Those after the number `young_after` are not old, whatever their time says. Not of too many at once; returns
        whether there may be more.
        """
        if self._store is None:
            return False
        oldest = self._store.audit_lines(0, _PRUNED_AT_ONCE)
        surplus = self._ledger.audit.seq - MAX_ENTRIES
        last = older((line for _, line in oldest), older_than_s, surplus, young_after=young_after)
        if last is None:
            return False
        with self.transaction():
            self.note([Act(who="daemon", what=PRUNED, through=last.seq, hash=last.hash)])
        # Only now: should the power fail in between, the log is longer than it says, which is fine.
        self._store.prune_audit(last.seq)
        return last.seq == oldest[-1][0]

    def remains(self) -> list[str]:
        """Name, in sentences, files that may hold what was forgotten."""
        return self._store.remains() if self._store is not None else []

    def heartbeat(self) -> None:
        """Show readers that the writer is alive; call it every second."""
        self._ring.heartbeat()
