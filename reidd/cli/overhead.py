"""What asking a daemon costs beside asking in process: one image at a time, and as many as go through."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, NamedTuple

import numpy as np

from reidd import confinement, places
from reidd.cli.private_daemon import private_daemon
from reidd.client import Client
from reidd.engines import Accelerator, Engine
from reidd.errors import BackendUnavailableError
from reidd.gallery.bench import Figure
from reidd.identifier import Identifier
from reidd.reidentification import ReIdentification

CLIENTS = 8
INSTANCES_PER_ID = 50
LEAST_CAPACITY = 10_000


class Setup(NamedTuple):
    """What is compared: one model, a gallery of so many rows, and so many processes that run the network."""

    model: str
    rows: int
    workers: int
    threads: int

    @property
    def capacity(self) -> int:
        """Instances that either gallery holds."""
        return max(self.rows, LEAST_CAPACITY)


class Asker:
    """A process that asks about one image again and again: a daemon, or the network in itself."""

    def __init__(self, setup: Setup, *, pair: Sequence[str] = (), endpoint: str = ""):
        orders = json.dumps([setup, pair, endpoint])
        with confinement.uninterrupted():
            self._process = subprocess.Popen(  # noqa: S603  (this very module)
                [sys.executable, "-m", __name__, orders], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdin and self._process.stdout  # noqa: S101
        self._orders: IO[str] = self._process.stdin
        self._counts: IO[str] = self._process.stdout

    def begin(self, seconds: float) -> None:
        """Have it ask for so long."""
        self._orders.write(f"{seconds}\n")
        self._orders.flush()

    def count(self) -> int:
        """How many answers it got since it began."""
        if not (line := self._counts.readline()):
            raise BackendUnavailableError("a process that asks has ended; what it wrote above says why")
        return int(line)

    def close(self) -> None:
        """End the process."""
        # It may be in the middle of a round that nobody waits for any more.
        self._process.terminate()
        self._orders.close()
        self._process.wait()
        self._counts.close()


class Comparison:
    """A daemon, and the same network and gallery in this process and in as many others as the daemon has workers."""

    def __init__(self, setup: Setup, here: Identifier, there: Identifier, loops: list[Asker], clients: list[Asker]):
        self._identifiers, self._crowds = (here, there), (loops, clients)
        self._setup, self._image = setup, sample_image()
        self._took_ms: list[list[float]] = []
        self._per_s: list[list[float]] = []

    def ask_in_turn(self) -> None:
        """Ask about one image in this process, and then the daemon."""
        self._took_ms.append([_took_ms(identifier, self._image) for identifier in self._identifiers])

    def rush(self, seconds: float) -> None:
        """Let the loops in process run for so long, and then the daemon's clients."""
        self._per_s.append([_per_s(crowd, seconds) for crowd in self._crowds])

    @property
    def took_ms(self) -> tuple[float, float]:
        """The median of one image in process, and through the daemon."""
        here, there = np.median(self._took_ms, axis=0).tolist()
        return here, there

    @property
    def per_s(self) -> tuple[float, float]:
        """The median of images a second of the loops in process, and through the daemon."""
        loops, clients = np.median(self._per_s, axis=0).tolist()
        return loops, clients

    def figures(self) -> Iterator[Figure]:
        """All that was measured."""
        (here_ms, there_ms), (loops, clients) = self.took_ms, self.per_s
        ratio, share = there_ms / here_ms, clients / loops
        yield Figure("in process, p50", here_ms, "ms")
        yield Figure("one client of a daemon, p50", there_ms, "ms")
        yield Figure("ratio", ratio, "", "at most 1.15", ratio <= 1.15)
        yield Figure(f"in process, loops: {self._setup.workers}", loops, "images/s")
        yield Figure(f"{CLIENTS} clients of a daemon, workers: {self._setup.workers}", clients, "images/s")
        yield Figure("share", share, "", "at least 0.85", share >= 0.85)


@contextmanager
def comparison(setup: Setup) -> Iterator[Comparison]:
    """Start all processes and fill all galleries."""
    settings = {"workers": setup.workers, "threads": setup.threads, "capacity": setup.capacity}
    with ExitStack() as stack:
        there = stack.enter_context(private_daemon(setup.model, settings=settings))
        if there.engine is None or there.accelerator is None:
            raise BackendUnavailableError("the private daemon lost its backend; `reidd doctor` looks closer")
        pair = (there.engine, there.accelerator)
        here = stack.enter_context(_in_process(setup, *pair))
        _fill(there, setup.rows)
        loops = [Asker(setup, pair=pair) for _ in range(setup.workers)]
        clients = [Asker(setup, endpoint=there.endpoint) for _ in range(CLIENTS)]
        for asker in (*loops, *clients):
            stack.callback(asker.close)
        for asker in (*loops, *clients):
            asker.count()
        yield Comparison(setup, here, there, loops, clients)


def sample_image() -> bytes:
    """A person on a JPEG, as a camera's tracker cuts one out."""
    return sorted((places.sample_folder() / "queries").glob("*.jpg"))[0].read_bytes()


def _in_process(setup: Setup, engine: Engine, accelerator: Accelerator) -> ReIdentification:
    made = ReIdentification(setup.model, capacity=setup.capacity, threads=setup.threads)
    made.load(engine, accelerator)
    _fill(made, setup.rows)
    return made


def _fill(identifier: Identifier, rows: int) -> None:
    dim = identifier.extract_features(sample_image()).shape[1]
    features = np.random.default_rng(0).normal(size=(rows, dim)).astype(np.float32)
    for at in range(0, rows, INSTANCES_PER_ID):
        identifier.add_features_to_gallery(features[at : at + INSTANCES_PER_ID], at)


def _took_ms(identifier: Identifier, image: bytes) -> float:
    start = time.perf_counter()
    identifier.re_id_image(image)
    return 1000 * (time.perf_counter() - start)


def _per_s(crowd: Sequence[Asker], seconds: float) -> float:
    for asker in crowd:
        asker.begin(seconds)
    return sum(asker.count() for asker in crowd) / seconds


def _pair(names: Sequence[str]) -> tuple[Engine, Accelerator]:
    engine, accelerator = names
    return Engine(engine), Accelerator(accelerator)


def _tell(count: int) -> None:
    sys.stdout.write(f"{count}\n")
    sys.stdout.flush()


def main() -> None:
    """Ask for as many seconds as each line on standard input says: what `Asker` starts."""
    setup, pair, endpoint = json.loads(sys.argv[1])
    image = sample_image()
    with Client(endpoint) if endpoint else _in_process(Setup(*setup), *_pair(pair)) as identifier:
        identifier.re_id_image(image)
        _tell(1)
        for line in sys.stdin:
            until, count = time.monotonic() + float(line), 0
            while time.monotonic() < until:
                identifier.re_id_image(image)
                count += 1
            _tell(count)


if __name__ == "__main__":
    main()
