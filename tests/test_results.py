"""Results are values: read-only and comparable."""

import numpy as np
import pytest

from reidd import ReIdentificationPrediction, ReIdentificationResults


def results(id=1, distance=0.25, duration=0.1, image=None):
    prediction = ReIdentificationPrediction(id, 1, distance)
    return ReIdentificationResults([prediction], np.array([[distance]], np.float32), duration, image)


def test_predictions_are_equal_by_what_they_say():
    assert ReIdentificationPrediction(1, 1, 0.25) == ReIdentificationPrediction(1, 1, 0.25)
    assert ReIdentificationPrediction(1, 1, 0.25) != ReIdentificationPrediction(2, 1, 0.25)
    assert ReIdentificationPrediction(1, 1, 0.25) != (1, 1, 0.25)


def test_results_are_equal_by_their_answer_not_by_how_long_it_took():
    assert results() == results(duration=0.7)
    assert results() != results(id=2)
    assert results() != results(distance=0.5)
    other_gallery = ReIdentificationResults(results().predictions, np.array([[0.25, 0.9]], np.float32), 0.1)
    assert results() != other_gallery
    assert results(image=np.zeros((4, 4, 3))) != results()
    assert results(image=np.zeros((4, 4, 3))) == results(image=np.zeros((4, 4, 3)))


@pytest.mark.parametrize("name", ["id", "rank", "distance"])
def test_predictions_are_read_only(name):
    with pytest.raises(AttributeError):
        setattr(ReIdentificationPrediction(1, 1, 0.25), name, 3)


@pytest.mark.parametrize("name", ["predictions", "distance_matrix", "duration", "image"])
def test_results_are_read_only(name):
    with pytest.raises(AttributeError):
        setattr(results(), name, None)


def test_emptying_the_list_of_predictions_changes_nothing():
    answer = results()
    answer.predictions.clear()
    assert len(answer.predictions) == 1


def test_an_image_file_is_decoded_once_and_only_for_those_who_look():
    looked = []

    def decode():
        looked.append(1)
        return np.zeros((4, 4, 3), np.uint8)

    found = results(image=decode)
    assert not looked
    assert found.image is found.image
    assert len(looked) == 1
