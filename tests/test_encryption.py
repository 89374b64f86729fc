"""An encrypted store: nothing of it can be read or moved without its key, and no key is ever taken for damage."""

from pathlib import Path

import pytest
from encrypted import KEY, OTHER_KEY, encrypted_store, stored, units, written
from galleries import change, everything, features, held, labels_of, opened, retention_of

from reidd.errors import GalleryError, GalleryKeyError
from reidd.gallery.changes import Identity
from reidd.gallery.contents import identity_crc, instance_crc


@pytest.fixture
def store(tmp_path) -> Path:
    return encrypted_store(tmp_path)


class TestEncryptedStore:
    def test_it_holds_no_feature_and_no_label_in_any_file(self, tmp_path):
        with opened(tmp_path, key=KEY) as gallery:
            gallery.add(1, features(5))
            gallery.set_label(1, "Annabelle")
            gallery.rename(1, 2)
            gallery.undo()
            while_open = written(tmp_path)
        closed = written(tmp_path)
        assert (tmp_path / "gallery.sqlite.reserve").exists()
        for row in units(5):
            # Half of one, too: rows lie in pages in any order.
            assert not [part for part in (row, row[:16], row[16:]) if part in while_open or part in closed]
        assert b"Annabelle" not in while_open + closed

    def test_the_same_search_finds_them_in_a_plain_one(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, features(5))
            gallery.set_label(1, "Annabelle")
            assert all(row in written(tmp_path) for row in (*units(5), b"Annabelle"))

    def test_a_restart_finds_everything(self, store, tmp_path):
        with opened(tmp_path, key=KEY) as gallery:
            assert gallery.encrypted
            assert (gallery.damage, labels_of(gallery), retention_of(gallery).pinned) == ((), {2: "Annabelle"}, (2,))
            assert held(gallery) == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)]
            assert [row.tobytes() for row in gallery.reader.rows().features] == units(5)

    def test_everything_that_changes_a_gallery_goes_on_to_work(self, store, tmp_path):
        with opened(tmp_path, key=KEY) as gallery:
            gallery.remove(1)
            gallery.undo()
            gallery.merge(2, 1)
            gallery.move(4, 3)
            gallery.forget(1)
            before = everything(gallery)
        with opened(tmp_path, key=KEY) as gallery:
            assert gallery.damage == ()
            assert everything(gallery) == before
            assert held(gallery) == [(4, 3)]

    def test_what_was_forgotten_is_in_no_file(self, store, tmp_path):
        gone = [stored(store, f"SELECT feature FROM instances WHERE instance = {number}")[0] for number in (4, 5)]
        assert all(row in written(tmp_path) for row in gone)
        with opened(tmp_path, key=KEY) as gallery:
            gallery.forget(2)
            assert not [row for row in gone if row in written(tmp_path)]


class TestDamage:
    @pytest.mark.parametrize("swapped", ["id", "instance"])
    def test_a_row_that_was_moved_is_noticed_though_its_checksum_is_right(self, store, tmp_path, swapped):
        number, id, time_ns, sealed = stored(store, "SELECT instance, id, time_ns, feature FROM instances LIMIT 1")
        number, id = (number, 2) if swapped == "id" else (9, id)
        crc = instance_crc(number, id, time_ns, sealed)
        change(tmp_path, "UPDATE instances SET instance = ?, id = ?, crc = ? WHERE instance = 1", number, id, crc)
        with opened(tmp_path, key=KEY) as gallery:
            assert f"instance {number} does not match its checksum" in gallery.damage
            assert [number for number, _ in held(gallery)] == [2, 3, 4, 5]

    def test_a_row_of_a_plain_store_is_not_believed(self, store, tmp_path):
        plain = units(1)[0]
        change(tmp_path, "INSERT INTO instances VALUES (9, 9, 0, ?, ?)", instance_crc(9, 9, 0, plain), plain)
        with opened(tmp_path, key=KEY) as gallery:
            assert "instance 9 does not match its checksum" in gallery.damage
            assert 9 not in gallery.ids()

    def test_a_label_that_was_moved_is_noticed(self, store, tmp_path):
        (sealed,) = stored(store, "SELECT label FROM identities")
        crc = identity_crc(1, Identity(sealed, True, None))
        change(tmp_path, "UPDATE identities SET id = 1, crc = ?", crc)
        with opened(tmp_path, key=KEY) as gallery:
            assert "the label of id 1 was not written for that id" in gallery.damage
            assert labels_of(gallery) == {}

    def test_what_is_whole_of_a_damaged_store_moves_to_an_encrypted_one(self, store, tmp_path):
        change(tmp_path, "UPDATE instances SET feature = zeroblob(60) WHERE instance = 2")
        with opened(tmp_path, key=KEY) as gallery:
            assert "instance 2 does not match its checksum" in gallery.damage
        assert store.with_name("gallery.sqlite.damaged-1").exists()
        assert not [row for row in units(5) if row in written(tmp_path)]
        with opened(tmp_path, key=KEY) as gallery:
            assert (gallery.damage, gallery.count(), labels_of(gallery)) == ((), 4, {2: "Annabelle"})


class TestKey:
    @pytest.mark.parametrize(
        ("key", "said"), [(None, "no key is configured"), (OTHER_KEY, "another key")], ids=["none", "another"]
    )
    def test_without_its_key_nothing_is_served_and_nothing_is_touched(self, store, tmp_path, key, said):
        before = store.read_bytes()
        with pytest.raises(GalleryKeyError, match=said) as refusal:
            opened(tmp_path, key=key)
        assert refusal.value.code == "wrong-gallery-key"
        assert store.read_bytes() == before
        assert not list(tmp_path.glob("*damaged*"))
        with opened(tmp_path, key=KEY) as gallery:
            assert (gallery.damage, gallery.count()) == ((), 5)

    @pytest.mark.parametrize("statement", ["UPDATE meta SET value = 'x'", "DELETE FROM meta"])
    def test_a_damaged_note_of_the_key_sets_no_row_aside(self, store, tmp_path, statement):
        change(tmp_path, f"{statement} WHERE key = 'key'")
        for key in (KEY, OTHER_KEY):
            with pytest.raises(GalleryError, match="notes its key"):
                opened(tmp_path, key=key)
        assert not list(tmp_path.glob("*damaged*"))

    def test_an_error_tells_nothing_of_a_key(self, store, tmp_path):
        with pytest.raises(GalleryKeyError) as refusal:
            opened(tmp_path, key=OTHER_KEY)
        assert OTHER_KEY.hex() not in str(refusal.value)
        assert KEY not in written(tmp_path)
        assert KEY.hex().encode() not in written(tmp_path)
