"""What a daemon keeps of people: no image anywhere, nothing of whom it forgot, and a log of who did what."""

import json
import os
import threading
import time

import cv2
import msgspec
import numpy as np
import pytest
import zmq
from subjects import SAMPLE, Daemon, eventually

import reidd
from reidd import places, protocol
from reidd.client import subscribed
from reidd.gallery import Check, Head, Reader


def acts(client: reidd.Client) -> list[dict]:
    return [act for line in client.audit() for act in json.loads(line)["acts"]]


def files(daemon: Daemon) -> bytes:
    """All that the daemon has written: state, runtime folder, log."""
    found = [path for folder in (daemon.state, daemon.runtime) for path in folder.rglob("*") if path.is_file()]
    return b"".join(path.read_bytes() for path in [*found, daemon.log])


def test_no_image_is_written_anywhere_and_no_feature_into_the_log(daemon):
    pictures = [path.read_bytes() for path in sorted((SAMPLE / "gallery").glob("*.jpg"))[:6]]
    decoded = [cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR) for picture in pictures]
    with daemon.client() as client:
        for id, (picture, pixels) in enumerate(zip(pictures, decoded, strict=True)):
            client.add_to_gallery([picture, pixels], id)
            client.re_id_image(picture)
            client.re_id_image(pixels)
            client.explain(pixels)
        with pytest.raises(reidd.ImageError):
            client.add_to_gallery(pictures[0][:3000], 9)
        features = [row.tobytes() for row in Reader(daemon.runtime / places.RING).rows().features]
        written, log = files(daemon), daemon.log.read_bytes()
    jpeg_pieces = [picture[at : at + 24] for picture in pictures for at in range(700, len(picture) - 24, 400)]
    rows = [image[row].tobytes()[:48] for image in decoded for row in range(0, image.shape[0], 16)]
    assert len(jpeg_pieces) > 30 < len(rows)
    assert not [piece for piece in (*jpeg_pieces, *rows) if piece in written]
    # The same search finds what is there: features in the ring and the store, and not in the log.
    assert all(written.count(feature) >= 2 for feature in features)
    assert not [feature for feature in features if feature[:16] in log or feature[:16].hex().encode() in log]
    assert not [f for f in features if str(np.frombuffer(f, np.float32)[0]).encode() in log]


def test_whom_it_forgets_is_in_no_file_and_in_no_kept_event(daemon, gallery_crops):
    with daemon.client() as client:
        for id, image in gallery_crops[:6]:
            client.add_to_gallery(image, id + 1_000_000)
        client.set_label(1_000_001, "Annabelle")
        results = client.re_id_image(gallery_crops[0][1])
        client.publish_analytics(results, {"who": 1_000_001})
        client.rename(1_000_001, 1_000_007)
        rows = Reader(daemon.runtime / places.RING).rows()
        gone = [row.tobytes() for row in rows.features[rows.ids == 1_000_007]]
        receipt = client.forget(1_000_007)
        assert (receipt.instances, receipt.id) == ([1, 2, 3], 1_000_007)
        kept = msgspec.json.encode(client.events().events).decode()
        written = files(daemon)
        assert client.ids() == [1_000_002]
        with pytest.raises(reidd.RequestError, match="nothing to undo"):
            client.undo()
    assert not [row for row in gone if row in written]
    assert b"Annabelle" not in written
    assert "Annabelle" not in kept
    assert "1000001" not in kept
    assert kept.count("1000007") == kept.count('"forgotten"') == 1
    assert "1000002" in kept


def test_subscribers_are_told_and_the_numbers_of_events_have_no_gap(client, shared_daemon):
    client.add_features_to_gallery(np.eye(2, 256, dtype=np.float32), 3)
    with subscribed(client.status().analytics, "forgotten", timeout=5) as events:
        client.forget(3)
        told = next(events)
    assert (told["id"], told["count"]) == (3, 2)
    kept = client.events().events
    assert [event["seq"] for event in kept] == list(range(kept[0]["seq"], kept[0]["seq"] + len(kept)))


def test_a_repeat_of_an_enrolment_does_not_bring_back_whom_it_forgot(client, shared_daemon):
    request = protocol.AddToGallery(request="once", id=5, parts=[protocol.Feature(shape=(1, 256))])
    message = [b"", protocol.encode(request), np.eye(1, 256, dtype="<f4").tobytes()]
    with zmq.Context.instance().socket(zmq.DEALER) as sender:
        sender.connect(shared_daemon.endpoint)
        for step in ("first", "repeat"):
            sender.send_multipart(message)
            assert sender.poll(5000)
            assert b'"changed"' in sender.recv_multipart()[1]
            if step == "first":
                client.forget(5)
    assert client.count(5) == 0


def test_an_enrolment_under_way_does_not_bring_back_whom_it_forgets(client, shared_daemon, image):
    refused = []

    def enrol():
        try:
            with shared_daemon.client() as other:
                other.add_to_gallery([image] * 64, 6)
        except reidd.UnknownIdError as error:
            refused.append(str(error))

    enrolling = threading.Thread(target=enrol)
    enrolling.start()
    until = time.monotonic() + 10
    while enrolling.is_alive() and not refused and time.monotonic() < until:
        client.forget(6)
    enrolling.join()
    assert client.count(6) == 0
    assert refused and "forgotten after this was asked" in refused[0]


def test_neither_does_a_repeat_of_one_that_was_refused_for_that(client, shared_daemon, image):
    picture = cv2.imencode(".png", image)[1].tobytes()
    enrolment = protocol.AddToGallery(
        request=f"late {time.monotonic_ns()}", id=8, parts=[protocol.Encoded()] * 64, deadline_ms=10_000
    )
    with zmq.Context() as context, context.socket(zmq.DEALER) as sender:
        sender.linger = 0
        sender.connect(shared_daemon.endpoint)
        for step in ("first", "repeat"):
            sender.send_multipart([b"", protocol.encode(enrolment), *[picture] * 64])
            while step == "first" and not sender.poll(20):
                client.forget(8)
            assert sender.poll(10_000)
            assert b'"unknown-id"' in sender.recv_multipart()[1]
    assert client.count(8) == 0


def test_every_change_and_every_way_out_is_in_the_log_with_who_did_it(daemon, image, short_folder):
    with daemon.client() as client:
        client.add_to_gallery([image, image], 1)
        client.set_label(1, "Ann")
        client.set_ttl(3600, 1)
        client.pin(1)
        client.unpin(1)
        client.set_per_id_gallery_limit(5, "drop_oldest")
        client.save_gallery(short_folder / "saved")
        client.rename(1, 2)
        client.move(1, 3)
        client.merge(2, 3)
        client.undo()
        client.remove_from_gallery(3)
        receipt = client.forget(3)
        client.clear()
        client.load(reidd.Engine.DNN, reidd.Accelerator.CPU)
        with pytest.raises(reidd.UnknownIdError):
            client.remove_from_gallery(77)
        client.re_id_image(image)
        client.ids()
        told = acts(client)
        pages = list(client.audit_pages())
    assert [act["what"] for act in told] == [
        *("started", "add_to_gallery", "set_label", "set_ttl", "pin", "unpin", "set_per_id_gallery_limit", "rows"),
        *("rename", "move", "merge", "undo", "remove_from_gallery", "forget", "clear", "load"),
    ]
    assert {act["who"] for act in told[1:]} == {f"uid {os.getuid()}"}
    assert told[1] == {"who": f"uid {os.getuid()}", "what": "add_to_gallery", "id": 1, "added": 2}
    assert (told[7]["count"], told[-1]["pair"]) == (2, "DNN/CPU")
    log = "".join(line for page in pages for line in page.lines)
    assert "Ann" not in log
    check = Check()
    for page in pages:
        for line in page.lines:
            check.take(line)
    assert check.end(Head(pages[-1].sequence, pages[-1].hash)) is None
    assert receipt.hash in check.hashes
    assert json.loads(pages[0].lines[receipt.sequence - 1])["acts"][0]["what"] == "forget"


def test_what_has_lived_its_time_is_in_the_log(client):
    before = len(acts(client))
    client.add_features_to_gallery(np.eye(2, 256, dtype=np.float32), 8)
    client.set_ttl(0.2)
    eventually(lambda: not client.count())
    client.set_ttl(None)
    expired = [act for act in acts(client)[before:] if act["what"] == "expired"]
    assert expired == [{"who": "daemon", "what": "expired", "id": 8, "dropped": 2}]


def test_acknowledged_changes_are_in_the_log_after_kill_9(daemon):
    with daemon.client() as client:
        for id in range(20):
            client.add_features_to_gallery(np.eye(1, 256, id, dtype=np.float32), id)
        daemon.end(9)
        daemon.start()
        added = [act["id"] for act in acts(client) if act["what"] == "add_to_gallery"]
        assert [act["what"] for act in acts(client)].count("started") == 2
    assert added == list(range(20))
