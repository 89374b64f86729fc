"""The configuration file: what is right is read, what is wrong is named."""

import os

import pytest
from users import NOBODY, ordinary_user

from reidd.daemon.config import Config, read
from reidd.engines import Accelerator, Engine
from reidd.errors import ConfigError


def written(folder, text):
    path = folder / "reidd.toml"
    path.write_text(text)
    return path


def test_without_a_file_the_defaults_hold(tmp_path):
    assert read(None, [tmp_path / "none.toml"]) == Config()


def test_the_first_file_that_exists_counts_unless_one_is_named(tmp_path):
    first, second = written(tmp_path, "workers = 3"), tmp_path / "second.toml"
    second.write_text("workers = 4")
    assert read(None, [tmp_path / "none.toml", first, second]).workers == 3
    assert read(second, [first]).workers == 4


def test_keys_are_read(tmp_path):
    path = written(tmp_path, 'model = "acme/reid"\ncapacity = 500\n[[engines]]\nengine = "DNN"\naccelerator = "GPU"\n')
    config = read(path, [])
    assert (config.model, config.capacity) == ("acme/reid", 500)
    assert [(p.engine, p.accelerator) for p in config.engines] == [(Engine.DNN, Accelerator.GPU)]


def test_a_mark_that_editors_put_first_does_no_harm(tmp_path):
    path = tmp_path / "reidd.toml"
    path.write_text("workers = 3", encoding="utf-8-sig")
    assert read(path, []).workers == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("worker = 2", "did you mean 'workers'"),
        ("zebra = 2", "the keys are model"),
        ("workers = 0", "workers: Expected `int` >= 1"),
        ('workers = "two"', "workers: Expected `int`"),
        ('engines = "TFLITE"', 'write [{ engine = "TFLITE", accelerator = "CPU" }]'),
        ('engines = ["TFLITE/CPU"]', 'write [{ engine = "TFLITE", accelerator = "CPU" }]'),
        ("engines = []", "engines"),
        ('[[engines]]\nengine = "STEAM"', "engines[0].engine"),
        ('[[engines]]\nengine = "DNN"\nspeed = 3', "engines[0]"),
        ('[[engines]]\nengine = "TFLIT"', "did you mean 'TFLITE'"),
        ('[[engines]]\nengine = "tflite"', "did you mean 'TFLITE'"),
        ('[[engines]]\nengine = "DNN"\naccelerator = "WARP"', "expected one of DEFAULT, CPU, GPU"),
        ('[[engines]]\nengine = "DNN"\nacelerator = "CPU"', "did you mean 'accelerator'"),
        ("workers = ", "is no TOML"),
    ],
)
def test_what_is_wrong_is_named_with_the_file_and_the_key(tmp_path, text, expected):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        read(path, [])
    assert str(path) in str(refused.value)
    assert expected in str(refused.value)


def test_a_named_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "none.toml", [])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody who may not look")
def test_a_machine_s_folder_that_is_closed_to_this_user_is_passed_over(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "reidd.toml").write_text("workers = 7")
    with ordinary_user():
        assert read(None, [closed / "reidd.toml"]) == Config()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody who may not look")
def test_a_file_that_this_user_may_not_read_is_named_with_the_command_that_mends_it(tmp_path):
    path = written(tmp_path, "workers = 7")
    path.chmod(0o600)
    os.chown(tmp_path, NOBODY, -1)
    with ordinary_user(), pytest.raises(ConfigError, match=r"`chmod a\+r"):
        read(path, [])
