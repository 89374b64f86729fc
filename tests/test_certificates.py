"""What was measured of a model's pairs decides which of them may share a gallery."""

import json
import shutil

import numpy as np
import pytest
from fake_edgetpu import FakeEdgeTPU, write_model

from reidd import certificates, golden
from reidd.certificates import Certificate, PairFigures
from reidd.engines import Accelerator, Engine
from reidd.errors import BackendUnavailableError, ConfigError
from reidd.features import Extractor
from reidd.model import ModelConfig
from reidd.plugins import Registry
from reidd.verification import RANK_AGREEMENT, candidates, rank_agreement, verify


@pytest.fixture
def model(tmp_path) -> ModelConfig:
    """The embedded model, in a folder that may be written to."""
    shutil.copytree(ModelConfig.from_model_id("reidd/person").base_dir, tmp_path / "person")
    return ModelConfig(tmp_path / "person" / "alwaysai.model.json")


def certificate(model: ModelConfig, **changes) -> Certificate:
    file = model.file(frozenset({"tflite"}))
    figures = {
        "engine": Engine.TFLITE, "accelerator": Accelerator.CPU, "file": file.file, "sha256": file.sha256,
        "mean_cosine": 0.99, "worst_cosine": 0.93, "rank_agreement": 0.9, "ms": 1.0, "agrees": False,
    }  # fmt: skip
    pairs = [PairFigures(**{**figures, **changes})]
    return Certificate(model.id, "2026-11-23", "x86_64", {}, 40, golden.WORST_COSINE, "DNN/CPU", pairs)


def load(model):
    return Extractor.load(model, Engine.TFLITE, Accelerator.CPU, registry=Registry())


def test_every_pair_and_file_of_the_embedded_model_agrees(model, gallery_crops):
    measured = verify(model, [image for _, image in gallery_crops], registry=Registry())
    assert measured.reference == "DNN/CPU"
    assert {p.file for p in measured.pairs} == {"person.onnx", "person_fp32.tflite", "person_int8.tflite"}
    assert all(p.agrees and p.worst_cosine > 0.99 and p.ms > 0 for p in measured.pairs)
    assert measured.versions["reidd"]
    assert any(p.remark == "XNNPACK runs 50 of 50 layers" for p in measured.pairs)
    assert not measured.failures


def test_a_file_of_another_network_is_found_out(model, gallery_crops):
    path = model.base_dir / "alwaysai.model.json"
    document = json.loads(path.read_text())
    document["model_parameters"]["scalefactor"] = 0.01  # as when one file was converted for other pixels
    path.write_text(json.dumps(document))
    images = [image for _, image in gallery_crops]
    int8 = next(p for p in verify(ModelConfig(path), images, registry=Registry()).pairs if "int8" in p.file)
    assert not int8.agrees
    assert int8.rank_agreement < 0.9


def test_images_that_follow_one_another_may_change_places():
    # Five of each of eight things, hardly different.
    rng = np.random.default_rng(0)
    things = np.repeat(rng.standard_normal((8, 64)), 5, axis=0)
    reference = things + 0.05 * rng.standard_normal(things.shape)
    rounded = reference + 0.05 * rng.standard_normal(things.shape)
    assert rank_agreement(rounded, reference) == 1
    assert rank_agreement(np.roll(reference, 3, axis=0), reference) < RANK_AGREEMENT
    assert rank_agreement(reference, reference) == rank_agreement(reference[:1], reference[:1]) == 1


def test_a_certificate_is_read_back_as_it_was_written(model):
    written = certificate(model)
    path = certificates.write(model, written)
    assert path.name == "certificate.json"
    assert certificates.read(model) == written


def test_a_model_that_was_never_verified_has_none(model):
    assert certificates.read(model) is None
    load(model).close()


def test_a_broken_certificate_says_what_to_do(model):
    (model.base_dir / "certificate.json").write_text("{}")
    with pytest.raises(ConfigError, match="run `reidd models verify reidd/person`"):
        certificates.read(model)


def test_a_pair_that_differs_is_kept_apart_with_an_error_that_says_so(model):
    certificates.write(model, certificate(model))
    with pytest.raises(
        BackendUnavailableError, match=r"differ from those of DNN/CPU: worst cosine 0\.930 \(bar 0\.98\)"
    ) as told:
        load(model)
    assert "`reidd models verify reidd/person` measures anew" in str(told.value)


@pytest.mark.parametrize("changes", [{"sha256": "0" * 64}, {"accelerator": Accelerator.EDGE_TPU}, {"agrees": True}])
def test_what_was_measured_of_something_else_keeps_nobody_apart(model, changes):
    certificates.write(model, certificate(model, **changes))
    load(model).close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_pair_that_lies_is_a_failure_in_the_certificate_and_breaks_it_not(tmp_path, gallery_crops, monkeypatch):
    stick = FakeEdgeTPU(tmp_path)
    for name, value in stick.env.items():
        monkeypatch.setenv(name, value)
    stick.behave("nan")
    lying = ModelConfig(write_model(tmp_path / "models" / "test" / "float", edgetpu="pool_edgetpu_float.tflite"))
    measured = verify(lying, [image for _, image in gallery_crops], registry=Registry())
    assert [(f.file, "NaN" in f.reason) for f in measured.failures] == [("pool_edgetpu_float.tflite", True)]
    certificates.write(lying, measured)
    assert certificates.read(lying) == measured


def test_candidates_are_ready_pairs_with_each_file_they_read(model):
    found = {(str(pair.engine), file.file) for pair, file in candidates(model, Registry())}
    assert {("DNN", "person.onnx"), ("TFLITE", "person_int8.tflite")} <= found
