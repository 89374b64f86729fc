"""A change happens whole, can be taken back, and is seen only when it is done."""

import pytest
from galleries import feature, features, held, labels_of, opened
from msgspec.structs import replace

from reidd.errors import RequestError, UnknownIdError
from reidd.gallery import Change


@pytest.fixture
def gallery():
    with opened() as gallery:
        yield gallery


class TestUndo:
    def test_mutations_are_taken_back_latest_first(self, gallery):
        gallery.add(1, features(2))
        gallery.set_label(1, "eve")
        before = held(gallery)
        gallery.remove(1)
        assert replace(gallery.undo(), taken_back="") == Change(added=(1, 2))
        assert (held(gallery), labels_of(gallery)) == (before, {1: "eve"})
        gallery.undo()
        assert replace(gallery.undo(), taken_back="") == Change(removed=2)
        assert (gallery.ids(), labels_of(gallery)) == ([], {})

    def test_what_was_overwritten_comes_back(self, gallery):
        gallery.add(1, features(10))
        before = held(gallery)
        gallery.add(2, features(3))
        gallery.undo()
        assert held(gallery) == before
        assert gallery.add(2, feature(1)).overwritten == ((1, 1),)

    def test_nothing_to_undo_is_an_error(self, gallery):
        with pytest.raises(RequestError, match="nothing to undo"):
            gallery.undo()


class TestTransactions:
    def test_readers_see_nothing_before_the_end(self, gallery):
        with gallery.transaction():
            gallery.add(1, features(2))
            assert (gallery.count(1), gallery.reader.count()) == (2, 0)
        assert gallery.reader.count() == 2

    def test_mutations_see_each_other(self, gallery):
        with gallery.transaction():
            gallery.add(1, features(2))
            gallery.remove(1)
            gallery.add(1, features(1))
        assert held(gallery) == [(3, 1)]

    def test_an_error_of_one_mutation_does_not_undo_the_others(self, gallery):
        with gallery.transaction():
            gallery.add(1, feature(1))
            with pytest.raises(UnknownIdError):
                gallery.remove(2)
            gallery.add(3, feature(3))
        assert held(gallery) == [(1, 1), (2, 3)]

    def test_an_error_that_leaves_the_block_undoes_it(self, gallery):
        gallery.add(1, feature(1))
        with pytest.raises(UnknownIdError), gallery.transaction():
            gallery.add(3, feature(3))
            gallery.set_limit(1, "drop_oldest")
            gallery.remove(2)
        assert (held(gallery), gallery.limit, gallery.ids()) == ([(1, 1)], None, [1])
