"""`reidd models`: what is there, whether all pairs agree on it, and how one's own comes in."""

import json
import os
import shutil
import sys

import pytest
from terminal import at_a_terminal

from reidd import golden, places
from reidd.cli import models
from reidd.daemon.config import read
from reidd.model import ModelConfig

EMBEDDED = ModelConfig.from_model_id("reidd/person").base_dir


@pytest.fixture
def run(tmp_path, monkeypatch, commands):
    monkeypatch.setenv("REIDD_MODELS", str(tmp_path / "models"))

    def command(*arguments, status=0):
        done = commands.run("models", *arguments, env=os.environ)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return command


def added(run, tmp_path, *options, status=0):
    required = ["--id", "me/net", "--size", "96x192", "--licence", "MIT", "--folder", str(tmp_path / "models")]
    return run("add", str(EMBEDDED / "person.onnx"), *required, *options, status=status)


def test_a_model_of_ones_own_is_added_verified_and_listed(run, tmp_path):
    assert (
        "me/net: 256 values, ran on DNN/CPU"
        in added(run, tmp_path, "--rgb", "--mean", "1", "2", "3", "--std", "2", "2", "1").stdout
    )
    assert ModelConfig.from_model_id("me/net").extras.std == (2, 2, 1)
    figures = json.loads(run("verify", "me/net", "--json").stdout)
    assert [(p["engine"], p["agrees"]) for p in figures["pairs"]] == [("DNN", True)]
    assert (tmp_path / "models/me/net/certificate.json").exists()
    assert [row["model"] for row in json.loads(run("--json").stdout)] == ["me/net", "reidd/person"]


def test_who_gives_crops_is_told_that_some_of_them_are_kept(run, tmp_path):
    assert "eight of which are kept" in " ".join(run("add", "--help").stdout.split())
    added(run, tmp_path, "--rgb", "--images", str(places.sample_folder() / "gallery"))
    assert len(golden.read(ModelConfig.from_model_id("me/net")).crops) == 8


def test_a_pair_that_differs_ends_with_a_status_and_a_sentence(run, tmp_path):
    added(run, tmp_path, "--rgb")
    folder = tmp_path / "models/me/net"
    shutil.copy(EMBEDDED / "person_int8.tflite", folder)
    document = json.loads((folder / "alwaysai.model.json").read_text())
    document["model_parameters"]["scalefactor"] = 0.01
    document["reidd"]["files"].append({"file": "person_int8.tflite", "format": "tflite", "precision": "int8"})
    (folder / "alwaysai.model.json").write_text(json.dumps(document))
    said = run("verify", "me/net", status=70)
    assert "TFLITE/CPU with person_int8.tflite may not share a gallery with DNN/CPU" in said.stderr
    assert "differs" in said.stdout


def test_a_second_format_joins_a_model_when_it_agrees(run, tmp_path):
    added(run, tmp_path, "--rgb")
    said = run("add", str(EMBEDDED / "person_fp32.tflite"), "--id", "me/net").stdout
    assert "me/net: agrees with person.onnx: worst cosine 1.0000, the same nearest image for 100% of 40" in said
    files = json.loads(run("--json").stdout)[0]["files"]
    assert [(file["file"], file["format"]) for file in files] == [
        ("person.onnx", "onnx"),
        ("person_fp32.tflite", "tflite"),
    ]


def test_a_second_format_that_differs_stays_out(run, tmp_path):
    added(run, tmp_path, "--rgb", "--mean", "127", "0", "0")
    said = run("add", str(EMBEDDED / "person_int8.tflite"), "--id", "me/net", status=70).stderr
    assert "person_int8.tflite makes other features than person.onnx" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--id", "me/other"], "takes --size and"), (["--id", "me/net", "--licence", "MIT"], "has its own size")],
)
def test_a_new_model_takes_all_options_and_one_that_is_there_only_a_file(run, tmp_path, options, message):
    added(run, tmp_path)
    assert message in run("add", str(EMBEDDED / "person_fp32.tflite"), *options, status=2).stderr


def test_what_comes_next_is_said_and_can_be_written_down(run, tmp_path):
    said = added(run, tmp_path).stdout
    folder = tmp_path / "models"
    assert f"`REIDD_MODELS={folder} reidd serve --model me/net`" in said
    config = tmp_path / "reidd.toml"
    config.write_text(said.split("or in reidd.toml:")[1])
    chosen = read(config, [])
    assert (chosen.model, chosen.models) == ("me/net", str(folder))
    # None that the file does not fit, for it would be missed for ever.
    assert [(pair.engine, pair.accelerator) for pair in chosen.engines] == [("DNN", "CPU")]


def test_a_file_that_does_not_run_is_told_why_and_not_what_other_pairs_lack(run, tmp_path):
    (tmp_path / "cut.onnx").write_bytes((EMBEDDED / "person.onnx").read_bytes()[:100_000])
    said = run("add", tmp_path / "cut.onnx", "--id", "me/cut", "--size", "96x192", "--licence", "MIT", status=70).stderr
    assert "DNN/CPU cannot run it" in said
    assert "is the file whole, and the size right (WIDTHxHEIGHT)?" in said
    assert "OpenCL" not in said


def test_too_few_images_judge_no_pair(run, tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    for crop in sorted((places.sample_folder() / "gallery").iterdir())[:9]:
        shutil.copy(crop, folder)
    assert "holds 9 JPEG or PNG files; expected 10 or more" in run("verify", "--images", folder, status=78).stderr


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 always looks into the folder it is started in")
def test_what_lies_in_the_folder_is_not_imported(run, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('a stranger ran')")
    monkeypatch.chdir(tmp_path)
    run("verify", "--dry-run")


def test_an_image_that_is_none_is_named(run, tmp_path):
    folder = tmp_path / "crops"
    shutil.copytree(places.sample_folder() / "gallery", folder)
    (folder / "half.jpg").write_bytes(b"\xff\xd8he")
    assert f"{folder}/half.jpg: image starts with" in run("verify", "--images", folder, status=65).stderr


def test_of_too_many_images_some_are_taken_from_all_over(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "MAX_IMAGES", 10)
    monkeypatch.setattr(models, "_image", lambda file: file.stem)
    for name in "abcdefghijklmnopqrstuvwxy":
        (tmp_path / f"{name}.jpg").touch()
    assert "".join(models._images(tmp_path)) == "acfhkmpruw"


@pytest.mark.parametrize("words", [("models",), ("models", "verify", "--dry-run")])
def test_nothing_is_broken_into_pieces_in_80_columns(tmp_path, words):
    shown = at_a_terminal(*words, columns=80)
    for name in (
        ("reidd/person", "TFLITE/CPU", "person_int8.tflite", "agrees")
        if words[1:]
        else ("onnx float32, tflite float32",)
    ):
        assert name in shown


def test_an_option_of_the_list_is_not_dropped_in_silence(run):
    done = run("--json", "verify", status=2)
    assert ("verify --json" in done.stderr, done.stdout) == (True, "")


def test_verify_without_images_says_so(run, tmp_path):
    assert "holds 0 JPEG or PNG files" in run("verify", "--images", str(tmp_path), status=78).stderr


def test_a_pair_that_cannot_run_the_model_ends_with_a_status_and_its_reason(run, tmp_path):
    added(run, tmp_path)
    folder = tmp_path / "models/me/net"
    (folder / "broken.tflite").write_bytes(b"\0\0\0\0TFL3" + bytes(100))
    document = json.loads((folder / "alwaysai.model.json").read_text())
    document["reidd"]["files"].append({"file": "broken.tflite", "format": "tflite"})
    (folder / "alwaysai.model.json").write_text(json.dumps(document))
    said = run("verify", "me/net", "--dry-run", status=70)
    assert "TFLITE/CPU with broken.tflite cannot run it: " in said.stderr
    assert "fails" in said.stdout
    assert not (folder / "certificate.json").exists()


@pytest.mark.parametrize("size", ["96", "96x", "axb"])
def test_a_size_that_is_none_is_refused(run, tmp_path, size):
    said = run("add", "x.onnx", "--id", "a/b", "--size", size, "--licence", "MIT", status=2)
    assert "expected WIDTHxHEIGHT" in said.stderr
