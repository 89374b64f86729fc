"""The daemon's folders are its user's own; what is in the way is said with the command that mends it."""

import os
import subprocess
import sys

import pytest

from reidd import places
from reidd.daemon import folders
from reidd.errors import ConfigError

UID = 4711
AS_USER = f"""
import os, sys
from pathlib import Path
from reidd.daemon import folders
from reidd.errors import ConfigError
os.setgroups([]), os.setresgid({UID}, {UID}, {UID}), os.setresuid({UID}, {UID}, {UID})
try:
    folders.claim(Path(sys.argv[1]), "--state-folder")
except ConfigError as error:
    print(error)
"""
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")


@pytest.fixture
def theirs(short_folder):
    """A folder of another user's."""
    folder = short_folder / "state"
    folder.mkdir()
    for path in (short_folder, folder):
        os.chown(path, UID, UID)
    return folder


def refusal(folder):
    """What that user is told when he claims it; nothing when it is his."""
    done = subprocess.run(
        [sys.executable, "-c", AS_USER, str(folder)], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout


@root_only
def test_root_is_told_to_act_as_the_user_whose_it_is(theirs):
    with pytest.raises(ConfigError, match=f"`setpriv --reuid {UID} --regid {UID} --clear-groups` before this command"):
        folders.claim(theirs, "--state-folder")
    assert not list(theirs.iterdir())


@root_only
@pytest.mark.parametrize("name", [places.STORE, folders.LOCK])
def test_a_file_that_root_left_is_named_with_the_command_that_mends_it(theirs, name):
    assert refusal(theirs) == ""
    (theirs / name).touch(mode=0o640)
    assert f"{theirs / name}: belongs to uid 0" in refusal(theirs)
    os.chown(theirs / name, UID, UID)
    assert refusal(theirs) == ""


@root_only
def test_a_backup_and_a_damaged_store_of_roots_are_in_nobodys_way(theirs):
    for name in ("gallery.reidd", f"{places.STORE}.damaged-1"):
        (theirs / name).touch(mode=0o640)
    assert refusal(theirs) == ""


@root_only
def test_a_folder_of_roots_is_told_with_both_ways_out(theirs):
    os.chown(theirs, 0, 0)
    said = refusal(theirs)
    assert "choose another folder with --state-folder" in said
    assert f"`chown -R {UID}:{UID} {theirs}` as root" in said


@root_only
def test_a_folder_that_is_ours_and_closed_is_told_how_to_open(theirs):
    theirs.chmod(0o500)
    assert f"`chmod u+rwx {theirs}`" in refusal(theirs)


def test_one_holds_a_folder_and_the_next_is_told_who(tmp_path):
    said = f"another reidd \\(pid {os.getpid()}\\)"
    with folders.held(tmp_path), pytest.raises(ConfigError, match=said), folders.held(tmp_path):
        pass
    with folders.held(tmp_path):
        pass
