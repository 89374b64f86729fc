"""Model folders: published ones are read, broken ones refused with the file, the key and what was expected."""

import json
import os
import shutil

import numpy as np
import pytest
from users import ordinary_user

from reidd import places
from reidd.errors import ConfigError, UnknownModelError
from reidd.model import FILE_NAME, ModelConfig
from reidd.model_files import MAX_BYTES

PUBLISHED = {
    "id": "acme/reid",
    "license": "MIT",
    "collaborators": [],
    "model_parameters": {
        "purpose": "ReIdentification",
        "framework_type": "onnx",
        "model_file": "net.onnx",
        "config_file": None,
        "mean": [123.7, 116.3, 103.5],
        "scalefactor": 0.017,
        "size": [128, 256],
        "crop": True,
        "swaprb": True,
        "batch_size": 1,
        "device": "dnn",
    },
}


@pytest.fixture
def folder(tmp_path):
    """A model folder as others publish it."""
    home = tmp_path / "acme" / "reid"
    home.mkdir(parents=True)
    (home / "net.onnx").write_bytes(b"network")
    (home / FILE_NAME).write_text(json.dumps(PUBLISHED))
    return home


def changed(folder, **parameters):
    """The same folder with some parameters changed; None takes one away."""
    document = json.loads(json.dumps(PUBLISHED))
    document["model_parameters"].update(parameters)
    for key in [k for k, v in parameters.items() if v is None]:
        del document["model_parameters"][key]
    (folder / FILE_NAME).write_text(json.dumps(document))
    return folder / FILE_NAME


def test_a_published_folder_is_read(folder):
    model = ModelConfig(folder / FILE_NAME)
    assert (model.id, model.size, model.purpose) == ("acme/reid", (128, 256), "ReIdentification")
    assert model.parameters.mean == (123.7, 116.3, 103.5)
    assert [(f.file, f.format) for f in model.files] == [("net.onnx", "onnx")]
    assert model.licence == "MIT"
    assert model.read(model.files[0]) == b"network"


def test_a_parsed_document_with_its_folder_is_the_same(folder):
    assert ModelConfig(PUBLISHED, base_dir=folder).feature_space() == ModelConfig(folder / FILE_NAME).feature_space()


def test_older_folders_lack_swaprb(folder):
    assert ModelConfig(changed(folder, swaprb=None)).parameters.swaprb is False


@pytest.mark.parametrize(
    ("parameters", "key", "expected"),
    [
        ({"model_file": None}, "model_parameters", "model_file"),
        ({"model_file": "gone.onnx"}, "model_parameters.model_file", "there is no file"),
        ({"model_file": "../net.onnx"}, "model_parameters.model_file", "inside the model's folder"),
        ({"model_file": "net\0.onnx"}, "model_parameters.model_file", "inside the model's folder"),
        ({"size": [128]}, "model_parameters.size", "length 2"),
        ({"size": [128, 0]}, "model_parameters.size", ">= 1"),
        ({"size": "128x256"}, "model_parameters.size", "array"),
        ({"mean": [1, 2]}, "model_parameters.mean", "length 3"),
        ({"scalefactor": 0}, "model_parameters.scalefactor", "other than 0"),
        ({"scalefactor": "1"}, "model_parameters.scalefactor", "float"),
        ({"crop": "yes"}, "model_parameters.crop", "bool"),
        ({"purpose": "ObjectDetection"}, "model_parameters.purpose", "ReIdentification"),
        ({"label_file": "labels.txt"}, "model_parameters.label_file", "there is no file"),
    ],
)
def test_a_broken_folder_is_refused_with_file_key_and_what_was_expected(folder, parameters, key, expected):
    path = changed(folder, **parameters)
    with pytest.raises(ConfigError) as refused:
        ModelConfig(path)
    for part in (str(path), key, expected):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"id": 3}',
        '{"id": "noslash", "model_parameters": {}}',
        b'{"id":"\xff"}',
        '{"id":' + "[" * 100_000,
    ],
)
def test_a_document_that_is_none_is_refused_by_name(folder, content):
    (folder / FILE_NAME).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=FILE_NAME):
        ModelConfig(folder / FILE_NAME)


def test_our_own_keys_are_checked_strictly(folder):
    with pytest.raises(ConfigError, match=r"reidd.*dimension"):
        ModelConfig({**PUBLISHED, "reidd": {"dimension": 256}}, base_dir=folder)


@pytest.mark.parametrize("name", ["/etc/hostname", "../golden.npz", "gone.npz"])
def test_golden_vectors_lie_in_the_folder_too(folder, name):
    (folder.parent / "golden.npz").touch()
    with pytest.raises(ConfigError, match=r"reidd\.golden: .*(inside the model's folder|there is no file)"):
        ModelConfig({**PUBLISHED, "reidd": {"golden": name}}, base_dir=folder)


def test_an_id_that_would_write_lines_into_a_log_is_refused(folder):
    with pytest.raises(ConfigError, match="id: "):
        ModelConfig({**PUBLISHED, "id": "acme/reid\nINFO: all is well"}, base_dir=folder)


def test_a_file_too_large_for_any_network_is_refused_before_it_is_read(folder):
    os.truncate(folder / "net.onnx", MAX_BYTES + 1)
    with pytest.raises(ConfigError, match="is larger than 1024 MiB"):
        ModelConfig(folder / FILE_NAME).feature_space()


@pytest.mark.parametrize("key", ["label_file", "colors_file"])
def test_labels_and_colours_in_another_encoding_are_refused(folder, key):
    (folder / "labels.txt").write_text("cat\n")
    (folder / "latin.txt").write_bytes("Löwe\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.txt: is no UTF-8 text"):
        ModelConfig(changed(folder, **{"label_file": "labels.txt", key: "latin.txt"}))


def test_a_file_that_was_changed_is_refused(folder):
    document = {**PUBLISHED, "reidd": {"files": [{"file": "net.onnx", "format": "onnx", "sha256": "0" * 64}]}}
    model = ModelConfig(document, base_dir=folder)
    with pytest.raises(ConfigError, match="sha256"):
        model.read(model.files[0])


def test_another_network_or_preprocessing_is_another_feature_space(folder):
    def space(**parameters):
        return ModelConfig(changed(folder, **parameters)).feature_space()

    spaces = {space(), space(swaprb=False), space(crop=False), space(size=[64, 128]), space(scalefactor=1)}
    (folder / "net.onnx").write_bytes(b"other network")
    assert len(spaces | {space()}) == 6


def test_a_further_file_leaves_the_space_alone_where_golden_vectors_watch_over_it(folder):
    def space(golden, *names):
        files = [{"file": name, "format": name.rpartition(".")[2]} for name in names]
        return ModelConfig({**PUBLISHED, "reidd": {"files": files, "golden": golden}}, base_dir=folder).feature_space()

    (folder / "net.tflite").write_bytes(b"the same network")
    (folder / "golden.npz").touch()
    assert space("golden.npz", "net.onnx") == space("golden.npz", "net.onnx", "net.tflite")
    assert space(None, "net.onnx") != space(None, "net.onnx", "net.tflite")


def test_the_embedded_model_is_found_and_whole():
    model = ModelConfig.from_model_id("reidd/person")
    assert [(f.format, f.precision) for f in model.files] == [
        ("onnx", "float32"),
        ("tflite", "float32"),
        ("tflite", "int8"),
    ]
    assert all(model.read(file) for file in model.files)


def test_models_are_searched_in_order(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("REIDD_MODELS", str(tmp_path))
    assert ModelConfig.from_model_id("acme/reid").base_dir == folder
    user = tmp_path / "home" / "reidd" / "models" / "acme" / "reid"
    shutil.copytree(folder, user)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    assert ModelConfig.from_model_id("acme/reid").base_dir == folder
    monkeypatch.delenv("REIDD_MODELS")
    assert ModelConfig.from_model_id("acme/reid").base_dir == user
    configured = places.model_folders(tmp_path)
    assert ModelConfig.from_model_id("acme/reid", configured).base_dir == folder


@pytest.mark.parametrize("model_id", ["acme/nobody", "person", "", "../../etc", "a/b/c"])
def test_an_unknown_model_says_where_it_looked_and_what_there_is(model_id):
    with pytest.raises(UnknownModelError, match="reidd/person"):
        ModelConfig.from_model_id(model_id)


def test_a_folder_that_is_not_called_as_its_model_is_refused(folder):
    shutil.copytree(folder, folder.parent / "copy")
    with pytest.raises(ConfigError, match='id: expected "acme/copy", as its folder is called, got "acme/reid"'):
        ModelConfig.from_model_id("acme/copy", [folder.parent.parent])


@pytest.mark.parametrize(
    "closed", [".", "acme/reid", f"acme/reid/{FILE_NAME}", "acme/reid/names", "acme/reid/net.onnx"]
)
def test_what_may_not_be_read_of_a_model_says_how_to_allow_it(folder, short_folder, closed):
    (folder / "names").write_text("adult")
    changed(folder, label_file="names")
    shutil.copytree(folder, short_folder / "models" / "acme" / "reid")
    short_folder.chmod(0o755)
    (short_folder / "models" / closed).chmod(0)
    with ordinary_user(), pytest.raises(ConfigError, match=r"models/acme/reid/.*Permission denied.*chmod") as refused:
        model = ModelConfig.from_model_id("acme/reid", [short_folder / "models"])
        model.read(model.files[0])
    (short_folder / "models" / closed).chmod(0o755)
    assert "\n" not in str(refused.value)


def test_labels_get_colours_that_are_the_same_on_every_run(folder):
    (folder / "labels.txt").write_text("adult\nchild\n\n")
    path = changed(folder, label_file="labels.txt")
    model = ModelConfig(path)
    assert model.labels == ["adult", "child"]
    assert model.colors.shape == (2, 3)
    assert model.colors.dtype == np.uint8
    assert np.array_equal(model.colors, ModelConfig(path).colors)
    assert not np.array_equal(model.colors[0], model.colors[1])


def test_a_colours_file_gives_a_row_per_label(folder):
    (folder / "labels.txt").write_text("adult\nchild\n")
    (folder / "colors.txt").write_text("1,2,3\n4 5 6\n")
    path = changed(folder, label_file="labels.txt", colors_file="colors.txt")
    assert ModelConfig(path).colors.tolist() == [[1, 2, 3], [4, 5, 6]]
    (folder / "colors.txt").write_text("1,2,3\n")
    with pytest.raises(ConfigError, match=r"colors\.txt"):
        ModelConfig(path)


@pytest.mark.parametrize("colors", [[["red", "green", "blue"]], [[None, 0, 0]], [[1, 2, float("nan")]], [[1, 2, 256]]])
def test_a_colour_is_three_numbers_from_0_to_255(folder, colors):
    with pytest.raises(ConfigError, match="colors must lie in 0 to 255"):
        ModelConfig(changed(folder), labels=["adult"], colors=colors)
