"""Header frames: from bytes to messages and back; whatever is wrong with one becomes a typed error."""

import operator
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from reidd import errors
from reidd.engines import Accelerator, Engine
from reidd.errors import BusyError, IdError, ReiddError, RequestError, UnknownOpError, UnknownVersionError
from reidd.protocol.limits import MAX_HEADER_BYTES, MAX_ID, MAX_PARTS, MAX_REQUEST_ID, MAX_ROWS, VERSION
from reidd.protocol.ops import OPS, AnyRequest
from reidd.protocol.replies import AnyReply, Failed

NAMES = {"kind": ("encoded", "pixels", "feature"), "engine": tuple(Engine), "accelerator": tuple(Accelerator)}
"""What fields of a few names may hold."""

_encoder = msgspec.json.Encoder()
_requests: msgspec.json.Decoder[AnyRequest] = msgspec.json.Decoder(AnyRequest)
_replies: msgspec.json.Decoder[AnyReply] = msgspec.json.Decoder(AnyReply)


class _RequestIdOnly(Struct):
    request: str = ""


def encode(message: Struct) -> bytes:
    """Return one header frame."""
    return _encoder.encode(message)


def decode_request(header: bytes) -> AnyRequest:
    """Read a request's header.

    Raises:
        RequestError: it is not JSON, or a field is missing, unknown or wrong; names the field.
        UnknownVersionError: another version of the protocol; names ours.
        UnknownOpError: no such op; names those there are.
        IdError: the id is not an integer in [0, 2^63 - 1].
    """
    if len(header) > MAX_HEADER_BYTES:
        raise RequestError(f"header has {len(header)} bytes, expected at most {MAX_HEADER_BYTES}")
    try:
        request: AnyRequest = _requests.decode(header)
    except msgspec.ValidationError as error:
        raise _request_error(error) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise RequestError(f"header is no JSON object: {error}") from None
    _check_amount(request)
    return request


def request_id(header: bytes) -> str:
    """Return the request id of a header that may be wrong in every other way; "" when it cannot be read."""
    if len(header) > MAX_HEADER_BYTES:
        return ""
    try:
        return msgspec.json.decode(header, type=_RequestIdOnly).request[:MAX_REQUEST_ID]
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return ""


def decode_reply(header: bytes) -> AnyReply:
    """Read a reply's header.

    Raises:
        ReiddError: it is none that this version understands.
    """
    try:
        reply: AnyReply = _replies.decode(header)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ReiddError(f"the answer is not understood: {error}: another version of reidd?") from None
    return reply


def failed(error: ReiddError, request: str) -> Failed:
    """Turn an exception into the reply that carries it."""
    after_s = error.retry_after_s if isinstance(error, BusyError) else None
    after_ms = None if after_s is None else round(after_s * 1000)
    return Failed(request=request, code=error.code, message=str(error), retry_after_ms=after_ms)


def raised(reply: Failed) -> ReiddError:
    """Turn an error reply back into the exception it came from."""
    if reply.code == BusyError.code:
        return BusyError(reply.message, None if reply.retry_after_ms is None else reply.retry_after_ms / 1000)
    error = errors.codes().get(reply.code, ReiddError)(reply.message)
    error.code = reply.code  # which may be of a later version
    return error


def checked_id(id: Any) -> int:
    """Return an id as a plain int: whatever `operator.index` takes, so a tracker's numpy integers too.

    Raises:
        IdError: it is a bool, a float, a string or something else, or lies outside [0, 2^63 - 1].
    """
    try:
        number = -1 if isinstance(id, (bool, np.bool_)) else operator.index(id)
    except TypeError:
        number = -1
    if not 0 <= number <= MAX_ID:
        raise IdError(f"id is {errors.shown(id)} ({type(id).__name__}); expected an integer from 0 to 2^63 - 1")
    return number


def checked_text(text: str, name: str, refusal: type[RequestError] = RequestError) -> str:
    """Return a text that UTF-8 can carry as a plain str; the name of a file may be none."""
    try:
        return text.encode().decode()
    except UnicodeEncodeError:
        raise refusal(f"{name} is {errors.shown(text)}, which UTF-8 cannot carry: it holds half a character") from None


def _check_amount(request: AnyRequest) -> None:
    if request.rows > MAX_ROWS:
        raise RequestError(f"parts: {request.rows} feature rows; expected at most {MAX_ROWS} in one request")
    if request.images > MAX_PARTS:
        raise RequestError(f"parts: {request.images} images; expected at most {MAX_PARTS} in one request")


def _request_error(error: msgspec.ValidationError) -> RequestError:
    what, key = errors.located(error)
    if key == "v":
        return UnknownVersionError(f"v: {what}; this daemon speaks version {VERSION}")
    if key == "op" or "missing required field `op`" in what:
        return UnknownOpError(f"op: {what}; the ops are {', '.join(OPS)}")
    if key in ("id", "into_id"):
        return IdError(f"{key}: {what}; expected an integer from 0 to 2^63 - 1")
    return RequestError(f"{key or 'header'}: {what}{_expected(what, key)}")


def _expected(what: str, key: str) -> str:
    """What there is in place of a name that is none, as far as the decoder does not say."""
    if "unknown field" in what:
        return "; docs/protocol.md lists the fields of each op"
    names = NAMES.get(key.rpartition(".")[2], ()) if "Invalid" in what else ()
    return f"; expected one of {', '.join(names)}" if names else ""
