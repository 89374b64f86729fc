"""The soak's estimator: it finds a leak, and noise does not fool it."""

from collections import Counter

import numpy as np
import pytest

from soak.growth import allowance_mib, growth_mib, slope_mib_per_hour
from soak.observer import Sample
from soak.report import verdict
from soak.run import Seen

SECONDS = np.arange(0, 100, 0.5)
DAY = np.arange(0, 86_400, 60.0)


def noise(count, mib=0.3):
    """Spikes upward, as a large message makes them, on a level that wavers."""
    chance = np.random.default_rng(1)
    return 50 + chance.normal(0, mib, count) + 20 * (chance.random(count) < 0.1)


def seen(seconds=SECONDS, core=None, **fields):
    core = noise(len(seconds)) if core is None else core
    samples = [Sample(s, mib, 80.0, 30) for s, mib in zip(seconds, core, strict=True)]
    whole = {
        "counts": Counter(),
        "injected": Counter(),
        "surprises": [],
        "slowest_s": 0.0,
        "quiet": [20, 20],
    }
    return Seen(seconds=float(seconds[-1]), samples=samples, **{**whole, **fields})


def test_noise_alone_is_no_fault():
    assert verdict(seen()) == []
    assert verdict(seen(DAY)) == []


def test_a_leak_is_found_in_minutes_and_in_a_day():
    a_request_of_400_bytes = 100 * 400 / 2**20  # at a hundred requests a second, MiB a second
    assert "the core grew" in verdict(seen(core=noise(len(SECONDS)) + a_request_of_400_bytes * SECONDS))[0]
    two_an_hour = verdict(seen(DAY, core=noise(len(DAY)) + 2 * DAY / 3600))
    assert "2.00 MiB an hour" in two_an_hour[1]


def test_what_was_not_injected_and_descriptors_that_stay_open_are_faults():
    assert verdict(seen(surprises=["_ask: busy"])) == ["not injected: _ask: busy"]
    assert "20 before, 21 after" in verdict(seen(quiet=[20, 21]))[0]
    assert verdict(seen(log=["Traceback"])) == ["in the log: Traceback"]


def test_the_slope_is_that_of_the_line_beneath_the_spikes():
    assert slope_mib_per_hour(DAY, noise(len(DAY)) + 3 * DAY / 3600) == pytest.approx(3, abs=0.05)
    assert growth_mib([9, 9, 9, 1, 1, 1, 4, 4, 4]) == 3
    assert allowance_mib(180) == 1
    assert allowance_mib(86_400) == 8
