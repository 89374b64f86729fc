"""A column of numbers behaves as a dict would, whatever is done to it."""

from random import Random

import numpy as np

from reidd.gallery.numbered import Numbered


def test_it_agrees_with_a_dict_whatever_is_put_in_and_taken_out():
    random, held = Random(0), dict(enumerate(range(500), 1))
    numbered = Numbered(np.array(list(held)), np.array(list(held.values())))
    for _ in range(20_000):
        number = random.randrange(1, 6000)
        if number in held and random.random() < 0.6:
            assert numbered.pop(number) == held.pop(number)
        else:
            held[number] = random.randrange(50)
            numbered.put(number, held[number])
        assert len(numbered) == len(held)
        assert numbered.get(number + 1) == held.get(number + 1)
    assert list(numbered.since(3000)) == sorted((n, value) for n, value in held.items() if n >= 3000)


def test_what_is_taken_out_takes_up_no_room_for_ever():
    numbered = Numbered((), ())
    for number in range(20_000):
        numbered.put(number, 1)
        if number >= 10:
            numbered.pop(number - 10)
    assert len(numbered) == 10
    assert len(numbered._numbers) < 3000
