"""What becomes of a worker's reply."""

import weakref

import numpy as np

from reidd import protocol
from reidd.daemon.batch import Errand
from reidd.daemon.envelope import Caller
from reidd.daemon.jobs import Job, Outcome
from reidd.daemon.orders import Ready
from reidd.daemon.outcomes import answer_or_errand
from reidd.engines import Accelerator, Engine

SERVED = Ready((Engine.TFLITE, Accelerator.DEFAULT), Engine.TFLITE, Accelerator.CPU, 8, 0.01)


def test_what_waits_for_the_disk_knows_its_pair_and_holds_no_image():
    request = protocol.AddToGallery(id=7, parts=[protocol.Encoded()])
    job = Job(Caller((b"somebody", b"")), request, b"header", [b"image"], until=1.0)
    held = weakref.ref(job)
    reply = [protocol.encode(protocol.Array(shape=(1, 8))), bytes(32)]
    errand = answer_or_errand(Outcome(job, reply, SERVED), reply, list)
    del job
    assert isinstance(errand, Errand)
    assert np.array_equal(errand.features, np.zeros((1, 8), np.float32))
    assert errand.pair["accelerator"] is Accelerator.CPU
    assert held() is None
