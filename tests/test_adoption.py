"""A user's file becomes a model folder, or nothing is left of it."""

import shutil

import numpy as np
import pytest
from fake_edgetpu import HERE as FAKES

from reidd import golden
from reidd.adoption import adopt, file_format
from reidd.engines import Accelerator, Engine
from reidd.errors import BackendUnavailableError, ConfigError
from reidd.features import Extractor
from reidd.model import ModelConfig, available
from reidd.plugins import Registry

EMBEDDED = ModelConfig.from_model_id("reidd/person")


def adopted(tmp_path, source, **options):
    file = tmp_path / source.name
    shutil.copy(source, file)
    options = {"id": "me/net", "folder": tmp_path / "models", "size": (96, 192), "licence": "MIT", **options}
    return adopt(file, registry=Registry(), **options)


@pytest.mark.parametrize(("name", "engine"), [("person.onnx", Engine.DNN), ("person_int8.tflite", Engine.TFLITE)])
def test_a_file_becomes_a_model_folder_with_golden_vectors(tmp_path, image, name, engine):
    model, pair = adopted(tmp_path, EMBEDDED.base_dir / name, swaprb=True)
    assert (pair.engine, model.extras.dim, model.extras.licence) == (engine, 256, "MIT")
    assert golden.read(model).embeddings.shape == (8, 256)
    assert model.files[0].sha256 == next(f.sha256 for f in EMBEDDED.files if f.file == name)
    with Extractor.load(model, engine, Accelerator.CPU, registry=Registry()) as extractor:
        assert extractor.features([image]).shape == (1, 256)


def test_the_folder_is_found_by_its_id(tmp_path):
    adopted(tmp_path, FAKES / "pool.tflite", size=(32, 64))
    assert available([tmp_path / "models"]) == ["me/net"]


def refusals(tmp_path):
    return sorted(p.name for p in (tmp_path / "models").rglob("*") if p.is_file())


def test_a_file_that_no_backend_runs_leaves_nothing_behind(tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\0\0\0\0TFL3" + np.random.default_rng(0).bytes(500))
    with pytest.raises(BackendUnavailableError, match=r"nothing here runs broken\.tflite"):
        adopt(broken, id="me/net", folder=tmp_path / "models", size=(8, 8), licence="MIT", registry=Registry())
    assert refusals(tmp_path) == []


def test_a_wrong_size_is_refused_with_what_the_backend_said(tmp_path):
    with pytest.raises(BackendUnavailableError, match=r"TFLITE/CPU"):
        adopted(tmp_path, FAKES / "pool.tflite", size=(16, 16))


def test_what_is_no_network_is_said_so(tmp_path):
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ConfigError, match=r"cat\.jpg: is neither a TFLite nor an ONNX file"):
        adopt(tmp_path / "cat.jpg", id="a/b", folder=tmp_path, size=(8, 8), licence="MIT", registry=Registry())


def test_an_id_that_is_taken_is_refused(tmp_path):
    adopted(tmp_path, FAKES / "pool.tflite", size=(32, 64))
    with pytest.raises(ConfigError, match="there is a model me/net already"):
        adopted(tmp_path, FAKES / "pool.tflite", size=(32, 64))


@pytest.mark.parametrize("id", ["net", "../net", "/etc/net", "a/b/c", ".a/net"])
def test_an_id_that_leads_elsewhere_is_refused(tmp_path, id):
    with pytest.raises(ConfigError, match="expected <publisher>/<name>"):
        adopted(tmp_path, FAKES / "pool.tflite", size=(32, 64), id=id)


def test_the_format_is_told_by_the_content():
    assert file_format((FAKES / "pool.tflite").read_bytes(), "x.bin") == "tflite"
    assert file_format((FAKES / "pool_edgetpu.tflite").read_bytes(), "x.tflite") == "edgetpu"
    assert file_format(b"\x08\x07", "x.onnx") == "onnx"
