"""A gallery in one file: what is saved is loaded, what is damaged is refused, and what failed leaves the old file."""

import os
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from galleries import SPACE, labels_of, opened, retention_of
from users import ordinary_user

from reidd.errors import GalleryError, RequestError
from reidd.gallery import Limit, Retention, archive

FEATURES = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)


@pytest.fixture
def saved(tmp_path):
    with opened(capacity=50) as gallery:
        for n in range(20):
            gallery.add(n % 6, FEATURES[n : n + 1])
        gallery.set_label(3, "eve")
        gallery.pin(2)
        gallery.set_ttl(60.5, 4)
        gallery.set_ttl(3600)
        gallery.set_limit(6, "drop_latest")
        rows = gallery.reader.rows()
        archive.save(
            tmp_path / "gallery.npz", rows, labels=labels_of(gallery), space=SPACE, retention=retention_of(gallery)
        )
    return tmp_path / "gallery.npz", rows


class TestSaving:
    def test_what_is_saved_is_loaded(self, saved):
        path, rows = saved
        loaded = archive.load(path)
        assert all(np.array_equal(one, other) for one, other in zip(loaded.rows, rows, strict=True))
        assert (loaded.labels, loaded.space) == ({3: "eve"}, SPACE)
        assert loaded.retention == Retention((2,), {4: 60.5}, Limit(6, "drop_latest"), 3600)

    def test_nobody_but_its_owner_may_read_it(self, saved):
        path, _ = saved
        assert path.stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("put", [Path.touch, lambda path: path.symlink_to("elsewhere")], ids=["file", "link"])
    def test_whoever_put_a_file_or_a_link_in_its_way_reads_nothing_of_it(self, saved, put):
        path, rows = saved
        theirs = path.with_name(f".{path.name}.{os.getpid()}")
        path.with_name("elsewhere").touch()
        put(theirs)
        with theirs.open("rb") as held:
            archive.save(path, rows, labels={}, space=SPACE)
            assert held.read() == b""
        assert len(archive.load(path).rows.numbers) == len(rows.numbers)

    def test_an_empty_gallery_can_be_saved(self, tmp_path):
        with opened(capacity=50) as gallery:
            archive.save(tmp_path / "empty", gallery.reader.rows(), labels={}, space=SPACE)
        assert len(archive.load(tmp_path / "empty").rows.numbers) == 0

    @pytest.mark.parametrize("name", [".", "/", "there", "closed/g"])
    def test_a_folder_or_a_file_in_one_that_is_closed_is_an_error(self, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "there").mkdir()
        (tmp_path / "closed").mkdir(mode=0)
        with opened(capacity=50) as gallery:
            rows = gallery.reader.rows()
        with ordinary_user(), pytest.raises(GalleryError, match="cannot write the gallery file"):
            archive.save(Path(name), rows, labels={}, space=SPACE)

    def test_a_failure_leaves_the_old_file_and_nothing_else(self, saved, monkeypatch):
        path, rows = saved
        before = path.read_bytes()

        def broken(_):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(GalleryError, match="cannot write"):
            archive.save(path, rows, labels={}, space=SPACE)
        assert path.read_bytes() == before
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    def test_what_a_save_that_was_killed_left_behind_goes_with_the_next(self, saved):
        path, rows = saved
        with subprocess.Popen(["/bin/true"]) as ended:
            pass
        others = [
            path.with_name(name) for name in (f".{path.name}.{os.getppid()}", f".{path.name}.key", f".x.{ended.pid}")
        ]
        left = path.with_name(f".{path.name}.{ended.pid}")
        for file in (left, *others):
            file.touch()
        archive.save(path, rows, labels={}, space=SPACE)
        assert not left.exists()
        assert all(file.exists() for file in others)

    def test_a_reader_of_the_old_file_keeps_it_whole(self, saved):
        path, rows = saved
        before = path.read_bytes()
        with path.open("rb") as old:
            archive.save(path, rows, labels={}, space=SPACE)
            assert old.read() == before


class TestLoading:
    def test_content_that_is_not_what_was_saved_is_refused(self, saved):
        path, _ = saved
        with np.load(path) as arrays:
            content = {name: arrays[name] for name in arrays.files}
        content["ids"][3] += 1
        np.savez(path, **content)
        with pytest.raises(GalleryError, match="checksum does not match"):
            archive.load(path)

    def test_a_missing_file_is_an_error(self, tmp_path):
        with pytest.raises(GalleryError, match="cannot read"):
            archive.load(tmp_path / "nothing")

    def test_every_flipped_byte_that_matters_is_noticed(self, saved):
        path, rows = saved
        whole = path.read_bytes()
        for at in range(0, len(whole), 3):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
            try:
                loaded = archive.load(path)
            except GalleryError:
                continue
            # Dates and the like in the zip file's own entries.
            assert all(np.array_equal(one, other) for one, other in zip(loaded.rows, rows, strict=True))
            assert (loaded.labels, loaded.space) == ({3: "eve"}, SPACE)

    def test_a_file_cut_short_is_refused(self, saved):
        path, _ = saved
        whole = path.read_bytes()
        for length in range(0, len(whole), 97):
            path.write_bytes(whole[:length])
            with pytest.raises(GalleryError):
                archive.load(path)

    @pytest.mark.parametrize(
        "odd",
        [
            {"ids": np.full(20, -1)},
            {"ids": np.zeros(19, np.int64)},
            {"ids": np.zeros(20, np.float64)},
            {"features": np.zeros(160, np.float32)},
        ],
        ids=["a negative id", "a row without an id", "a fraction for an id", "no rows"],
    )
    def test_rows_that_no_gallery_has_are_refused_though_the_checksum_is_right(self, saved, odd):
        path, _ = saved
        with np.load(path) as arrays:
            content = {name: arrays[name] for name in arrays.files if name != "sha256"} | odd
        np.savez(path, sha256=np.frombuffer(archive._digest(content), np.uint8), **content)
        with pytest.raises(GalleryError, match="not a whole gallery file"):
            archive.load(path)

    def test_what_was_known_about_an_id_that_went_while_it_was_saved_is_left_out(self, saved):
        path, rows = saved
        retention = Retention(pinned=(3, 99), ttls_s={3: 60.0, 99: 60.0})
        archive.save(path, rows, labels={3: "eve", 99: "adam"}, space=SPACE, retention=retention)
        loaded = archive.load(path)
        assert (loaded.labels, loaded.retention) == ({3: "eve"}, Retention(pinned=(3,), ttls_s={3: 60.0}))

    def test_a_foreign_archive_is_refused(self, tmp_path):
        np.savez(tmp_path / "foreign.npz", features=FEATURES)
        with pytest.raises(GalleryError, match="not a whole gallery file"):
            archive.load(tmp_path / "foreign.npz")
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
            other.writestr("readme", "hello")
        with pytest.raises(GalleryError):
            archive.load(tmp_path / "other.zip")


class TestRestoring:
    def test_a_gallery_holds_what_the_backup_held_and_nothing_else(self, saved):
        path, rows = saved
        with opened(capacity=50) as gallery:
            gallery.add(99, FEATURES[:5])
            backup = archive.load(path)
            change = gallery.restore(backup.rows, backup.labels, backup.retention)
            held = gallery.reader.rows()
            assert (len(change.added), change.removed) == (20, 5)
            assert held.ids.tolist() == rows.ids.tolist()
            assert held.times_ns.tolist() == rows.times_ns.tolist()
            assert np.allclose(held.features, rows.features, atol=1e-6)
            assert held.numbers.tolist() == list(range(6, 26))
            assert labels_of(gallery) == {3: "eve"}
            assert retention_of(gallery) == backup.retention
            gallery.undo()
            assert (gallery.count(), retention_of(gallery)) == (5, Retention())

    def test_a_backup_of_old_leaves_the_retention_as_it_is(self, tmp_path):
        with opened(capacity=50) as gallery:
            archive.save(tmp_path / "old", gallery.reader.rows(), labels={}, space=SPACE)
            gallery.set_limit(3, "drop_random")
            backup = archive.load(tmp_path / "old")
            gallery.restore(backup.rows, backup.labels, backup.retention)
            assert retention_of(gallery) == Retention(limit=Limit(3, "drop_random"))

    def test_a_limit_that_cannot_be_changes_nothing(self, saved):
        backup = archive.load(saved[0])
        with opened(capacity=50) as gallery:
            gallery.add(1, FEATURES[:1])
            with pytest.raises(RequestError, match="at least 1"):
                gallery.restore(backup.rows, {}, Retention(limit=Limit(0, "drop_oldest")))
            assert gallery.count() == 1

    def test_a_backup_too_large_changes_nothing(self, saved):
        backup = archive.load(saved[0])
        with opened(capacity=10) as gallery:
            gallery.add(1, FEATURES[:1])
            with pytest.raises(GalleryError, match="20 instances do not fit"):
                gallery.restore(backup.rows, backup.labels)
            assert gallery.count() == 1
