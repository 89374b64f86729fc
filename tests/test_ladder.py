"""Which pair is tried when: facts in, order out; time is a number."""

import pytest

from reidd.daemon.ladder import LAST_RESORT_PAUSE_S, Ladder, Rung
from reidd.engines import Accelerator, Engine

STICK = (Engine.TFLITE, Accelerator.EDGE_TPU)
LITE = (Engine.TFLITE, Accelerator.CPU)
DNN = (Engine.DNN, Accelerator.CPU)


@pytest.fixture
def ladder() -> Ladder:
    return Ladder([Rung(STICK), Rung(LITE), Rung(DNN)], max_pause_s=30)


def test_all_pairs_are_offered_in_order(ladder):
    assert ladder.offer(0, cautious=False) == ladder.offer(0, cautious=True) == [STICK, LITE, DNN]


def test_a_pair_rests_twice_as_long_after_each_failure_but_the_first(ladder):
    assert [ladder.failed(STICK, "died", now) for now in range(12)] == [
        0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30,
    ]  # fmt: skip


def test_a_resting_pair_is_not_offered(ladder):
    for now in (0, 1):
        ladder.failed(STICK, "died", now)
    assert ladder.offer(1.1, cautious=False) == [LITE, DNN]
    assert ladder.better(LITE, 1.1) is None
    assert ladder.better(LITE, 1.3) == STICK


def test_the_service_is_not_bet_on_a_pair_that_just_failed(ladder):
    ladder.failed(STICK, "hung", 0)
    assert ladder.offer(0, cautious=True) == [LITE, DNN, STICK]
    assert ladder.offer(0, cautious=False) == [STICK, LITE, DNN]


def test_when_all_rest_they_are_tried_again_all_the_same(ladder):
    for pair in (STICK, LITE, DNN):
        for now in range(10):
            ladder.failed(pair, "died", now)
    assert ladder.offer(9.5, cautious=True) == []
    assert ladder.offer(9 + LAST_RESORT_PAUSE_S, cautious=True) == [STICK, LITE, DNN]


def test_a_failure_long_ago_does_not_count(ladder):
    for now in range(10):
        ladder.failed(STICK, "died", now)
    assert ladder.failed(STICK, "died", 100) == 0


def test_a_device_that_hangs_at_each_attempt_is_tried_no_oftener_for_that(ladder):
    now, hang_s, pauses = 0.0, 31, []
    for _ in range(20):
        pauses.append(ladder.failed(STICK, "was not ready within 30 s", now))
        now += pauses[-1] + hang_s
    assert pauses == sorted(pauses)


def test_what_an_optional_pair_failed_at_before_it_worked_does_not_count():
    ladder = Ladder([Rung(STICK, optional=True), Rung(LITE)], max_pause_s=30)
    for day in range(10):
        ladder.failed(STICK, "none there", 300.0 * day)
    assert ladder[STICK].failures == 1


def test_a_device_that_is_taken_is_offered_when_it_is_free_again(ladder):
    ladder[STICK].full = True
    assert ladder.better(LITE, 0) is None
    ladder[STICK].full = False
    assert ladder.better(LITE, 0) == STICK


def test_an_optional_pair_is_missed_only_after_it_worked():
    ladder = Ladder([Rung(STICK, optional=True), Rung(LITE)], max_pause_s=30)
    assert not ladder.is_degraded(LITE)
    ladder.worked(STICK)
    assert ladder.is_degraded(LITE)
    assert not ladder.is_degraded(STICK)


def test_an_optional_pair_that_never_worked_is_rarely_looked_for():
    ladder = Ladder([Rung(STICK, optional=True), Rung(LITE)], max_pause_s=30)
    assert ladder.failed(STICK, "none there", now=0) == 300


def test_what_was_the_requests_fault_is_forgiven(ladder):
    ladder.failed(LITE, "died", 0)
    ladder.failed(DNN, "died", 0)
    ladder.forgive([LITE, DNN])
    assert [rung.failures for rung in ladder] == [0, 0, 0]


def test_a_pair_that_is_asked_for_comes_first_and_the_others_stay(ladder):
    ladder.failed(DNN, "died", 0)
    ladder.prefer(DNN)
    assert ladder.offer(0, cautious=True) == [DNN, STICK, LITE]
    ladder.prefer((Engine.ONNX_RT, Accelerator.CPU))
    assert ladder.rank(DNN) == 1
