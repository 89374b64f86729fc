"""The store on disks that are full or read-only, and what is left in its files of what was removed."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from reidd.errors import StorageUnavailableError
from reidd.gallery import Gallery
from reidd.gallery.store_file import RESERVE_BYTES

DIM = 512
FEATURES = np.random.default_rng(0).normal(size=(50, DIM)).astype(np.float32)


KEY: bytes | None = None


@pytest.fixture(autouse=True, params=[None, bytes(range(100, 132))], ids=["plain", "encrypted"])
def key(request, monkeypatch) -> None:
    """Have all of it hold for encrypted stores too."""
    monkeypatch.setitem(globals(), "KEY", request.param)


@pytest.fixture
def disk(tmp_path):
    """A file system of 12 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or mount("-t", "tmpfs", "-o", "size=12m", "reidd-test", folder).returncode:
        pytest.skip("needs root, to mount")
    yield folder
    mount("-o", "remount,rw", folder)
    subprocess.run(["umount", folder], check=True)


def mount(*arguments: object) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False)


def opened(folder, **options) -> Gallery:
    options = {"key": KEY, **options}
    return Gallery.open(dim=DIM, space=bytes(32), capacity=10_000, store_path=folder / "store", **options)


def filled(gallery: Gallery) -> int:
    """Add ids of 50 instances until the disk is full; returns how many went in."""
    for id in range(1000):
        try:
            gallery.add(id, FEATURES)
        except StorageUnavailableError:
            return id
    raise AssertionError("the disk is never full")


def fill(path: Path) -> None:
    """Take every byte that is left."""
    with pytest.raises(OSError, match="No space"), path.open("wb", buffering=0) as other:
        while True:
            other.write(bytes(4096))


class TestFullDisk:
    def test_what_does_not_fit_is_refused_and_the_rest_serves(self, disk):
        with opened(disk) as gallery:
            ids = filled(gallery)
            assert ids > 5
            with pytest.raises(StorageUnavailableError, match="full"):
                gallery.add(ids, FEATURES)
            assert gallery.ids() == list(range(ids))
            assert gallery.reader.count() == 50 * ids
            assert "full; make room on its disk; the next addition tries again" in gallery.storage_failure
            assert len(gallery.reader.search(FEATURES[:1] / np.linalg.norm(FEATURES[0]), top_k=3)[0].nearest) == 3
        with opened(disk) as gallery:
            assert (gallery.damage, gallery.ids()) == ((), list(range(ids)))

    def test_the_log_says_it_once_and_once_more_when_it_is_over(self, disk, caplog):
        caplog.set_level("INFO")
        with opened(disk) as gallery:
            ids = filled(gallery)
            with pytest.raises(StorageUnavailableError, match="nothing was changed"):
                gallery.add(ids, FEATURES)
            for id in range(ids - 1):
                gallery.remove(id)
            assert [r.levelname for r in caplog.records] == ["WARNING"]
            assert gallery.storage_failure
            gallery.add(1000, FEATURES)
            assert gallery.storage_failure is None
        assert [record.message.split()[-1] for record in caplog.records] == ["full", "again"]

    def test_removing_works_and_makes_room(self, disk):
        with opened(disk) as gallery:
            ids = filled(gallery)
            for id in range(ids - 1):
                gallery.remove(id)
            gallery.add(1000, FEATURES)
            assert (disk / "store.reserve").stat().st_size == RESERVE_BYTES
        with opened(disk) as gallery:
            assert (gallery.damage, gallery.ids()) == ((), [ids - 1, 1000])

    @pytest.mark.parametrize(
        "change",
        [
            lambda gallery: gallery.add(1000, FEATURES),
            lambda gallery: gallery.set_label(1, "eve" * 80),
            lambda gallery: gallery.set_ttl(60.0),
        ],
        ids=["add", "label", "ttl"],
    )
    def test_removing_works_when_others_take_every_byte_and_other_changes_are_refused(self, disk, change):
        with opened(disk) as gallery:
            for id in range(20):
                gallery.add(id, FEATURES)
        with opened(disk) as gallery:
            fill(disk / "other")
            for n in range(2):
                with pytest.raises(StorageUnavailableError):
                    change(gallery)
                fill(disk / f"other-{n}")
            gallery.clear()
            assert gallery.count() == 0
        with opened(disk) as gallery:
            assert (gallery.damage, gallery.count()) == ((), 0)

    def test_what_a_removal_brings_along_is_written_too(self, disk):
        with opened(disk) as gallery:
            filled(gallery)
            with gallery.transaction():
                gallery.remove(1)
                gallery.set_ttl(60.0)
                gallery.set_limit(100, "drop_oldest")
                gallery.keep_answer(b"key", b"reply")
        with opened(disk) as gallery:
            assert (gallery.count(1), gallery.ttl_s, gallery.limit) == (0, 60.0, (100, "drop_oldest"))
            assert gallery.answers(60) == {b"key": b"reply"}

    def test_whoever_had_thousands_of_numbers_is_forgotten_too(self, disk):
        with opened(disk) as gallery:
            gallery.add(0, FEATURES[:1])
            with gallery.transaction():
                for id in range(70_000):
                    gallery.rename(id, id + 1)
        with opened(disk) as gallery:
            fill(disk / "other")
            gallery.forget(70_000)
        with opened(disk) as gallery:
            assert (gallery.damage, gallery.count(), len(gallery.forgotten())) == ((), 0, 70_001)

    def test_removing_works_after_a_crash_on_a_full_disk(self, disk, tmp_path):
        with opened(disk) as gallery:
            for id in range(20):
                gallery.add(id, FEATURES)
            # As after a crash: the last changes are in the log only.
            shutil.copytree(disk, tmp_path / "crashed")
        shutil.copytree(tmp_path / "crashed", disk, dirs_exist_ok=True)
        fill(disk / "other")
        with opened(disk) as gallery:
            gallery.clear()
            assert gallery.count() == 0


class TestDiskOfAPlainStoreThatGetsAKey:
    def test_without_room_to_encrypt_it_serves_and_changes_wait_until_there_is(self, disk):
        with opened(disk, key=None) as gallery:
            for id in range(40):
                gallery.add(id, FEATURES)
        (disk / "other").write_bytes(bytes(2 << 20))
        with opened(disk, key=bytes(32)) as gallery:
            assert (gallery.encrypted, gallery.count(), gallery.damage) == (False, 2000, ())
            with pytest.raises(StorageUnavailableError, match="make room"):
                gallery.add(1000, FEATURES)
            mount("-o", "remount,size=32m", disk)
            gallery.add(1000, FEATURES)
            assert gallery.encrypted
        with opened(disk, key=bytes(32)) as gallery:
            assert (gallery.count(), gallery.damage) == (2050, ())

    def test_while_it_is_read_only_it_serves_and_is_encrypted_once_it_is_writable(self, disk):
        with opened(disk, key=None) as gallery:
            gallery.add(1, FEATURES)
        mount("-o", "remount,ro", disk)
        with opened(disk, key=bytes(32)) as gallery:
            assert (gallery.encrypted, gallery.count()) == (False, 50)
            mount("-o", "remount,rw", disk)
            gallery.remove(1)
            assert gallery.encrypted
        assert FEATURES[0].tobytes()[:64] not in (disk / "store").read_bytes()


class TestReadOnlyDisk:
    def test_mutations_are_refused_until_it_is_writable_and_need_no_restart(self, disk):
        with opened(disk) as gallery:
            gallery.add(1, FEATURES)
            gallery._store.close()
            assert mount("-o", "remount,ro", disk).returncode == 0
            with pytest.raises(StorageUnavailableError):
                gallery.remove(1)
            assert gallery.reader.count() == 50
            assert "changes are refused: Read-only file system; look at its disk" in gallery.storage_failure
            mount("-o", "remount,rw", disk)
            gallery.add(2, FEATURES)
        with opened(disk) as gallery:
            assert gallery.ids() == [1, 2]

    def test_a_start_from_it_serves_what_is_there(self, disk, tmp_path):
        with opened(disk) as gallery:
            gallery.add(1, FEATURES)
            # As after a crash: the last change is in the log only.
            shutil.copytree(disk, tmp_path / "crashed")
        shutil.copytree(tmp_path / "crashed", disk, dirs_exist_ok=True)
        mount("-o", "remount,ro", disk)
        with opened(disk) as gallery:
            assert (gallery.count(), gallery.damage) == (50, ())
            with pytest.raises(StorageUnavailableError):
                gallery.remove(1)
            mount("-o", "remount,rw", disk)
            gallery.add(2, FEATURES)
        with opened(disk) as gallery:
            assert gallery.ids() == [1, 2]


class TestForgetting:
    def test_a_removed_feature_is_nowhere_in_the_files(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, FEATURES[:5])
            gallery.add(2, FEATURES[5:10])
            removed = [row.tobytes() for row in gallery.reader.rows().features[:5]]
            gallery.remove(1)
            content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
        assert [row for row in removed if row in content] == []

    def test_the_log_does_not_stay_as_large_as_the_largest_change_made_it(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, np.tile(FEATURES, (40, 1)))
            assert (tmp_path / "store-wal").stat().st_size > 3 << 20
            for id in range(2, 32):
                gallery.add(id, FEATURES)
            assert (tmp_path / "store-wal").stat().st_size <= 3 << 20
