"""The test vectors are those of the message types, cover the whole contract, and are what a daemon answers."""

import importlib.util
import json
from pathlib import Path

import jsonschema
import msgspec
import pytest
import zmq

from reidd import protocol

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("make", HERE / "make.py")
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)

MESSAGES = json.loads((HERE / "messages.json").read_text(encoding="utf-8"))
SCHEMA = jsonschema.Draft202012Validator(json.loads((HERE / "protocol.schema.json").read_text(encoding="utf-8")))


def unhex(frames):
    return [bytes.fromhex(frame) for frame in frames]


@pytest.mark.parametrize("name", make.files())
def test_the_files_are_what_the_message_types_say(name):
    assert (HERE / name).read_text(encoding="utf-8") == make.text(make.files()[name])


def test_there_is_a_vector_for_every_op_reply_and_event():
    assert {vector["header"]["op"] for vector in MESSAGES["requests"].values()} == set(protocol.OPS)
    kinds = {kind.__struct_config__.tag for kind in protocol.AnyReply.__args__}
    assert {vector["header"]["reply"] for vector in MESSAGES["replies"].values()} == kinds
    assert set(MESSAGES["events"]) == set(protocol.EVENT_TYPES)


@pytest.mark.parametrize("name", MESSAGES["requests"])
def test_a_request_is_read_back_as_it_was_meant(name):
    vector = MESSAGES["requests"][name]
    delimiter, header, *frames = unhex(vector["frames_hex"])
    request = protocol.decode_request(header)
    assert (delimiter, request, frames) == (b"", *make.REQUESTS[name])
    assert protocol.decode_request(json.dumps(vector["header"]).encode()) == request
    assert len(request.frames) == len(frames)


@pytest.mark.parametrize("name", MESSAGES["replies"])
def test_a_reply_is_read_back_as_it_was_meant(name):
    _, header, *frames = unhex(MESSAGES["replies"][name]["frames_hex"])
    assert (protocol.decode_reply(header), frames) == make.REPLIES[name]


def test_the_schema_is_one():
    SCHEMA.check_schema(SCHEMA.schema)


@pytest.mark.parametrize("kind", ["requests", "replies"])
def test_the_schema_accepts_every_header(kind):
    for vector in MESSAGES[kind].values():
        SCHEMA.validate(vector["header"])
    for vector in MESSAGES["events"].values():
        SCHEMA.validate(vector["content"])


def test_the_schema_refuses_what_the_daemon_refuses():
    wrong = [
        {"op": "status", "extra": 1},
        {"op": "remove_from_gallery", "id": -1},
        {"op": "fly"},
        {"op": "ids", "v": 2},
    ]
    for header in wrong:
        with pytest.raises(jsonschema.ValidationError):
            SCHEMA.validate(header)


def test_a_daemon_answers_the_conversation_word_for_word(daemon):
    dealer = zmq.Context.instance().socket(zmq.DEALER)
    dealer.connect(daemon.endpoint)
    try:
        for step in json.loads((HERE / "conversation.json").read_text(encoding="utf-8")):
            dealer.send_multipart(unhex(step["request"]["frames_hex"]))
            assert dealer.poll(10_000)
            _, header, *payload = dealer.recv_multipart()
            reply = msgspec.json.decode(header)
            assert {key: reply[key] for key in step["reply"]["fields"]} == step["reply"]["fields"]
            assert payload == unhex(step["reply"]["payload_hex"])
    finally:
        dealer.close(linger=0)
