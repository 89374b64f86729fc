"""The order of things in a change: the index at once, then the disk, then the readers; or none of them."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from reidd.gallery.audit import Act, Head, written
from reidd.gallery.changes import Delta
from reidd.gallery.index import Index
from reidd.gallery.instance import Instance
from reidd.gallery.store import Store
from reidd.gallery.writer import Writer

_NO_ENTRY = Head()
_REMEMBERED, _REMEMBERED_ROWS = 32, 4096  # mutations that can be taken back, and instances in all of them


class Ledger:
    """Keeps index, store and ring in step, by transactions made of mutations made of deltas."""

    def __init__(
        self, index: Index, writer: Writer, store: Store | None, *, next_instance: int, audit: Head = _NO_ENTRY
    ):
        self._index, self._writer, self._store = index, writer, store
        self._next_instance, self._audit = next_instance, audit
        self._draft: Draft | None = None
        self._transaction: Delta | None = None
        self._mutation: Delta | None = None
        self._history: deque[Delta] = deque()
        self._remembered, self._unremembered = _Mutation(self, remember=True), _Mutation(self, remember=False)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write what happens inside to the disk at once and show it to readers; or take it back and raise."""
        if self._transaction is not None:
            yield
            return
        with self.draft() as draft:
            yield
        try:
            draft.write()
        except BaseException:
            draft.take_back()
            raise
        draft.show()

    @contextmanager
    def draft(self) -> Iterator["Draft"]:
        """Gather what happens inside, for the caller to write and then show; an error inside takes it back.

        Until it is shown or taken back there is no other.
        """
        if self._draft is not None:
            raise RuntimeError("a draft has to come to its end before the next begins")
        self._transaction = Delta()
        draft = self._draft = Draft(self, self._transaction, self._history.copy())
        try:
            yield draft
        except BaseException:
            draft.take_back()
            raise
        finally:
            self._transaction = None

    def mutation(self, *, remember: bool = True) -> AbstractContextManager[None]:
        """Take what happens inside as one mutation, which an error takes back whole; one inside another joins it."""
        if self._mutation is not None:
            return nullcontext()
        if self._transaction is None:
            return self._alone(remember)
        return self._remembered if remember else self._unremembered

    @contextmanager
    def _alone(self, remember: bool) -> Iterator[None]:
        with self.transaction(), self.mutation(remember=remember):
            yield

    def begin(self) -> None:
        """Open a mutation within the open transaction."""
        self._mutation = Delta()

    def end(self, *, whole: bool, remember: bool) -> None:
        """Close the open mutation: as part of the transaction, or as if it had never been."""
        mutation, self._mutation = self._mutation, None
        if mutation is None or self._transaction is None:
            raise RuntimeError("a mutation belongs to a transaction")
        if not whole:
            self._index.apply(mutation.inverse())
            return
        self._transaction.extend(mutation)
        if remember and mutation:
            self._history.append(mutation)

    def put(self, delta: Delta) -> None:
        """Do this now, as part of the open mutation."""
        if self._mutation is None:
            raise RuntimeError("a change belongs to a mutation")
        self._index.apply(delta)
        self._mutation.extend(delta)

    def put_in(self, id: int, time_ns: int, feature: bytes) -> int:
        """Take a new instance in now, as part of the open mutation: what `put` does, at a third of its cost.

        Returns its number: never the same again, whatever becomes of the transaction.
        """
        if self._mutation is None:
            raise RuntimeError("a change belongs to a mutation")
        number = self._next_instance
        self._next_instance = number + 1
        self._index.add(number, id)
        self._mutation.added[number] = Instance(number, id, time_ns, feature)
        return number

    def answer(self, key: bytes, answer: bytes) -> None:
        """Keep what is told to a client, with the open transaction."""
        if self._transaction is not None:
            self._transaction.answers[key] = answer

    def stored(self, number: int) -> Instance:
        """Give an instance as the open transaction left it."""
        for open_delta in (self._mutation, self._transaction):
            if open_delta is not None and number in open_delta.added:
                return open_delta.added[number]
        return self._writer.copy(number)

    @property
    def next_instance(self) -> int:
        """The number the next instance will have."""
        return self._next_instance

    def last(self) -> Delta | None:
        """Take the latest mutation that can be taken back out of the history."""
        return self._history.pop() if self._history else None

    def forget(self) -> None:
        """Let go of what could be taken back."""
        self._history.clear()

    def note(self, acts: Sequence[Act]) -> Head:
        """Put one entry into the audit log together with the open transaction, which has none yet."""
        if self._transaction is None or self._transaction.audit:
            raise RuntimeError("an entry belongs to a transaction, and a transaction has one")
        head, line = written(self._audit, acts, time.time())
        self._transaction.audit = (self._audit, head, line)
        return head

    @property
    def audit(self) -> Head:
        """The latest entry of the audit log."""
        return self._audit

    def write(self, delta: Delta) -> None:
        """Write a draft's change to the disk, in any thread. Raises StorageUnavailableError."""
        if delta and self._store is not None:
            self._store.write(delta, next_instance=self._next_instance)

    def show(self, delta: Delta) -> None:
        """Show a draft's change, which is on the disk, to readers."""
        self._draft = None
        self._forget_old()
        if not delta:
            return
        if delta.audit:
            self._audit = delta.audit[1]
        self._writer.apply(delta, next_instance=self._next_instance)

    def take_back(self, delta: Delta, history: deque[Delta]) -> None:
        """Be as before a draft, whose change is not on the disk."""
        self._draft = None
        self._index.apply(delta.inverse())
        self._history = history

    def _forget_old(self) -> None:
        while len(self._history) > _REMEMBERED:
            self._history.popleft()
        # Their features stay in memory: what clears a large gallery cannot be taken back.
        rows = sum([mutation.rows for mutation in self._history])
        while rows > _REMEMBERED_ROWS:
            rows -= self._history.popleft().rows


class Draft:
    """A transaction whose mutations are made, but which is not on the disk and which no reader sees yet."""

    def __init__(self, ledger: Ledger, delta: Delta, history: deque[Delta]):
        self._ledger, self._delta, self._history = ledger, delta, history

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._delta)

    def write(self) -> None:
        """Write it to the disk, in any thread. Raises StorageUnavailableError: then take it back."""
        self._ledger.write(self._delta)

    def show(self) -> None:
        """Show it to readers, once it is on the disk."""
        self._ledger.show(self._delta)

    def take_back(self) -> None:
        """Undo it, for it could not be written."""
        self._ledger.take_back(self._delta, self._history)


class _Mutation(AbstractContextManager[None]):
    """What `Ledger.mutation` gives. A generator would cost an enrolment as much as all the rest of it."""

    def __init__(self, ledger: Ledger, *, remember: bool):
        self._ledger, self._remember = ledger, remember

    def __enter__(self) -> None:
        self._ledger.begin()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._ledger.end(whole=kind is None, remember=self._remember)
