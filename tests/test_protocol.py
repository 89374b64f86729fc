"""The messages, and that the contract for other languages names all there is."""

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from reidd import errors, protocol
from reidd.daemon import requests_socket
from reidd.daemon.connection import MAX_UNREAD_BYTES
from reidd.daemon.envelope import MAX_HOP_BYTES
from reidd.daemon.feed import MAX_TOPICS
from reidd.daemon.publisher import KEPT_EVENTS
from reidd.daemon.retries import MAX_REPEATS, WINDOW_S
from reidd.daemon.served_socket import MAX_OF_ONE_KEY
from reidd.engines import Accelerator, Engine
from reidd.gallery.policy import DROP_METHODS
from reidd.images import MAX_PIXELS
from reidd.keys import Role
from reidd.results import Verdict

DOC = Path(__file__).parents[1] / "docs" / "protocol.md"
REQUESTS = protocol.AnyRequest.__args__
REPLIES = protocol.AnyReply.__args__


def tags(kinds):
    return {kind.__struct_config__.tag for kind in kinds}


def section(title):
    """The text of one section of the contract, without its subsections' parents."""
    text = DOC.read_text(encoding="utf-8")
    found = re.search(rf"^(#+) {title}$(.*?)(?=^#+ |\Z)", text, re.M | re.S)
    assert found, f"no section {title!r} in {DOC}"
    return found[2]


def first_cells(text):
    """Every name in the first cells of the tables of a text, headings left out."""
    text = re.sub(r"^\|.*\n(?=\|---)", "", text, flags=re.M)
    return {name for row in re.findall(r"^\| (`.*?) \|", text, re.M) for name in re.findall(r"`([\w-]+)`", row)}


def fields(*kinds):
    return {field.name for kind in kinds for field in msgspec.structs.fields(kind)}


def test_the_contract_lists_exactly_the_ops():
    rows = re.findall(r"^\| `(\w+)` \| [^|]*\| `(\w+)` \|", section("Ops"), re.M)
    assert {op for op, _ in rows} == set(protocol.OPS) == tags(REQUESTS)
    assert {reply for _, reply in rows} <= tags(REPLIES)


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__struct_config__.tag)
def test_the_contract_lists_exactly_the_fields_of_an_op(kind):
    op = kind.__struct_config__.tag
    [row] = re.findall(rf"^\| `{op}` \| (.*?)\| `\w+` \|", section("Ops"), re.M)
    assert set(re.findall(r"`(\w+)`", row)) == fields(kind) - fields(protocol.Request)


def test_the_contract_explains_every_field_of_a_request():
    common = first_cells(section("Requests"))
    own = first_cells(section("Fields"))
    assert common == {"op"} | fields(protocol.Request)
    assert own == fields(*REQUESTS) - fields(protocol.Request)


def test_the_contract_lists_exactly_the_kinds_of_parts_and_replies():
    assert first_cells(section("Parts")) == tags(protocol.Part.__args__)
    assert first_cells(section("Replies")) >= tags(REPLIES)


@pytest.mark.parametrize("kind", set(REPLIES) - {protocol.StatusReply}, ids=lambda kind: kind.__struct_config__.tag)
def test_the_contract_lists_exactly_the_fields_of_a_reply(kind):
    name = kind.__struct_config__.tag
    row = re.search(rf"^\| `{name}` \| (.*?) \|", section("Replies"), re.M)[1]
    assert set(re.findall(r"`(\w+)`", row)) == fields(kind) - fields(protocol.Reply)


def test_the_contract_explains_every_field_of_a_reply():
    explained = first_cells(section("Replies")) | {"reply", "v", "request"}
    assert fields(*set(REPLIES) - {protocol.StatusReply}) <= explained
    assert first_cells(section("Status")) == fields(protocol.StatusReply) - fields(protocol.Reply)
    assert fields(protocol.ResultRecord) | fields(protocol.PredictionRecord) <= set(
        re.findall(r"\w+", section("Replies"))
    )


def test_the_contract_lists_exactly_the_error_codes():
    assert first_cells(section("Error codes")) == set(errors.codes())


def test_the_contract_lists_exactly_the_events_and_their_fields():
    text = section("Events")
    rows = dict(re.findall(r"^\| `(\w+)` \| (`.*?`(?:, `\w+`)*) \| ", text, re.M))
    assert set(rows) == set(protocol.EVENT_TYPES)
    of_events = {name for row in rows.values() for name in re.findall(r"`(\w+)`", row)}
    common = first_cells(text) - set(protocol.EVENT_TYPES)
    assert of_events | common == fields(protocol.Event)


def test_the_contract_lists_exactly_the_roles():
    assert first_cells(section("From other machines")) == set(Role)


def test_the_contract_names_every_engine_accelerator_verdict_drop_method_and_limit():
    text = " ".join(DOC.read_text(encoding="utf-8").split())
    for name in (*Engine, *Accelerator, *Verdict, *DROP_METHODS):
        assert f"`{name}`" in text
    for limit in (
        f"at most {protocol.MAX_HEADER_BYTES >> 20} MiB",
        f"at most {protocol.MAX_FRAME_BYTES >> 20} MiB each",
        f"{protocol.MAX_PARTS} images",
        f"{protocol.MAX_ROWS} feature rows",
        f"integer, 1 to {protocol.MAX_TOP_K}",
        f"{protocol.MAX_PREDICTIONS} in one reply",
        f"integer, 1 to {protocol.MAX_DEADLINE_MS} | {protocol.DEFAULT_DEADLINE_MS}",
        f"at most {protocol.MAX_REQUEST_ID} characters",
        f"at most {protocol.MAX_TEXT} characters",
        f"at most {MAX_PIXELS:,} px",
        f"more than {requests_socket.LIMITS.hang_up_frames} frames",
        f"more than {requests_socket.LIMITS.message_bytes >> 20} MiB",
        f"have {requests_socket.MAX_HELD_BYTES >> 20} MiB under way",
        f"beyond {MAX_UNREAD_BYTES >> 20} MiB that a client leaves unread",
        f"at most {MAX_HOP_BYTES} bytes each",
        f"may have {MAX_TOPICS} topics, and a key {MAX_OF_ONE_KEY} connections",
        f"the latest {KEPT_EVENTS} events",
        f"Until {WINDOW_S:g} s after",
        f"(of a change under way, {MAX_REPEATS})",
    ):
        assert limit in text


def header(**given):
    return msgspec.json.encode(given)


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        (b"", "bad-request", "JSON"),
        (b"\xff\xfe", "bad-request", "JSON"),
        (b"[]", "bad-request", "object"),
        (b"{" * 100_000, "bad-request", "JSON"),
        (b'{"op": "status", "request": "' + b"[" * (1 << 20), "bad-request", "at most 1048576"),
        (header(op="stats"), "unknown-op", "status"),
        (header(), "unknown-op", "op"),
        (header(op="status", v=2), "unknown-version", "version 1"),
        (header(op="status", v="1"), "unknown-version", "version 1"),
        (header(op="status", verbose=True), "bad-request", "verbose"),
        (header(op="status", deadline_ms=0), "bad-request", "deadline_ms"),
        (header(op="status", request=7), "bad-request", "request"),
        (header(op="status", request="7" * 129), "bad-request", "request"),
        (header(op="remove_from_gallery"), "bad-request", "id"),
        (header(op="remove_from_gallery", id=-1), "bad-id", "id"),
        (header(op="remove_from_gallery", id=2**63), "bad-id", "id"),
        (header(op="remove_from_gallery", id=1.0), "bad-id", "id"),
        (header(op="remove_from_gallery", id=True), "bad-id", "id"),
        (header(op="remove_from_gallery", id="1"), "bad-id", "id"),
        (header(op="merge", id=1, into_id=-1), "bad-id", "into_id"),
        (header(op="re_id_image"), "bad-request", "parts"),
        (header(op="re_id_image", parts=[{"kind": "gif"}]), "bad-request", "expected one of encoded, pixels"),
        (header(op="re_id_image", parts=[{}]), "bad-request", "kind"),
        (header(op="re_id_image", parts=[{"kind": "pixels", "shape": [1]}]), "bad-request", "shape"),
        (header(op="re_id_image", parts=[{"kind": "pixels", "shape": [4, -4, 3]}]), "bad-request", "shape"),
        (header(op="re_id_image", parts=[{"kind": "encoded", "boxes": []}]), "bad-request", "boxes"),
        (header(op="re_id_image", parts=[{"kind": "encoded", "boxes": [[0, 0, 0, 9]]}]), "bad-request", "boxes"),
        (header(op="re_id_image", parts=[{"kind": "encoded"}] * 65), "bad-request", "parts"),
        (header(op="re_id_image", parts=[{"kind": "encoded", "boxes": [[0, 0, 9, 9]] * 33}] * 2), "bad-request", "64"),
        (header(op="re_id_image", parts=[{"kind": "feature", "shape": [501, 8]}] * 2), "bad-request", "1000"),
        (header(op="re_id_image", parts=[], top_k=0), "bad-request", "top_k"),
        (b'{"op": "re_id_image", "parts": [], "max_distance": 1e999}', "bad-request", "max_distance"),
        (header(op="load", engine="WARP"), "bad-request", "engine: Invalid enum value 'WARP'; expected one of DNN, "),
        (header(op="re_id_image", parts=[], topk=2), "bad-request", "lists the fields of each op"),
        (header(op="set_label", id=1, label="x" * 257), "bad-request", "label"),
        (header(op="publish_analytics", results=[{}]), "bad-request", "results"),
    ],
)
def test_a_bad_header_gets_a_code_and_a_text_that_names_the_field(given, code, says):
    with pytest.raises(errors.RequestError) as caught:
        protocol.decode_request(given)
    assert caught.value.code == code
    assert says in str(caught.value)
    assert len(str(caught.value)) < 600


def test_the_request_id_is_found_in_a_header_that_is_wrong_otherwise():
    assert protocol.request_id(header(op="nonsense", request="42", parts=7)) == "42"
    assert protocol.request_id(b"nonsense") == ""
    assert protocol.request_id(header(request=42)) == ""
    assert protocol.request_id(header(request="x" * 1000)) == "x" * 128


@pytest.mark.parametrize("code", sorted(errors.codes()))
def test_an_error_crosses_the_wire_as_the_class_it_was_raised_as(code):
    error = errors.codes()[code]("what happened")
    reply = protocol.decode_reply(protocol.encode(protocol.failed(error, "42")))
    back = protocol.raised(reply)
    assert (type(back), str(back), reply.request) == (type(error), "what happened", "42")


def test_an_applications_own_error_does_not_take_the_place_of_ours():
    class OwnError(errors.RequestError):
        def __init__(self):
            super().__init__("of the application")

    reply = protocol.failed(errors.RequestError("no"), "1")
    assert type(protocol.raised(reply)) is errors.RequestError
    assert OwnError.code == reply.code


def test_an_error_of_a_later_version_keeps_its_code():
    raised = protocol.raised(protocol.Failed(code="too-tired", message="tomorrow"))
    assert (type(raised), raised.code, str(raised)) == (errors.ReiddError, "too-tired", "tomorrow")
    assert errors.ReiddError.code == "internal-error"


def test_a_reply_with_a_field_from_a_later_version_is_understood():
    reply = protocol.decode_reply(b'{"reply": "done", "v": 1, "request": "42", "mood": "fine"}')
    assert reply == protocol.Done(request="42")


@pytest.mark.parametrize("reply", [b"", b'{"reply": "prophecy"}', b'{"reply": "array"}', b'{"x": ' + b"[" * 100_000])
def test_a_reply_of_another_version_is_an_error_of_ours(reply):
    with pytest.raises(errors.ReiddError, match="another version of reidd"):
        protocol.decode_reply(reply)


def test_numpy_integers_are_ids_and_booleans_are_not():
    assert protocol.checked_id(np.uint16(7)) == 7
    for wrong in (True, np.True_, 1.0, "1", None, -1, 2**63):
        with pytest.raises(errors.IdError):
            protocol.checked_id(wrong)
