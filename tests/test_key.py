"""The file of a gallery's key: made once, read only where nobody else can, and named when it is wrong."""

import os
import stat
from pathlib import Path

import pytest

from reidd.errors import ConfigError
from reidd.gallery import key


@pytest.fixture
def file(tmp_path):
    key.new(tmp_path / "gallery.key")
    return tmp_path / "gallery.key"


def test_a_new_key_is_random_and_its_owners_alone(file, tmp_path):
    key.new(tmp_path / "other.key")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(key.read(file)) == 32
    assert key.read(file) != key.read(tmp_path / "other.key")


def test_a_key_is_never_written_over(file):
    before = key.read(file)
    with pytest.raises(ConfigError, match="is there already"):
        key.new(file)
    assert key.read(file) == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_may_read_is_refused(file, mode):
    file.chmod(mode)
    with pytest.raises(ConfigError, match="`chmod 600 "):
        key.read(file)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
def test_a_file_of_another_user_is_refused(file):
    os.chown(file, 12345, -1)
    with pytest.raises(ConfigError, match="expected root"):
        key.read(file)


@pytest.mark.parametrize(
    "content", [b"", b"00" * 31, b"00" * 33, b"zz" * 32, bytes(range(200, 232)), b"00" * 32 + b"\n1"]
)
def test_what_is_no_key_is_named_and_not_quoted(file, content):
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="64 hexadecimal digits") as refusal:
        key.read(file)
    assert "0000" not in str(refusal.value)


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError, match="reidd keys gallery FILE"):
        key.read(tmp_path / "none.key")


def test_a_credential_may_show_the_right_that_systemd_gives_by_an_acl(file, monkeypatch):
    file.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    assert len(key.read(file)) == 32
    file.chmod(0o444)
    with pytest.raises(ConfigError, match="others may read"):
        key.read(file)


def test_of_a_key_that_is_lost_a_copy_is_asked_for_first(tmp_path):
    with pytest.raises(ConfigError, match=r"No such file.*; put a copy back, or make keys with `reidd keys gallery"):
        key.read(tmp_path / "gallery.key")


def test_of_a_key_that_may_not_be_looked_at_no_other_is_asked_for(file):
    with pytest.raises(ConfigError, match=r"Not a directory; expected where uid \d+ may look it up$"):
        key.read(file / "gallery.key")


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_key_is_made_in_no_folder_and_under_no_empty_name(name):
    with pytest.raises(ConfigError, match="is a folder; name a file"):
        key.new(Path(name))
