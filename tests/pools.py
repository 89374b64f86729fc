"""A pool of real workers on a stand-in for an Edge TPU, and what the server does for it."""

import os
import select
import socket
import time

import cv2
import numpy as np

from reidd import protocol
from reidd.daemon.envelope import Caller
from reidd.daemon.jobs import Job
from reidd.daemon.ladder import Rung
from reidd.daemon.orders import Orders
from reidd.daemon.patience import Patience
from reidd.daemon.pipes import CoreEnd, WorkerEnd
from reidd.daemon.pool import Pool
from reidd.engines import Accelerator, Engine
from reidd.errors import ReiddError
from reidd.gallery import Gallery

STICK = (Engine.TFLITE, Accelerator.EDGE_TPU)
LITE = (Engine.TFLITE, Accelerator.CPU)
HANG_S = 0.4


class Rig:
    """A pool and what the server does for it: a loop."""

    def __init__(self, stick, folder, pairs, size=1, **options):
        self.stick = stick
        ring = folder / "ring"
        self.gallery = Gallery.open(dim=96, space=bytes(32), capacity=10, ring_path=ring)

        def orders(identity, offered, pipe):
            return Orders(identity, os.getpid(), pipe, str(ring), str(stick.model), list(offered), 1)

        options = {"patience": Patience(HANG_S), "max_pause_s": 0.5, **options}
        self.pool = Pool(orders, size, [Rung(pair) for pair in pairs], **options)
        self.outcomes = []
        self.idle_pipes = []
        self.shifts = []

    def turn(self):
        if select.select([self.pool], [], [], 0.005)[0]:
            self.outcomes += self.pool.receive()
        self.outcomes += self.pool.tick()
        self.shifts += [((s.ready.engine, s.ready.accelerator), s.degraded) for s in self.pool.shifts()]

    def until(self, condition, within_s=20.0):
        end = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end, f"not so within {within_s} s; {self.pool.records()}"
            self.turn()
        return self

    def pids(self, pair=None):
        return [w.process.pid for w in self.pool._crew.working() if pair in (None, w.pair)]

    def on(self, pair, workers=1):
        return lambda: len(self.pids(pair)) >= workers

    def job(self, image=None, within_s=2.0, client="c", images=1):
        frame = cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (64, 32, 3), np.uint8))[1].tobytes()
        request = protocol.ExtractFeatures(request="r", parts=[protocol.Encoded()] * images)
        frames = [frame if image is None else image] * images
        return Job(Caller((client.encode(),)), request, protocol.encode(request), frames, time.monotonic() + within_s)

    def ask(self, **options):
        """Have one request answered: its outcome, and how long it took."""
        start = time.monotonic()
        self.pool.submit(self.job(**options))
        self.until(lambda: self.outcomes)
        return self.outcomes.pop(), time.monotonic() - start

    def in_place_of(self, worker):
        """The worker's end of a pipe that the core takes for this worker's."""
        ours, theirs = socket.socketpair()
        crew = self.pool._crew
        del crew._workers[worker.pipe.fileno()]
        self.idle_pipes.append(worker.pipe)  # closed, the real worker would end
        worker.pipe = CoreEnd(ours, crew.watch)
        crew._workers[worker.pipe.fileno()] = worker
        self.idle_pipes.append(WorkerEnd(theirs.detach()))
        return self.idle_pipes[-1]

    def close(self):
        self.pool.stop()
        for pipe in self.idle_pipes:
            pipe.close()
        self.gallery.close()


def pair_of(outcome):
    assert not isinstance(outcome.reply, ReiddError), outcome.reply
    return outcome.served.engine, outcome.served.accelerator


def with_reserve(built):
    """Wait until the stick is at work and its reserve has loaded."""
    return built.until(lambda: built.on(STICK)() and built.on(LITE)())
