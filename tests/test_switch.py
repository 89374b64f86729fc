"""A client asks for another pair: it is had, or all is as before."""

from pools import LITE, STICK, pair_of

from reidd.engines import Accelerator, Engine
from reidd.errors import DeadlineError


def test_another_pair_can_be_asked_for(rig):
    built = rig([LITE])
    built.until(built.on(LITE))
    built.pool.switch(built.job(within_s=20), STICK)
    built.until(lambda: built.outcomes)
    built.outcomes.clear()
    assert pair_of(built.ask()[0]) == STICK
    assert [record.accelerator for record in built.pool.records()] == [Accelerator.EDGE_TPU, Accelerator.CPU]


def test_the_device_that_is_given_up_for_another_may_be_had_again(rig):
    built = rig([STICK, LITE], size=2)
    built.until(built.on(STICK))
    built.pool.ladder[STICK].full = True  # as a stick that serves one process leaves it
    built.pool.switch(built.job(within_s=20), LITE)
    built.until(lambda: built.outcomes and not built.pids(STICK))
    assert built.pool.ladder.offer(0, cautious=False) == [LITE, STICK]


def test_a_pair_that_cannot_be_had_changes_nothing(rig):
    built = rig([LITE])
    built.until(built.on(LITE))
    built.pool.switch(built.job(within_s=20), (Engine.HAILO_RT, Accelerator.HAILO))
    built.until(lambda: built.outcomes)
    assert "no installed plugin brings HAILO_RT/HAILO" in str(built.outcomes.pop().reply)
    assert pair_of(built.ask()[0]) == LITE


def test_a_pair_that_is_not_ready_in_time_is_given_up_and_all_is_as_before(rig, stick):
    built = rig([LITE])
    built.until(built.on(LITE))
    stick.behave("hang")
    built.pool.switch(built.job(within_s=0.3), STICK)
    built.until(lambda: built.outcomes)
    assert isinstance(built.outcomes.pop().reply, DeadlineError)
    assert pair_of(built.ask()[0]) == LITE
    assert len(list(built.pool._crew)) == 1
