"""How often a key may ask."""

import pytest

from reidd.daemon.allowance import Allowance
from reidd.errors import BusyError


def passed(allowance, name, times):
    """How many of these requests were let through."""
    count = 0
    for now in times:
        try:
            allowance.spend(name, now)
            count += 1
        except BusyError:
            pass
    return count


def test_a_steady_client_within_the_rate_is_never_held_up():
    assert passed(Allowance(10, 1), "cam", [n / 10 for n in range(1000)]) == 1000


def test_a_flood_passes_at_the_rate_after_its_burst():
    assert passed(Allowance(10, 20), "cam", [n / 1000 for n in range(10_000)]) == pytest.approx(20 + 100, abs=1)


def test_each_key_has_a_hand_of_its_own():
    allowance = Allowance(10, 1)
    assert passed(allowance, "flood", [0.0] * 100) == 1
    assert passed(allowance, "cam", [0.0]) == 1


def test_who_is_turned_away_is_told_when_to_come_again():
    allowance = Allowance(10, 1)
    allowance.spend("cam", 0.0)
    with pytest.raises(BusyError, match="'cam' asks more than 10 times a second") as turned_away:
        allowance.spend("cam", 0.02)
    assert turned_away.value.retry_after_s == pytest.approx(0.08)
    assert passed(allowance, "cam", [0.101]) == 1


def test_silence_saves_no_more_than_a_burst():
    allowance = Allowance(10, 5)
    allowance.spend("cam", 0.0)
    assert passed(allowance, "cam", [1000.0] * 100) == 5
