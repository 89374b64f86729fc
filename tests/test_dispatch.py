"""Which worker gets which request, and when."""

import pytest
from pools import HANG_S, LITE, STICK, pair_of, with_reserve


def test_a_request_is_tried_again_on_another_pair_though_the_same_one_is_free(rig, stick):
    built = rig(size=2)
    built.until(lambda: built.on(STICK, 2)() and built.on(LITE)())
    stick.behave("abort")
    assert pair_of(built.ask()[0]) == LITE


def test_the_reserve_takes_no_request_while_the_stick_works(rig, stick):
    built = with_reserve(rig())
    stick.behave("slow 50")
    for _ in range(3):
        built.pool.submit(built.job())
    built.until(lambda: len(built.outcomes) == 3)
    assert {pair_of(outcome) for outcome in built.outcomes} == {STICK}


def test_a_worker_at_its_work_has_its_next_request_already(rig, stick):
    built = rig([STICK])
    built.until(built.on(STICK))
    stick.behave("slow 100")
    for _ in range(3):
        built.pool.submit(built.job())
    (worker,) = built.pool._crew.working()
    assert worker.ahead is not None
    assert built.pool.waiting == 1
    built.until(lambda: len(built.outcomes) == 3)
    assert {pair_of(outcome) for outcome in built.outcomes} == {STICK}
    assert (worker.job, worker.ahead) == (None, None)


@pytest.mark.parametrize("options", [{"within_s": 1.2 * HANG_S}, {"images": 2}])
def test_what_is_large_or_urgent_waits_for_whoever_is_free_first(rig, stick, options):
    built = rig([STICK])
    built.until(built.on(STICK))
    stick.behave("slow 50")
    built.pool.submit(built.job())
    built.pool.submit(built.job(**options))
    assert built.pool._crew.working()[0].ahead is None
    built.until(lambda: len(built.outcomes) == 2)
    assert {pair_of(outcome) for outcome in built.outcomes} == {STICK}
