"""Mixed load: clients that ask, learn, come and go, and speak nonsense; each outcome is counted, each surprise kept."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import zmtp
from subjects import Daemon, crops

import reidd
from reidd import ReiddError

PAUSE_S = 0.02
IDS = range(100, 140)
KEPT_PER_ID = 5
BAD_IMAGES = (b"", b"hello", b"\xff\xd8\xff\xe0" + bytes(40), b"\x89PNG\r\n\x1a\n" + bytes(40))


@dataclass
class Load:
    """Five kinds of clients, each in a thread of its own."""

    daemon: Daemon
    counts: Counter = field(default_factory=Counter)
    surprises: list[tuple[float, str]] = field(default_factory=list)
    """When, and what: outcomes that no bad input explains."""
    slowest_s: float = 0.0

    def __post_init__(self):
        self.images = [cv2.imencode(".jpg", image)[1].tobytes() for _, image in crops("gallery")]
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._stop.clear()
        kinds = (self._ask, self._ask, self._learn, self._come_and_go, self._send_bad_input, self._speak_nonsense)
        self._threads = [threading.Thread(target=self._repeat, args=(kind,)) for kind in kinds]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all clients, with their connections."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _repeat(self, kind: Callable) -> None:
        chance = random.Random(kind.__name__)
        with self.daemon.client(timeout=20) as client:
            while not self._stop.wait(PAUSE_S):
                started = time.monotonic()
                try:
                    kind(client, chance)
                except ReiddError as error:
                    self.surprises.append((time.monotonic(), f"{kind.__name__}: {error.code}: {error}"))
                except OSError as error:
                    self.counts[f"{kind.__name__}: {type(error).__name__}"] += 1
                else:
                    self.counts[kind.__name__] += 1
                self.slowest_s = max(self.slowest_s, time.monotonic() - started)

    def _ask(self, client: reidd.Client, chance: random.Random) -> None:
        number = chance.randrange(len(self.images))
        predictions = client.re_id_image(self.images[number], top_k=3).predictions
        if predictions[0].id != number:
            self.surprises.append((time.monotonic(), f"image {number} was taken for {predictions[0]}"))

    def _learn(self, client: reidd.Client, chance: random.Random) -> None:
        """Ids come, are labelled, and go: their number stays the same in the long run."""
        id = chance.choice(IDS)
        noise = np.frombuffer(chance.randbytes(64 * 32 * 3), np.uint8).reshape(64, 32, 3)
        client.add_to_gallery(noise, id)
        client.set_label(id, f"somebody {id}")
        if client.count() > 3 * len(IDS):
            client.remove_from_gallery(chance.choice([other for other in client.ids() if other >= IDS.start]))

    def _come_and_go(self, _: reidd.Client, chance: random.Random) -> None:
        with self.daemon.client(timeout=20) as passing:
            passing.status() if chance.random() < 0.5 else passing.events()

    def _send_bad_input(self, client: reidd.Client, chance: random.Random) -> None:
        for wrong, code in (
            (lambda: client.re_id_image(chance.choice(BAD_IMAGES)), "bad-image"),
            (lambda: client.remove_from_gallery(9999), "unknown-id"),
            (lambda: client.set_ttl(-1), "bad-request"),
        ):
            try:
                wrong()
            except ReiddError as error:
                if error.code != code:
                    raise
                self.counts[code] += 1
            else:
                self.surprises.append((time.monotonic(), f"what is {code} was taken"))

    def _speak_nonsense(self, _: reidd.Client, chance: random.Random) -> None:
        with zmtp.greeted(self.daemon.endpoint.removeprefix("ipc://")) as session:
            session.sendall(zmtp.frame(b"", more=True) + zmtp.frame(chance.randbytes(chance.randrange(1, 2000))))
            session.sendall(chance.randbytes(50))


def prepare(load: Load) -> None:
    """Teach the daemon who is to be asked about: each image is an id of its own."""
    with load.daemon.client(timeout=60) as client:
        client.set_per_id_gallery_limit(KEPT_PER_ID, "drop_oldest")
        for id, image in enumerate(load.images):
            client.add_to_gallery(image, id)
