"""What subscribers hear of a daemon, and may ask for if they missed it."""

import json
import time

import numpy as np
import pytest

import reidd
from reidd.client import subscribed


def test_subscribers_hear_of_everything_in_numbered_events_without_images_or_features(client, shared_daemon, image):
    with subscribed(client.status().analytics, timeout=5) as events:
        client.add_to_gallery(image, 6)
        client.set_label(6, "Fay")
        results = client.re_id_image(image)
        client.publish_analytics(results, {"camera": "door"}, frame=12)
        client.set_per_id_gallery_limit(50, "drop_oldest")
        client.remove_from_gallery(6)
        client.clear()
        heard = [next(events) for _ in range(7)]
    kinds = ["added", "labelled", "identified", "published", "limited", "removed", "cleared"]
    assert [event["type"] for event in heard] == kinds
    assert [event["seq"] for event in heard] == list(range(heard[0]["seq"], heard[0]["seq"] + 7))
    assert {event["epoch"] for event in heard} == {client.status().epoch}
    assert all(event["model"] == "reidd/person" and abs(event["time"] - time.time()) < 60 for event in heard)
    published = heard[3]
    assert (published["tag"], published["kwargs"]) == ({"camera": "door"}, {"frame": 12})
    assert published["results"][0]["predictions"][0]["id"] == 6
    assert published["results"][0]["predictions"][0]["label"] == "Fay"
    # The largest of them is far smaller than an image (thousands of bytes) or a feature (256 floats) would be.
    assert max(len(json.dumps(event)) for event in heard) < 500


def test_what_a_subscriber_missed_it_can_ask_for(client):
    before = client.status().seq
    for id in range(3):
        client.add_features_to_gallery(np.eye(3, 256, dtype=np.float32)[id], id)
    missed = client.events(after=before + 1)
    assert missed.complete
    assert [(event["seq"], event["id"]) for event in missed.events] == [(before + 2, 1), (before + 3, 2)]


@pytest.mark.parametrize("number", [np.int64, np.uint8])
def test_what_came_after_a_number_may_be_asked_for_with_any_kind_of_integer(client, number):
    assert client.events(number(5)).epoch == client.status().epoch


@pytest.mark.parametrize("number", [-1, 2**63, 1.0, "5", True, None])
def test_what_is_no_sequence_number_is_refused(client, number):
    with pytest.raises(reidd.RequestError, match=r"after is .*; expected an integer of 0 or more"):
        client.events(number)


def test_what_has_lived_its_time_goes_and_subscribers_hear_of_it(client):
    client.add_features_to_gallery(np.eye(1, 256, dtype=np.float32), 3)
    with subscribed(client.status().analytics, "expired", timeout=30) as events:
        client.set_ttl(0.2)
        expired = next(events)
    client.set_ttl(None)
    assert len(expired["dropped"]) == 1
    assert client.ids() == []
