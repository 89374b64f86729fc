"""Measures the gallery beside what this very machine could do at best, and beside what others do."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from reidd import confinement
from reidd.distances import unit
from reidd.gallery import tables
from reidd.gallery.audit import Act
from reidd.gallery.changes import Delta
from reidd.gallery.cipher import KEY_BYTES
from reidd.gallery.gallery import Gallery
from reidd.gallery.instance import Rows
from reidd.gallery.reader import Reader
from reidd.gallery.ring import Ring
from reidd.gallery.sketch import MANY, scanner
from reidd.gallery.store import Store

SIZES = (1_000, 10_000, 100_000)
DIM = 512
_TOP_K = 10
_SPACE = bytes(32)
_CLIENTS = 32
_BY_BYTES = "the nearest only, by bytes"
_ROUND_S = 3.0


class Figure(NamedTuple):
    """One measurement; `bar` says what is asked for, and `met` whether this run reached it."""

    what: str
    value: float
    unit: str
    bar: str = ""
    met: bool | None = None


def measured(folder: Path) -> list[Figure]:
    """Measure in a process of its own, with one thread for arithmetic; `folder` lies on the disk to be measured."""
    # The library under numpy reads this once, when it is loaded.
    one_thread = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # Here, for a process that is killed leaves its folders: in memory, 200 MB of the board's.
    with tempfile.TemporaryDirectory(prefix=f"reidd-bench-{os.getpid()}-", dir="/dev/shm") as memory:
        said = _said(str(folder), memory, environment=os.environ | one_thread)
    return [Figure(*row) for row in json.loads(said)]


def _said(*words: str, environment: Mapping[str, str]) -> bytes:
    """Run this very module to its end, or to that of this process, whichever comes first."""
    command = confinement.ending(sys.executable, "-m", "reidd.gallery.bench", *words)
    with confinement.uninterrupted():
        child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)  # noqa: S603
    with child:
        try:
            said, _ = child.communicate()
        finally:
            child.kill()
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return said


def _figures(folder: Path, memory: Path) -> Iterator[Figure]:
    features = unit(np.random.default_rng(0).normal(size=(max(SIZES), DIM)).astype(np.float32))
    for size in SIZES:
        yield from _search(memory, _rows(features[:size]))
    yield from _enrolment(folder, memory, features[:2048])
    yield from _start(folder, _rows(features))


def _rows(features: np.ndarray) -> Rows:
    n = len(features)
    return Rows(np.arange(1, n + 1, dtype=np.uint64), np.arange(n) % (n // 2), np.zeros(n, np.int64), features)


def _search(memory: Path, rows: Rows) -> Iterator[Figure]:
    size = len(rows.numbers)
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        with Ring.create(Path(folder) / "ring", dim=DIM, capacity=size, space=_SPACE) as ring:
            ring.fill(rows, next_instance=size + 1)
        reader, probe = Reader(Path(folder) / "ring"), rows.features[:1]
        block = ring.features.reshape(-1)
        words = block.view(np.uint64)
        reads: dict[str, Callable[[], object]] = {
            "sum": block.sum,
            "dot": lambda: block.dot(block),
            "max": lambda: np.max(words),
        }
        searches = {"reidd": lambda: reader.search(probe, top_k=_TOP_K), **_others(rows.features, probe)}
        if size > MANY and scanner() is not None:
            searches[_BY_BYTES] = lambda: reader.search(probe, top_k=_TOP_K, matrix=False)
        best_ms = _best_ms({**reads, **searches})
    read_ms = min(best_ms[name] for name in reads)
    share = read_ms / best_ms["reidd"]
    yield Figure(f"{size} rows: read all, one thread", block.nbytes / read_ms / 1e6, "GB/s")
    yield Figure(f"{size} rows: search, top {_TOP_K}", best_ms["reidd"], "ms")
    # Smaller galleries lie in the processor's caches, where the machine reads faster than any search computes.
    large = size >= 100_000
    yield Figure(
        f"{size} rows: share of the read speed", share, "", *(("at least 0.85", share >= 0.85) if large else ())
    )
    # The others give the nearest rows and no more: compared with the quickest of ours that does the same, as exactly.
    ours_ms = min(best_ms["reidd"], best_ms.get(_BY_BYTES, float("inf")))
    for name in searches.keys() - {"reidd"}:
        bar = ("not faster", best_ms[name] >= ours_ms) if name.startswith("faiss") and large else ()
        yield Figure(f"{size} rows: {name}", best_ms[name], "ms", *bar)


def _others(features: np.ndarray, probe: np.ndarray) -> Mapping[str, Callable[[], object]]:
    """Those of the others that are installed: `pip install reidd[bench]`."""
    others: dict[str, Callable[[], object]] = {}
    try:
        import faiss  # type: ignore[import-not-found,unused-ignore]

        faiss.omp_set_num_threads(1)
        index: Any = faiss.IndexFlatIP(DIM)
        index.add(features)
        others["faiss IndexFlatIP"] = lambda: index.search(probe, _TOP_K)
    except ImportError:
        pass
    try:
        from usearch.index import MetricKind, search  # type: ignore[import-not-found,attr-defined,unused-ignore]

        others["usearch exact"] = lambda: search(features, probe[0], _TOP_K, MetricKind.IP, exact=True, threads=1)
    except ImportError:
        pass
    return others


def _best_ms(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Time calls in turn, so that what else the machine does hits all of them, and take the best of each."""
    best = dict.fromkeys(calls, float("inf"))
    until = time.monotonic() + _ROUND_S
    while time.monotonic() < until:
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            best[name] = min(best[name], (time.perf_counter() - began) * 1000)
    return best


def _enrolment(folder: Path, memory: Path, features: np.ndarray) -> Iterator[Figure]:
    """Compare durable enrolment with the same rows in a bare table under the same settings, in turn."""
    for clients in (1, _CLIENTS):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            took_s = _enrolled(Path(place), memory, features, clients)
        yield Figure(f"enrol, {clients} at once", clients / took_s["plain"], "rows/s")
        if "encrypted" in took_s:
            yield Figure(f"enrol, {clients} at once, encrypted", clients / took_s["encrypted"], "rows/s")
        yield Figure(f"enrol, {clients} at once, bare SQLite", clients / took_s["bare"], "rows/s")
        share = took_s["bare"] / took_s["plain"]
        bar = ("at least 0.60", share >= 0.60) if clients > 1 else ()
        yield Figure(f"enrol, {clients} at once: share of bare SQLite", share, "", *bar)


def _enrolled(folder: Path, memory: Path, features: np.ndarray, per_transaction: int) -> Mapping[str, float]:
    """Give the median seconds of a transaction: of a gallery, of one with a key, and of a bare table."""
    keys = {"plain": None} | ({"encrypted": bytes(KEY_BYTES)} if find_spec("cryptography") else {})
    took_s: dict[str, list[float]] = {name: [] for name in (*keys, "bare")}
    with ExitStack() as stack:
        # In shared memory, as the daemon's.
        shared = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory)))
        bare = stack.enter_context(closing(tables.connect(folder / "bare")))
        galleries = {
            name: stack.enter_context(
                Gallery.open(
                    dim=DIM,
                    space=_SPACE,
                    capacity=len(features),
                    ring_path=shared / name,
                    store_path=folder / name,
                    key=key,
                )
            )
            for name, key in keys.items()
        }
        for start in range(0, len(features), per_transaction):
            rows = range(start, start + per_transaction)
            # In the processor's caches, as what a socket has just given; else who is first fetches them for the others.
            features[rows.start : rows.stop].sum()
            for name, gallery in galleries.items():
                began = time.perf_counter()
                _enrol(gallery, features, rows)
                took_s[name].append(time.perf_counter() - began)
            began = time.perf_counter()
            bare.execute("BEGIN IMMEDIATE")
            values = ((row + 1, row, 0, 0, features[row].tobytes()) for row in rows)
            bare.executemany("INSERT INTO instances VALUES (?, ?, ?, ?, ?)", values)
            bare.execute("COMMIT")
            took_s["bare"].append(time.perf_counter() - began)
    return {name: float(np.median(times_s)) for name, times_s in took_s.items()}


def _enrol(gallery: Gallery, features: np.ndarray, rows: range) -> None:
    with gallery.transaction():
        for row in rows:
            gallery.add(row, features[row : row + 1])
        # As the daemon does: one entry for all of them.
        gallery.note([Act(who="uid 1000", what="add_to_gallery", id=row, added=1) for row in rows])


def _start(folder: Path, rows: Rows) -> Iterator[Figure]:
    """Measure in a fresh process, for this one's memory is full of features."""
    size = len(rows.numbers)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        _stored(Path(place) / "store", rows, _SPACE)
        took_s = json.loads(_said("--start", place, str(size), environment=os.environ))
        stored = (Path(place) / "store").stat().st_size
    yield Figure(f"{size} rows: gallery opened, all checked", took_s, "s")
    yield Figure(f"{size} rows: on disk, per row", stored / size, "bytes")


def _started(folder: Path, size: int) -> float:
    began = time.perf_counter()
    with Gallery.open(dim=DIM, space=_SPACE, capacity=size, store_path=folder / "store"):
        return time.perf_counter() - began


def filled(store_path: Path, size: int, *, dim: int, space: bytes) -> None:
    """Write a store of random features, two of each id."""
    _stored(store_path, _rows(unit(np.random.default_rng(0).normal(size=(size, dim)).astype(np.float32))), space)


def _stored(store_path: Path, rows: Rows, space: bytes) -> None:
    store = Store(store_path, dim=rows.features.shape[1], space=space)
    store.load()
    store.write(Delta(added={row.number: row for row in rows.instances()}), next_instance=len(rows.numbers) + 1)
    store.close()


if __name__ == "__main__":
    if sys.argv[1] == "--start":
        json.dump(_started(Path(sys.argv[2]), int(sys.argv[3])), sys.stdout)
    else:
        json.dump(list(_figures(Path(sys.argv[1]), Path(sys.argv[2]))), sys.stdout)
