"""A repeated change is known by its request id and content, for a minute."""

import msgspec

from reidd import protocol
from reidd.daemon.envelope import Caller
from reidd.daemon.retries import MAX_REMEMBERED, MAX_REPEATS, Repeat, Retries, key_of
from reidd.keys import User

A, B, C = (Caller((name, b"")) for name in (b"a", b"b", b"c"))
REMOVE = protocol.RemoveFromGallery(request="42", id=7)
ADD = protocol.AddToGallery(request="42", id=7, parts=[protocol.Encoded()])


def test_a_repeat_has_the_same_id_and_content_and_its_deadline_does_not_count():
    later = msgspec.structs.replace(ADD, deadline_ms=17)
    assert key_of(ADD, [b"image"]) == key_of(later, [b"image"]) != b""
    others = [
        key_of(ADD, [b"another"]),
        key_of(msgspec.structs.replace(ADD, request="43"), [b"image"]),
        key_of(msgspec.structs.replace(ADD, id=8), [b"image"]),
        key_of(ADD, [b"image"], User("somebody else", frozenset())),
    ]
    assert key_of(ADD, [b"image"]) not in others


def test_what_changes_nothing_or_has_no_request_id_is_never_a_repeat():
    assert key_of(protocol.Status(request="42"), []) == b""
    assert key_of(protocol.RemoveFromGallery(id=7), []) == b""


def test_the_first_answer_is_given_again():
    retries, key = Retries(), key_of(REMOVE, [])
    assert retries.noted(key, A, 0) is Repeat.FIRST
    assert retries.finished(key, b"answer", 1) == []
    assert retries.noted(key, B, 1) == b"answer"


def test_who_repeats_while_the_first_is_under_way_is_answered_with_it():
    retries, key = Retries(), key_of(REMOVE, [])
    retries.noted(key, A, 0)
    assert retries.noted(key, B, 1) is Repeat.UNDER_WAY
    assert retries.finished(key, b"answer", 1) == [B]


def test_a_flood_of_repeats_takes_no_memory():
    retries, key = Retries(), key_of(REMOVE, [])
    retries.noted(key, A, 0)
    for _ in range(2 * MAX_REPEATS):
        assert retries.noted(key, B, 1) is Repeat.UNDER_WAY
    assert retries.finished(key, b"answer", 1) == [B] * MAX_REPEATS


def test_what_failed_may_be_tried_again():
    retries, key = Retries(), key_of(REMOVE, [])
    retries.noted(key, A, 0)
    retries.finished(key, None, 1)
    assert retries.noted(key, A, 1) is Repeat.FIRST


def test_after_the_window_it_is_a_new_change():
    retries, key = Retries(), key_of(REMOVE, [])
    retries.noted(key, A, 0)
    retries.finished(key, b"answer", 20)
    assert retries.noted(key, A, 79.9) == b"answer"
    assert retries.noted(key, A, 80.1) is Repeat.FIRST


def test_a_change_that_takes_longer_than_the_window_is_made_once_and_all_who_asked_are_answered():
    retries, key = Retries(), key_of(REMOVE, [])
    retries.noted(key, A, 0)
    retries.noted(key, B, 59)
    assert retries.noted(key, C, 599) is Repeat.UNDER_WAY
    assert retries.finished(key, b"answer", 600) == [B, C]
    assert retries.noted(key, A, 659) == b"answer"


def test_a_flood_of_changes_is_forgotten_oldest_first():
    retries = Retries()
    for number in range(MAX_REMEMBERED + 1):
        retries.noted(b"%d" % number, A, 0)
        retries.finished(b"%d" % number, b"answer", 1)
    assert retries.noted(b"1", A, 1) == b"answer"
    assert retries.noted(b"0", A, 1) is Repeat.FIRST
