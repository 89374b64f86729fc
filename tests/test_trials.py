"""A throw-away process gives an answer or a reason, whatever a plugin does in it."""

import numpy as np
import pytest
from plugged import installed

from reidd import golden, trials
from reidd.engines import Accelerator, Engine
from reidd.errors import BackendError
from reidd.model import ModelConfig

PLUGIN = """
import atexit, ctypes, os, sys, threading, time
from reidd_opencv import OpenCV
from reidd.engines import Accelerator, Engine
from reidd.plugins import hookimpl

class Odd(OpenCV):
    engine = Engine.HAILO_RT
    accelerators = (Accelerator.CPU,)

    @classmethod
    def load(cls, model, accelerator, *, threads):
        {does}
        return super().load(model, accelerator, threads=threads)

@hookimpl
def reidd_backends():
    return [Odd]
"""


@pytest.fixture
def examined(tmp_path, monkeypatch):
    """Examine the embedded model with a plugin that does something when it loads it."""

    def examine(does):
        installed(tmp_path, monkeypatch, "odd", PLUGIN.format(does=does))
        model = ModelConfig.from_model_id("reidd/person")
        return trials.examine(model, model.file(frozenset({"onnx"})), Engine.HAILO_RT, Accelerator.CPU)

    return examine


@pytest.mark.parametrize(
    "does",
    [
        "print('Runtime 1.0', flush=True)",
        "ctypes.CDLL(None).printf(b'Runtime 1.0\\n')",
        "os.fork() or (time.sleep(30), os._exit(0))",
        "threading.Thread(target=time.sleep, args=(60,)).start()",
        "atexit.register(os.abort)",
    ],
)
def test_what_a_runtime_prints_or_leaves_behind_does_not_matter(examined, monkeypatch, does):
    monkeypatch.setattr(trials, "LIMIT_S", 20.0)
    assert examined(does).worst_cosine > 0.999


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("raise SystemExit(0)", "HAILO_RT/CPU cannot run it: SystemExit: 0"),
        ("os._exit(0)", r"HAILO_RT/CPU ended its process \(status 0\) on reidd/person: no reason given"),
        ("os.write(2, b'no licence\\n'); os._exit(3)", r"ended its process \(status 3\) on reidd/person: no licence"),
        ("os.kill(os.getpid(), 40)", r"HAILO_RT/CPU crashed \(signal 40\) on reidd/person"),
        (
            "atexit.register(print, 'leaked 3 buffers', file=sys.stderr); raise OSError('old\\n firmware')",
            "HAILO_RT/CPU cannot run it: OSError: old firmware",
        ),
    ],
)
def test_a_runtime_that_ends_the_process_gets_a_reason(examined, does, reason):
    with pytest.raises(BackendError, match=reason):
        examined(does)


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("return None", "HAILO_RT/CPU cannot run it: TypeError: Odd.load returned None; expected a Backend"),
        ("cls.remark = None", "HAILO_RT/CPU cannot run it: TypeError: remark is None; expected words, or ''"),
    ],
)
def test_a_plugin_that_gives_another_thing_than_it_should_gets_a_reason(examined, does, reason):
    with pytest.raises(BackendError, match=reason):
        examined(does)


def test_no_backend_gets_more_images_at_once_than_a_request_has(tmp_path, monkeypatch):
    does = "infer = cls.infer; cls.infer = lambda self, batch: infer(self, batch[:64])"
    installed(tmp_path, monkeypatch, "odd", PLUGIN.format(does=does))
    model = ModelConfig.from_model_id("reidd/person")
    batch = np.resize(golden.batch(golden.read(model).crops, model), (130, 192, 96, 3))
    trial = trials.run(model, model.files[0], Engine.HAILO_RT, Accelerator.CPU, batch)
    assert trial.outputs.shape == (130, 256)
