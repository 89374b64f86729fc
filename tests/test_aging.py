"""Instances that live for some time only, on boards whose clocks jump."""

import pytest
from galleries import feature, labels_of, opened, retention_of

from reidd.errors import RequestError
from reidd.gallery import Gallery
from reidd.gallery.aging import Ages


@pytest.fixture
def gallery():
    with opened() as gallery:
        yield gallery


class TestTimeToLive:
    class Clock:
        """Seconds since this machine was started, as CLOCK_MONOTONIC."""

        now_s = 1000.0

        def __call__(self) -> float:
            return self.now_s

    @pytest.fixture
    def clock(self):
        return self.Clock()

    def opened(self, clock, folder=None):
        return opened(folder, clock_s=clock)

    @staticmethod
    def live(gallery: Gallery, clock: "TestTimeToLive.Clock", seconds: int) -> list[tuple[int, int]]:
        """Serve that long; returns what went meanwhile."""
        gone = []
        for _ in range(seconds):
            clock.now_s += 1
            gone += gallery.expire().dropped
        return gone

    def test_an_instance_goes_when_it_has_lived_its_time_and_not_before(self, clock):
        with self.opened(clock) as gallery:
            gallery.set_ttl(100)
            gallery.add(1, feature(1))
            assert self.live(gallery, clock, 50) == []
            gallery.add(2, feature(2))
            assert self.live(gallery, clock, 49) == []
            assert self.live(gallery, clock, 15) == [(1, 1)]
            assert self.live(gallery, clock, 50) == [(2, 2)]
            assert gallery.count() == 0

    def test_what_a_backup_puts_back_begins_anew(self, clock):
        with self.opened(clock) as gallery:
            gallery.set_ttl(100)
            gallery.add(1, feature(1))
            assert self.live(gallery, clock, 90) == []
            gallery.restore(gallery.reader.rows(), {}, retention_of(gallery))
            assert self.live(gallery, clock, 99) == []
            assert self.live(gallery, clock, 15) == [(2, 1)]

    def test_who_looks_before_it_is_time_asks_no_id(self, clock, monkeypatch):
        with self.opened(clock) as gallery:
            gallery.set_ttl(1000)
            gallery.add(1, feature(1))
            with monkeypatch.context() as asked:
                asked.setattr(gallery._edit, "_ttls_s", None)
                assert self.live(gallery, clock, 15) == []
            assert self.live(gallery, clock, 1030) == [(1, 1)]

    def test_a_time_to_live_is_taken_back_and_the_clock_goes_on(self, clock):
        with self.opened(clock) as gallery:
            gallery.set_ttl(1000)
            gallery.add(1, feature(1))
            gallery.set_ttl(50)
            assert self.live(gallery, clock, 40) == []
            gallery.undo()
            assert retention_of(gallery).ttl_s == 1000
            assert self.live(gallery, clock, 900) == []
            assert self.live(gallery, clock, 100) == [(1, 1)]

    def test_an_id_can_have_a_time_of_its_own(self, clock):
        with self.opened(clock) as gallery:
            gallery.set_ttl(1000)
            gallery.add(1, feature(1))
            gallery.add(2, feature(2))
            gallery.set_label(2, "eve")
            gallery.set_ttl(20, id=2)
            assert self.live(gallery, clock, 100) == [(2, 2)]
            assert labels_of(gallery) == {}

    def test_a_merged_id_keeps_the_time_that_one_of_them_had(self, clock):
        with self.opened(clock) as gallery:
            gallery.add(1, feature(1))
            gallery.add(2, feature(2))
            gallery.set_ttl(20, id=2)
            gallery.merge(2, 1)
            assert self.live(gallery, clock, 100) == [(1, 1), (2, 1)]

    def test_a_pinned_id_outlives_the_time_of_the_gallery(self, clock):
        with self.opened(clock) as gallery:
            gallery.set_ttl(20)
            gallery.add(1, feature(1))
            gallery.pin(1)
            assert self.live(gallery, clock, 100) == []

    def test_time_without_power_and_a_clock_from_1970_delete_nothing(self, clock, tmp_path):
        with self.opened(clock, tmp_path) as gallery:
            gallery.set_ttl(100)
            gallery.add(1, feature(1))
            self.live(gallery, clock, 60)
        clock.now_s = 3
        with self.opened(clock, tmp_path) as gallery:
            assert self.live(gallery, clock, 30) == []
            assert self.live(gallery, clock, 30) == [(1, 1)]

    def test_notes_of_age_stay_few(self):
        ages = Ages()
        for n in range(5000):
            ages = ages.noted(5.0 * n, n, longest_s=1e6)
            assert ages.reached(5.0 * n, 1000) <= max(0, n - 200)
        assert len(ages.notes) < 400
        assert 2900 < ages.reached(25_000, 10_000) <= 3000
        assert 4770 < ages.reached(25_000, 1_000) <= 4800

    def test_a_whole_number_of_seconds_survives_a_restart(self, tmp_path):
        with opened(tmp_path) as gallery:
            gallery.add(1, feature(1))
            gallery.set_ttl(3600, id=1)
            gallery.set_ttl(7200)
        with opened(tmp_path) as gallery:
            assert (gallery.damage, gallery.identity(1).ttl_s, gallery.ttl_s) == ((), 3600, 7200)

    @pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
    def test_a_time_that_is_not_positive_is_refused(self, gallery, seconds):
        with pytest.raises(RequestError, match="positive number"):
            gallery.set_ttl(seconds)
