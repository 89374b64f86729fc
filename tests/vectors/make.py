"""Writes the test vectors of the protocol from its message types: `python tests/vectors/make.py`."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from reidd import protocol
from reidd.engines import Accelerator, Engine
from reidd.protocol import Encoded, Event, Feature, IdRecord, Pixels, PredictionRecord, ResultRecord
from reidd.results import Verdict

HERE = Path(__file__).parent
DIM = 256
# Not a real file: the smallest bytes that begin and end like a JPEG.
JPEG = bytes.fromhex("ffd8ffe0ffd9")


def feature(*axes: int) -> np.ndarray:
    """Rows of DIM values, each 1 on its axis and 0 elsewhere."""
    return np.eye(DIM, dtype="<f4")[list(axes)]


RESULT = ResultRecord([PredictionRecord(7, 1, 0.125, "Ann"), PredictionRecord(8, 2, 0.5)], 0.003, Verdict.KNOWN)
PIXELS = np.arange(48, dtype=np.uint8)

REQUESTS: dict[str, tuple[protocol.Request, list[bytes]]] = {
    "extract_features of a JPEG": (protocol.ExtractFeatures(request="1", parts=[Encoded()]), [JPEG]),
    "get_distances of pixels and a JPEG": (
        protocol.GetDistances(request="2", parts=[Pixels(shape=[4, 4, 3]), Encoded()], normalize_distance=False),
        [PIXELS.tobytes(), JPEG],
    ),
    "re_id_image of two boxes within a frame": (
        protocol.ReIdImage(
            request="3", parts=[Encoded(boxes=[(0, 0, 64, 128), (70, 8, 60, 120)])], top_k=3, matrix=False
        ),
        [JPEG],
    ),
    "re_id_image of a feature": (
        protocol.ReIdImage(request="4", parts=[Feature(shape=(1, DIM))], max_distance=0.25, margin=0.05),
        [feature(0).tobytes()],
    ),
    "add_to_gallery of two features": (
        protocol.AddToGallery(request="5", id=2**63 - 1, parts=[Feature(shape=(2, DIM))], deadline_ms=2000),
        [feature(0, 1).tobytes()],
    ),
    "remove_from_gallery": (protocol.RemoveFromGallery(request="6", id=7), []),
    "forget": (protocol.Forget(request="26", id=7), []),
    "forgotten": (protocol.Forgotten(request="27"), []),
    "forgotten after one": (protocol.Forgotten(request="30", after=7, limit=100), []),
    "audit": (protocol.Audit(request="28", after=5, limit=100), []),
    "clear": (protocol.Clear(request="7"), []),
    "set_per_id_gallery_limit": (
        protocol.SetPerIdGalleryLimit(request="8", count=100, drop_method="drop_random"),
        [],
    ),
    "set_label": (protocol.SetLabel(request="9", id=7, label="Zoë"), []),
    "set_label to none": (protocol.SetLabel(request="10", id=7, label=None), []),
    "pin": (protocol.Pin(request="17", id=7), []),
    "unpin": (protocol.Unpin(request="18", id=7), []),
    "rename": (protocol.Rename(request="19", id=7, into_id=9), []),
    "merge": (protocol.Merge(request="20", id=8, into_id=7), []),
    "move": (protocol.Move(request="21", instance=42, id=8), []),
    "undo": (protocol.Undo(request="22"), []),
    "set_ttl": (protocol.SetTtl(request="23", seconds=86400.0, id=7), []),
    "set_ttl to for ever": (protocol.SetTtl(request="24", seconds=None), []),
    "explain": (protocol.Explain(request="25", parts=[Feature(shape=(1, DIM))]), [feature(0).tobytes()]),
    "ids": (protocol.Ids(request="11"), []),
    "ids after one": (protocol.Ids(request="29", after=7, limit=100), []),
    "ids of two": (protocol.Ids(request="26", only=[7, 8]), []),
    "rows": (protocol.Rows(request="12", after=41, limit=10), []),
    "status": (protocol.Status(request="13"), []),
    "events": (protocol.Events(request="14", after=7), []),
    "load": (
        protocol.Load(request="15", engine=Engine.DNN, accelerator=Accelerator.CPU, deadline_ms=60000),
        [],
    ),
    "publish_analytics": (
        protocol.PublishAnalytics(request="16", results=[RESULT], tag={"camera": "door"}, kwargs={"frame": 12}),
        [],
    ),
}

REPLIES: dict[str, tuple[protocol.Reply, list[bytes]]] = {
    "error": (protocol.Failed(request="1", code="bad-image", message="image is empty (0 bytes)"), []),
    "error busy": (protocol.Failed(request="1", code="busy", message="256 requests wait", retry_after_ms=40), []),
    "done": (protocol.Done(request="9"), []),
    "array": (protocol.Array(request="1", shape=(1, DIM)), [feature(3).tobytes()]),
    "results": (
        protocol.Results(
            request="4", results=[RESULT], shape=(1, 2), engine=Engine.TFLITE, accelerator=Accelerator.CPU
        ),
        [np.array([[0.125, 0.5]], "<f4").tobytes()],
    ),
    "changed by undo": (protocol.Changed(request="22", removed=2, taken_back="2 instances of id 7 added"), []),
    "changed": (protocol.Changed(request="5", added=[42, 43], dropped=[7], overwritten=[1]), []),
    "receipt": (
        protocol.Receipt(
            request="26",
            id=7,
            instances=[42, 43],
            erased=["features"],
            time=1_700_000_000.5,
            sequence=6,
            hash="ab" * 32,
            not_reached=["backups"],
        ),
        [],
    ),
    "forgotten": (
        protocol.ForgottenReply(
            request="27",
            origin="0123456789abcdef",
            ids=[protocol.ForgottenRecord(7, 1_700_000_000_000_000_000, 44, [42, 43])],
        ),
        [],
    ),
    "audit": (
        protocol.AuditReply(
            request="28",
            lines=['{"seq":6,"time":1700000000.5,"before":"' + "cd" * 32 + '","acts":[]}'],
            last=6,
            sequence=6,
            hash="ab" * 32,
        ),
        [],
    ),
    "explanation": (
        protocol.ExplanationReply(
            request="25",
            explanation=protocol.ExplanationRecord(7, 0.25, 42, 1_700_000_000_000_000_000, 1, 3, 8, 0.75),
        ),
        [],
    ),
    "ids": (
        protocol.IdList(
            request="11",
            ids=[IdRecord(7, 3, "Ann", ttl_s=86400.0), IdRecord(8, 1)],
            count=4,
            limit=(100, "drop_random"),
        ),
        [],
    ),
    "rows": (
        protocol.RowsReply(request="12", shape=(1, DIM), instances=[42], ids=[7], times_ns=[1_700_000_000_000_000_000]),
        [feature(0).tobytes()],
    ),
    "status": (
        protocol.StatusReply(
            request="13",
            version="0.1.0",
            pid=4711,
            uptime=86400.5,
            model="reidd/person",
            purpose="ReIdentification",
            engine=Engine.TFLITE,
            accelerator=Accelerator.CPU,
            workers=2,
            waiting=0,
            count=3,
            id_count=2,
            capacity=10_000,
            dim=DIM,
            space="ab" * 32,
            limit=(100, "drop_random"),
            ring="/run/reidd/gallery.ring",
            analytics="ipc:///run/reidd/analytics.sock",
            epoch="0123456789abcdef",
            seq=12,
            max_distance=0.225,
            storage_failure="the gallery store '/var/lib/reidd/gallery.sqlite' cannot be written, so changes are "
            "refused: database or disk is full; make room on its disk; the next addition tries again",
        ),
        [],
    ),
    "events": (protocol.EventList(request="14", epoch="0123456789abcdef", complete=True, events=[]), []),
}

_STAMP: dict[str, Any] = {"epoch": "0123456789abcdef", "time": 1700000000.5, "model": "reidd/person"}
EVENTS = [
    Event(type="identified", seq=1, results=[RESULT], **_STAMP),
    Event(type="added", seq=2, id=7, instances=[42, 43], dropped=[7], **_STAMP),
    Event(type="overwritten", seq=3, instances=[1], **_STAMP),
    Event(type="removed", seq=4, id=7, count=3, **_STAMP),
    Event(type="forgotten", seq=18, id=7, count=3, **_STAMP),
    Event(type="redacted", seq=19, **_STAMP),
    Event(type="cleared", seq=5, count=12, **_STAMP),
    Event(type="limited", seq=6, count=100, drop_method="drop_random", dropped=[], **_STAMP),
    Event(type="labelled", seq=7, id=7, label="Ann", **_STAMP),
    Event(type="limited", seq=10, id=7, ttl_s=86400.0, **_STAMP),
    Event(type="expired", seq=11, dropped=[7], **_STAMP),
    Event(type="pinned", seq=12, id=7, **_STAMP),
    Event(type="unpinned", seq=13, id=7, **_STAMP),
    Event(type="renamed", seq=14, id=7, into_id=9, **_STAMP),
    Event(type="merged", seq=15, id=8, into_id=7, dropped=[1], **_STAMP),
    Event(type="moved", seq=16, id=8, instances=[42], dropped=[], **_STAMP),
    Event(type="undone", seq=17, **_STAMP),
    Event(type="loaded", seq=8, engine=Engine.DNN, accelerator=Accelerator.CPU, **_STAMP),
    Event(type="published", seq=9, tag="door", results=[RESULT], kwargs={"frame": 12}, **_STAMP),
]

# (request, its frames, fields of the reply, its frames)
CONVERSATION: list[tuple[protocol.Request, list[bytes], dict[str, Any], list[bytes]]] = [
    (
        protocol.ReIdImage(request="a1", parts=[Feature(shape=(1, DIM))]),
        [feature(0).tobytes()],
        {"reply": "results", "shape": [1, 0]},
        [b""],
    ),
    (
        protocol.AddToGallery(request="a2", id=7, parts=[Feature(shape=(2, DIM))]),
        [feature(0, 1).tobytes()],
        {"reply": "changed", "added": [1, 2], "dropped": [], "overwritten": [], "removed": 0},
        [],
    ),
    (
        protocol.AddToGallery(request="a3", id=8, parts=[Feature(shape=(1, DIM))]),
        [(feature(2) * 5).tobytes()],
        {"reply": "changed", "added": [3]},
        [],
    ),
    (
        protocol.ReIdImage(request="a4", parts=[Feature(shape=(1, DIM))], top_k=2, max_distance=0.25),
        [feature(2).tobytes()],
        {"reply": "results", "shape": [1, 3]},
        [np.array([[0.5, 0.5, 0]], "<f4").tobytes()],
    ),
    (
        protocol.ReIdImage(request="a5", parts=[Feature(shape=(1, DIM))], normalize_distance=False),
        [(-feature(0)).tobytes()],
        {"reply": "results", "shape": [1, 3]},
        [np.array([[2, 1, 1]], "<f4").tobytes()],
    ),
    (protocol.SetLabel(request="a6", id=8, label="Zoë"), [], {"reply": "done"}, []),
    (
        protocol.Ids(request="a7"),
        [],
        {
            "reply": "ids",
            "ids": [
                {"id": 7, "count": 2, "label": None, "pinned": False, "ttl_s": None},
                {"id": 8, "count": 1, "label": "Zoë", "pinned": False, "ttl_s": None},
            ],
        },
        [],
    ),
    (
        protocol.SetPerIdGalleryLimit(request="a8", count=1, drop_method="drop_oldest"),
        [],
        {"reply": "changed", "dropped": [1]},
        [],
    ),
    (
        protocol.Rows(request="a9"),
        [],
        {"reply": "rows", "shape": [2, DIM], "instances": [2, 3], "ids": [7, 8]},
        [feature(1, 2).tobytes()],
    ),
    (protocol.Rename(request="b1", id=7, into_id=17), [], {"reply": "changed", "moved": [2]}, []),
    (protocol.Undo(request="b2"), [], {"reply": "changed", "moved": [2]}, []),
    (protocol.RemoveFromGallery(request="a10", id=7), [], {"reply": "changed", "removed": 1}, []),
    (protocol.RemoveFromGallery(request="a11", id=7), [], {"reply": "error", "code": "unknown-id"}, []),
    (protocol.RemoveFromGallery(request="a10", id=7), [], {"reply": "changed", "removed": 1}, []),
    (
        protocol.AddToGallery(request="a12", id=9, parts=[Feature(shape=(1, DIM))]),
        [np.full((1, DIM), np.nan, "<f4").tobytes()],
        {"reply": "error", "code": "bad-feature"},
        [],
    ),
    (protocol.Forget(request="b3", id=17), [], {"reply": "receipt", "id": 17, "instances": []}, []),
    (protocol.Clear(request="a13"), [], {"reply": "changed", "removed": 1}, []),
    (protocol.Undo(request="b4"), [], {"reply": "changed", "added": [3]}, []),
    (protocol.Forget(request="b5", id=8), [], {"reply": "receipt", "id": 8, "instances": [3]}, []),
    (protocol.Undo(request="b6"), [], {"reply": "error", "code": "bad-request"}, []),
]


def described(message: msgspec.Struct, frames: list[bytes]) -> dict[str, Any]:
    """One message as JSON and as hex, delimiter first."""
    header = protocol.encode(message)
    return {"header": json.loads(header), "frames_hex": [frame.hex() for frame in (b"", header, *frames)]}


def published(event: Event) -> dict[str, Any]:
    """One event as JSON and as hex: topic and content."""
    content = protocol.encode(event)
    return {"content": json.loads(content), "frames_hex": [event.type.encode().hex(), content.hex()]}


def files() -> dict[str, Any]:
    """What each file holds."""
    messages = {
        "requests": {name: described(*message) for name, message in REQUESTS.items()},
        "replies": {name: described(*message) for name, message in REPLIES.items()},
        "events": {event.type: published(event) for event in EVENTS},
    }
    conversation = [
        {
            "request": described(request, sent),
            "reply": {
                "fields": {"request": request.request, **reply},
                "payload_hex": [frame.hex() for frame in frames],
            },
        }
        for request, sent, reply, frames in CONVERSATION
    ]
    kinds = (protocol.AnyRequest, protocol.AnyReply, Event)
    (requests, replies, events), components = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Headers of the reidd protocol, version {protocol.VERSION}",
        "anyOf": [{"title": "request", **requests}, {"title": "reply", **replies}, {"title": "event", **events}],
        "$defs": components,
    }
    return {"messages.json": messages, "conversation.json": conversation, "protocol.schema.json": schema}


def text(content: Any) -> str:
    """A file's text: the same on every run."""
    return json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name, content in files().items():
        (HERE / name).write_text(text(content), encoding="utf-8")
