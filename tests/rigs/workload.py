"""Mutations that can be done again: the n-th transaction is always the same, so a list says what must be stored."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np
from galleries import labels_of

from reidd.errors import StorageUnavailableError, UnknownIdError
from reidd.gallery import Gallery, key

DIM = 16
CAPACITY = 200
IDS = 20


def opened(folder: Path | None) -> Gallery:
    """Open the gallery whose store is in a folder, with the keys beside it, or one in memory."""
    path, keys = None, {}
    if folder is not None:
        path = folder / "store"
        keys = {name: key.read(folder / name) for name in ("key", "old_key") if (folder / name).exists()}
    return Gallery.open(dim=DIM, space=bytes(32), capacity=CAPACITY, store_path=path, **keys)


def change_key(folder: Path) -> None:
    """Put a new key beside a store, which the next that opens it encrypts it with."""
    if (folder / "key").exists():
        (folder / "key").replace(folder / "old_key")
    key.new(folder / "key")


def transact(gallery: Gallery, n: int) -> None:
    """Do the n-th transaction: up to four mutations."""
    random = Random(n)
    features = np.random.default_rng(n).normal(size=(3, DIM)).astype(np.float32)
    with gallery.transaction():
        if n == 0:
            gallery.set_limit(6, "drop_oldest")
        gallery.add(random.randrange(IDS), features[: random.randint(1, 3)])
        if random.random() < 0.3:
            _if_known(gallery.remove, random.randrange(IDS))
        if random.random() < 0.3:
            _if_known(gallery.set_label, random.randrange(IDS), f"label {n}")
        if random.random() < 0.2:
            _if_known(gallery.merge, random.randrange(IDS), random.randrange(IDS))


def _if_known(mutate: Callable[..., object], *arguments: object) -> None:
    try:
        mutate(*arguments)
    except UnknownIdError:
        return


def state(gallery: Gallery) -> tuple[object, ...]:
    """Give everything a gallery holds, oldest first, comparable.

    Without the instance numbers: a transaction that fails and is tried again uses up some.
    """
    rows = gallery.reader.rows(limit=CAPACITY)
    return rows.ids.tolist(), rows.features.tobytes(), labels_of(gallery), gallery.limit


class Oracle:
    """The gallery as it must be after so many transactions."""

    def __init__(self) -> None:
        self._gallery, self.done = opened(None), 0

    def advance(self, to: int) -> tuple[object, ...]:
        """Do transactions until `to` of them are done, and give the state."""
        while self.done < to:
            transact(self._gallery, self.done)
            self.done += 1
        return state(self._gallery)

    def agrees(self, found: tuple[object, ...], *, acknowledged: int) -> bool:
        """Whether that is the state after what was acknowledged, or after the one in flight as well."""
        return any(self.advance(acknowledged + more) == found for more in (0, 1))


def copied(folder: Path, to: Path) -> Path:
    """Copy a store's files as they lie there, so that looking at them repairs nothing."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to)
    return to


def work(folder: Path, first: int, acknowledge: Callable[[int], object], *, until: int | None = None) -> None:
    """Do transactions and acknowledge each with the number of those done; what fails is tried again."""
    with opened(folder) as gallery:
        n = first
        while until is None or n < until:
            try:
                transact(gallery, n)
            except StorageUnavailableError:
                time.sleep(0.001)
                continue
            n += 1
            acknowledge(n)


def number(text: str, default: int) -> int:
    """Give the last number that was acknowledged, of those written whole."""
    return int((text.split("\n")[:-1] or [default])[-1])


def forked(job: Callable[[int], object]) -> tuple[int, int]:
    """Run a job in a child, which gets the pipe to write to; returns its process id and the pipe to read."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writable)
        return pid, readable
    code = 1
    try:
        os.close(readable)
        job(writable)
        code = 0
    finally:
        os._exit(code)


def lines(pipe: int) -> Iterator[str]:
    """Give what comes through a pipe until its writer is gone."""
    with os.fdopen(pipe) as file:
        yield from file
