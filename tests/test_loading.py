"""What a worker says of the pairs that it could not load."""

import msgspec

from reidd.daemon.loading import load_first
from reidd.engines import Accelerator, Engine
from reidd.errors import BackendUnavailableError
from reidd.features import Extractor
from reidd.model import ModelConfig
from reidd.plugins import Registry


def test_a_runtimes_words_in_no_encoding_reach_the_core(monkeypatch):
    def refused(*_, **__):
        raise BackendUnavailableError("no firmware\n\tin /opt/\udcff")

    monkeypatch.setattr(Extractor, "load", refused)
    model, pair = ModelConfig.from_model_id("reidd/person"), (Engine.HAILO_RT, Accelerator.HAILO)
    found = load_first(model, [pair], registry=Registry([]), threads=1, trying=lambda _: None)
    assert msgspec.json.decode(msgspec.json.encode(found))[0]["reason"] == r"no firmware in /opt/\udcff"
