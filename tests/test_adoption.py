"""A user's file becomes a model folder, or nothing is left of it."""

import json
import shutil

import numpy as np
import pytest
from fake_edgetpu import HERE as FAKES
from reidd_opencv import OpenCV
from subjects import crops

from reidd import golden
from reidd.adoption import adopt, extend, file_format
from reidd.engines import Accelerator, Engine
from reidd.errors import BackendError, BackendUnavailableError, ConfigError
from reidd.features import Extractor
from reidd.model import ModelConfig, available
from reidd.plugins import Registry

EMBEDDED = ModelConfig.from_model_id("reidd/person")


IMAGES = [image for _, image in crops("gallery")]


def adopted(tmp_path, source, **options):
    """A copy of a file made a model folder: the model, and the pair that ran it."""
    file = tmp_path / source.name
    shutil.copy(source, file)
    options = {"id": "me/net", "folder": tmp_path / "models", "size": (96, 192), "licence": "MIT", **options}
    return adopt(file, registry=Registry(), images=IMAGES, **options)


@pytest.mark.parametrize(("name", "engine"), [("person.onnx", Engine.DNN), ("person_int8.tflite", Engine.TFLITE)])
def test_a_file_becomes_a_model_folder_with_golden_vectors(tmp_path, image, name, engine):
    model, pair, network = adopted(tmp_path, EMBEDDED.base_dir / name, swaprb=True)
    assert network in ("cut", "Operation not permitted")
    assert (pair.engine, model.extras.dim, model.extras.licence) == (engine, 256, "MIT")
    assert golden.read(model).embeddings.shape == (8, 256)
    assert model.files[0].sha256 == next(f.sha256 for f in EMBEDDED.files if f.file == name)
    with Extractor.load(model, engine, Accelerator.CPU, registry=Registry()) as extractor:
        assert extractor.features([image]).shape == (1, 256)


def test_the_folder_is_found_by_its_id(tmp_path):
    adopted(tmp_path, FAKES / "pool.tflite", size=(32, 64))
    assert available([tmp_path / "models"]) == ["me/net"]


def test_a_folder_in_the_making_is_no_model(tmp_path):
    adopted(tmp_path, FAKES / "pool.tflite", size=(32, 64))
    shutil.copytree(tmp_path / "models/me/net", tmp_path / "models/me/.new-a1b2c3")
    assert available([tmp_path / "models"]) == ["me/net"]


def left_files(tmp_path):
    return sorted(p.name for p in (tmp_path / "models").rglob("*") if p.is_file())


def test_a_file_that_no_backend_runs_leaves_nothing_behind(tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\0\0\0\0TFL3" + np.random.default_rng(0).bytes(500))
    with pytest.raises(BackendUnavailableError, match=r"nothing here runs broken\.tflite"):
        adopt(
            broken,
            id="me/net",
            folder=tmp_path / "models",
            size=(8, 8),
            licence="MIT",
            registry=Registry(),
            images=IMAGES,
        )
    assert left_files(tmp_path) == []


def test_a_wrong_size_is_refused_with_what_the_backend_said(tmp_path):
    with pytest.raises(BackendUnavailableError, match=r"TFLITE/CPU"):
        adopted(tmp_path, FAKES / "pool.tflite", size=(16, 16))


def test_what_is_no_network_is_said_so(tmp_path):
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ConfigError, match=r"cat\.jpg: is no TFLite file, and none that a plugin here reads \(onnx\)"):
        adopt(
            tmp_path / "cat.jpg",
            id="a/b",
            folder=tmp_path,
            size=(8, 8),
            licence="MIT",
            registry=Registry(),
            images=IMAGES,
        )


def test_a_network_that_sees_nothing_is_refused(tmp_path):
    blind = EMBEDDED.base_dir / "person.onnx"
    with pytest.raises(BackendUnavailableError, match="gave the same output for different images"):
        adopted(tmp_path, blind, scalefactor=1e-12)
    assert left_files(tmp_path) == []


def test_a_file_in_another_format_joins_a_model_whose_features_it_makes(tmp_path, image):
    model, _, _ = adopted(tmp_path, EMBEDDED.base_dir / "person.onnx", swaprb=True)
    space = model.feature_space()
    came, found = extend(model, EMBEDDED.base_dir / "person_int8.tflite", images=IMAGES, registry=Registry())
    assert [(f.format, f.precision) for f in came.model.files] == [("onnx", "float32"), ("tflite", "reduced")]
    assert found.worst_cosine > 0.99
    assert came.model.feature_space() == space
    with Extractor.load(came.model, Engine.TFLITE, Accelerator.CPU, registry=Registry()) as extractor:
        assert extractor.features([image]).shape == (1, 256)


def test_a_folder_that_somebody_wrote_keeps_its_gallery_when_a_file_joins_it(tmp_path):
    shutil.copy(EMBEDDED.base_dir / "person.onnx", tmp_path)
    parameters = {"model_file": "person.onnx", "size": [96, 192], "swaprb": True}
    (tmp_path / "alwaysai.model.json").write_text(json.dumps({"id": "me/net", "model_parameters": parameters}))
    model = ModelConfig(tmp_path / "alwaysai.model.json")
    came, _ = extend(model, EMBEDDED.base_dir / "person_int8.tflite", images=IMAGES, registry=Registry())
    assert came.model.feature_space() == model.feature_space()
    assert golden.read(came.model).embeddings.shape == (8, 256)


def test_a_float_file_that_joins_is_known_for_one(tmp_path):
    model, _, _ = adopted(tmp_path, EMBEDDED.base_dir / "person.onnx", swaprb=True)
    came, _ = extend(model, EMBEDDED.base_dir / "person_fp32.tflite", images=IMAGES, registry=Registry())
    assert came.model.files[1].precision == "float32"


def test_a_file_that_makes_other_features_stays_out_and_changes_nothing(tmp_path):
    model, _, _ = adopted(tmp_path, EMBEDDED.base_dir / "person.onnx", scalefactor=0.01)
    before = {path.name: path.read_bytes() for path in model.base_dir.iterdir()}
    with pytest.raises(BackendError, match=r"makes other features than person\.onnx: worst cosine .* \(bar 0\.98\)"):
        extend(model, EMBEDDED.base_dir / "person_int8.tflite", images=IMAGES, registry=Registry())
    assert {path.name: path.read_bytes() for path in model.base_dir.iterdir()} == before


def test_a_file_that_a_model_has_is_refused(tmp_path):
    model, _, _ = adopted(tmp_path, FAKES / "pool.tflite", size=(32, 64))
    again = tmp_path / "again.tflite"
    shutil.copy(FAKES / "pool.tflite", again)
    with pytest.raises(ConfigError, match="has this very file already"):
        extend(model, again, images=IMAGES, registry=Registry())
    other = tmp_path / "pool.tflite"
    shutil.copy(FAKES / "pool_edgetpu.tflite", other)
    with pytest.raises(ConfigError, match="there is a file of this name already"):
        extend(model, other, images=IMAGES, registry=Registry())


def test_an_id_that_is_taken_is_refused(tmp_path):
    adopted(tmp_path, FAKES / "pool.tflite", size=(32, 64))
    with pytest.raises(ConfigError, match="there is a model me/net already"):
        adopted(tmp_path, FAKES / "pool.tflite", size=(32, 64))


@pytest.mark.parametrize("id", ["net", "../net", "/etc/net", "a/b/c", ".a/net"])
def test_an_id_that_leads_elsewhere_is_refused(tmp_path, id):
    with pytest.raises(ConfigError, match="expected <publisher>/<name>"):
        adopted(tmp_path, FAKES / "pool.tflite", size=(32, 64), id=id)


def test_the_format_is_told_by_the_content_or_the_ending():
    known = {"onnx", "tflite", "edgetpu", "hef"}
    assert file_format((FAKES / "pool.tflite").read_bytes(), "x.bin", known) == "tflite"
    assert file_format((FAKES / "pool_edgetpu.tflite").read_bytes(), "x.tflite", known) == "edgetpu"
    assert file_format(b"\x08\x07", "x.ONNX", known) == "onnx"
    assert file_format(b"\x01HEF", "x.hef", known) == "hef"
    for name in ("x.tflite", "x.onnx"):
        with pytest.raises(ConfigError, match="none that a plugin here reads"):
            file_format(b"", name, known)


def test_a_file_of_a_plugins_own_format_comes_to_that_plugin(tmp_path):
    class Hailo(OpenCV):
        engine = Engine.HAILO_RT
        accelerators = (Accelerator.HAILO,)
        formats = frozenset({"hef"})
        obstacle = classmethod(lambda *_: "no Hailo is plugged in")

    registry = Registry([])
    registry.backends.append(Hailo)
    (tmp_path / "net.hef").write_bytes(b"\x01HEF")
    options = {"id": "me/net", "folder": tmp_path, "size": (96, 192), "licence": "MIT", "images": IMAGES}
    with pytest.raises(BackendUnavailableError, match=r"net\.hef: HAILO_RT/HAILO: no Hailo is plugged in"):
        adopt(tmp_path / "net.hef", registry=registry, **options)


def test_an_onnx_file_with_its_weights_elsewhere_is_told_how_to_be_whole():
    # TensorProto.external_data: key "location", value "net.onnx.data"
    tensor = b"\x6a\x19\x0a\x08location\x12\x0dnet.onnx.data\x70\x01"
    with pytest.raises(ConfigError, match=r"onnx\.save\(onnx\.load\('net\.onnx'\), 'net\.onnx'\)"):
        file_format(tensor, "net.onnx", {"onnx"})
