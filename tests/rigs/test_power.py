"""The power is cut: a file system on a loop device is shut down under a working gallery, and mounted again."""

import fcntl
import os
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from figures import note
from workload import Oracle, change_key, forked, lines, number, opened, state, work

from reidd.gallery import tables

# From linux/ext4.h: EXT4_IOC_SHUTDOWN is _IOR('X', 125, __u32), and 2 is EXT4_GOING_FLAGS_NOLOGFLUSH, which lets
# nothing more reach the disk: neither data nor journal.
_SHUTDOWN, _NO_MORE = 0x8004587D, struct.pack("I", 2)


class Disk:
    """An ext4 file system in a file, which loses power when told."""

    def __init__(self, folder: Path):
        self._image, self.folder = folder / "disk", folder / "mounted"
        self.folder.mkdir()
        self._image.write_bytes(b"")
        os.truncate(self._image, 64 << 20)
        _run("mkfs.ext4", "-q", "-F", self._image)

    def mount(self) -> None:
        _run("mount", "-o", "loop", self._image, self.folder)

    def cut(self) -> None:
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, _NO_MORE)
        finally:
            os.close(handle)

    def unmount(self) -> None:
        _run("umount", self.folder)


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def _left_out(reason: str) -> None:
    """Skip; fail where somebody relies on power cuts, as `.ci/run` does for root on a machine with loop devices."""
    (pytest.fail if os.environ.get("REIDD_POWER_CUTS") == "required" else pytest.skip)(reason)


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    if os.geteuid():
        _left_out("needs root, to mount")
    disk = Disk(tmp_path)
    try:
        disk.mount()
        disk.cut()
        disk.unmount()
    except (OSError, subprocess.CalledProcessError) as error:
        _left_out(f"this machine cannot cut the power of a file system: {error}")
    yield disk
    subprocess.run(["umount", "-q", disk.folder], check=False)


def worked_until_dark(disk: Disk, first: int, after_s: float, *, new_key: bool) -> int:
    """Have a child work until the power is cut; returns how many transactions were acknowledged."""
    disk.mount()
    if new_key:
        change_key(disk.folder)
    pid, pipe = forked(lambda pipe: work(disk.folder, first, lambda n: os.write(pipe, b"%d\n" % n)))
    # A new key is put to use before anything else is done, and the cut may come while it is.
    begun = b"" if new_key else os.read(pipe, 1)
    time.sleep(after_s)
    # Stopped before the cut, so that it cannot see the disk fail and say so.
    os.kill(pid, signal.SIGSTOP)
    disk.cut()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    acknowledged = number(begun.decode() + "".join(lines(pipe)), first)
    disk.unmount()
    return acknowledged


def cut_often(disk: Disk, cuts: int, *, encrypted: bool) -> tuple[int, int]:
    """Returns how many transactions were acknowledged, and after how many cuts something was lost."""
    random, oracle, done, lost = Random(2), Oracle(), 0, 0
    for n in range(cuts):
        new_key = encrypted and n % 2 == 0
        acknowledged = worked_until_dark(disk, done, random.uniform(0, 0.05), new_key=new_key)
        disk.mount()
        try:
            with opened(disk.folder) as gallery:
                if gallery.damage or not oracle.agrees(state(gallery), acknowledged=acknowledged):
                    lost += 1
                    break
        finally:
            disk.unmount()
        done = oracle.done
    return done, lost


@pytest.mark.timeout(900)
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("cuts", [4, pytest.param(150, marks=pytest.mark.slow)])
def test_no_acknowledged_mutation_is_lost_to_a_power_cut(disk, cuts, encrypted):
    began = time.monotonic()
    done, lost = cut_often(disk, cuts, encrypted=encrypted)
    took_s = time.monotonic() - began
    note(
        f"power cuts under the {'encrypted ' if encrypted else ''}gallery, {cuts}",
        f"{done} transactions, {lost} lost, {took_s:.0f} s",
        "0 lost",
    )
    assert lost == 0
    assert done > cuts / 2


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_the_rig_notices_a_commit_that_is_not_synced(disk, monkeypatch, encrypted):
    connect = tables.connect

    def careless(path: Path):
        connection = connect(path)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    monkeypatch.setattr(tables, "connect", careless)
    _, lost = cut_often(disk, 10, encrypted=encrypted)
    assert lost
