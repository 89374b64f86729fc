"""Whose daemon is taken for one's own when none is named."""

import os
import tempfile

import pytest

from reidd import places
from reidd.errors import ConfigError

THIS_USER = 4711
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")


@pytest.fixture
def own_folder(monkeypatch, tmp_path):
    """The folder of the daemon of a user whom no service manager gave one."""
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR", "REIDD_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: THIS_USER)
    folder = tmp_path / f"reidd-{THIS_USER}"
    folder.mkdir()
    (folder / places.SOCKET).touch()
    return folder


@root_only
def test_a_folder_that_somebody_else_made_is_not_taken_for_ones_own_daemons(own_folder):
    os.chown(own_folder, THIS_USER + 1, -1)
    with pytest.raises(ConfigError, match=f"belongs to uid {THIS_USER + 1}.*REIDD_ENDPOINT"):
        places.default_endpoint()


@root_only
def test_neither_is_a_link_that_somebody_else_made_to_it(own_folder):
    os.chown(own_folder, THIS_USER, -1)
    own_folder.rename(own_folder.with_name("moved"))
    own_folder.symlink_to("moved")
    os.lchown(own_folder, THIS_USER + 1, -1)
    with pytest.raises(ConfigError, match="is not your daemon's"):
        places.default_endpoint()


@root_only
def test_ones_own_is(own_folder):
    os.chown(own_folder, THIS_USER, -1)
    assert places.default_endpoint() == f"ipc://{own_folder / places.SOCKET}"
