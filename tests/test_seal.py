"""A closed store's file is sealed: a change of any of its bytes shows at the next start."""

import pytest
from galleries import features, opened

from reidd.gallery.seal import seal, unseal


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "store"
    path.write_bytes(bytes(10_000))
    return path


class TestSeal:
    def test_fits_the_file_that_was_sealed_and_holds_once(self, path):
        seal(path)
        assert not unseal(path)
        path.write_bytes(b"written by its owner")
        assert not unseal(path)

    @pytest.mark.parametrize(
        "change", [b"\1" + bytes(9_999), bytes(9_999), bytes(10_001)], ids=["byte", "cut", "longer"]
    )
    def test_fits_no_other(self, path, change):
        seal(path)
        path.write_bytes(change)
        assert unseal(path)
        assert not unseal(path)

    def test_of_a_file_that_was_moved_away_says_nothing(self, path):
        seal(path)
        path.unlink()
        assert not unseal(path)

    def test_is_left_out_where_reading_takes_long(self, path, monkeypatch):
        monkeypatch.setattr("reidd.gallery.seal.WITHIN_S", 0.0)
        seal(path)
        assert not list(path.parent.glob("*.seal*"))


class TestGallery:
    def test_says_that_a_byte_changed_which_holds_nothing_and_serves_all(self, tmp_path):
        path = tmp_path / "store"
        with opened(store_path=path) as gallery:
            gallery.add(1, features(3))
        with path.open("r+b") as file:
            file.seek(80)  # SQLite's header keeps these for later versions
            file.write(b"\1")
        with opened(store_path=path) as gallery:
            (damage,) = gallery.damage
            assert "changed while no daemon held it" in damage
            assert gallery.count() == 3
        with opened(store_path=path) as gallery:
            assert gallery.damage == ()

    def test_has_no_seal_while_it_is_open(self, tmp_path):
        with opened(store_path=tmp_path / "store"):
            assert not (tmp_path / "store.seal").exists()
        assert (tmp_path / "store.seal").exists()
