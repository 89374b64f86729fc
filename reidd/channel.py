"""One request to a daemon, one reply back, over connections that come and go: the client's side."""

import errno
import os
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from reidd import protocol
from reidd.errors import ConfigError, ConnectionError, DeadlineError, ForbiddenError, RequestError, shown
from reidd.keys import Credentials

KEY = "REIDD_KEY"
"""Names the file with the key that a daemon takes over tcp, for commands and for `ReIdentification`."""
# Of the time a caller waits, what the daemon may use: so that its "busy" or "deadline passed" still arrives.
DAEMON_SHARE = 0.9
# Time for ZeroMQ to read what came while the machine, or only this process, stood still until the time was up.
LAST_LOOK_MS = 20
_EXPECTED = "expected ipc:///path/of/reidd.sock or tcp://host:port"
_EVENTS = zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH


class Turns:
    """A lock for the threads of one process: of a forked child another, which no thread of the parent's holds."""

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    @property
    def mine(self) -> threading.Lock:
        """The lock of this process."""
        return self._locks.setdefault(os.getpid(), threading.Lock())


class Channel:
    """A way to a daemon that threads may share, that survives the daemon's restarts, and a fork.

    Args:
        endpoint: a ZeroMQ address such as `ipc:///run/reidd/reidd.sock`.
        timeout: seconds that one request may take.
        credentials: the keys that tcp takes.
    """

    def __init__(self, endpoint: str, timeout: float, credentials: Credentials | None = None):
        if not isinstance(endpoint, str):
            raise ConfigError(f"endpoint is {shown(endpoint)}; {_EXPECTED}")
        if endpoint.startswith("tcp:") and credentials is None:
            raise ConfigError(
                f"{endpoint} takes a key: give the file that its operator makes with `reidd keys new NAME`; commands, "
                f"and `ReIdentification`, find its name in {KEY}"
            )
        self.endpoint, self.timeout, self._credentials = endpoint, timeout, credentials
        self._turns = Turns()
        self._socket: zmq.Socket[bytes] | None = None
        self._lost: zmq.Socket[bytes] | None = None
        self._poller = zmq.Poller()
        self._pid = 0
        # Unlike any other client's, so that the daemon knows a repeat from a namesake.
        self._name = secrets.token_hex(8)
        self._count = 0

    def ask(
        self, request: protocol.Request, frames: Sequence[Any] = (), timeout: float | None = None
    ) -> tuple[protocol.AnyReply, list[bytes]]:
        """Send one request and wait for its reply and the reply's frames.

        Raises:
            ForbiddenError: the daemon does not let our key in.
            RequestError: a frame is larger than a daemon takes.
            ConnectionError: no reply within the timeout; says what is in the way.
            ReiddError: the daemon's own error, as the class it was raised as.
        """
        timeout = self.timeout if timeout is None else timeout
        until = time.monotonic() + timeout
        # A thread that waits for another's request waits within its own timeout.
        lock = self._turns.mine
        if not lock.acquire(timeout=timeout):
            raise DeadlineError(f"another request of this client was still under way after {timeout:g} s")
        try:
            self._count += 1
            request = msgspec.structs.replace(
                request,
                request=f"{self._name}-{os.getpid()}-{self._count}",
                deadline_ms=_deadline_ms(until - time.monotonic()),
            )
            reply, rest = self._exchange(request, _checked(frames), until, timeout)
        finally:
            lock.release()
        if isinstance(reply, protocol.Failed):
            raise protocol.raised(reply)
        return reply, rest

    def close(self) -> None:
        """Close the socket; a later request opens it again."""
        with self._turns.mine:
            self._drop()

    def _exchange(
        self, request: protocol.Request, frames: Sequence[Any], until: float, timeout: float
    ) -> tuple[protocol.AnyReply, list[bytes]]:
        connected, lost = self._connected()
        self._was_lost(lost)
        message = [b"", _header(request), *frames]
        connected.send_multipart(message, copy=False)
        ready: dict[Any, int] = {}
        left_s = timeout
        while ready or left_s > 0:
            left_s = until - time.monotonic()
            ready = dict(self._poller.poll(max(LAST_LOOK_MS, int(1000 * left_s))))
            if connected in ready:
                _, header, *rest = connected.recv_multipart()
                reply = protocol.decode_reply(header)
                if reply.request == request.request:
                    return reply, rest
            elif self._was_lost(lost):
                # The daemon ended, and the request or its answer may have gone with it. It makes no change twice.
                connected.send_multipart(message, copy=False)
        self._drop()
        reason = obstacle(self.endpoint) or "it is busy, hangs, or cannot be reached; `reidd doctor` looks closer"
        raise ConnectionError(f"no answer from {self.endpoint} within {timeout:g} s: {reason}")

    def _was_lost(self, lost: "zmq.Socket[bytes]") -> bool:
        """Whether the daemon was lost since the last look."""
        was_lost = False
        while int(lost.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            was_lost = True
            self._check_welcome(recv_monitor_message(lost)["event"])
        return was_lost

    def _check_welcome(self, event: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self._drop()
            raise ForbiddenError(
                f"the daemon at {self.endpoint} does not let this key in: it was revoked, or never known"
            )

    def _connected(self) -> "tuple[zmq.Socket[bytes], zmq.Socket[bytes]]":
        """The socket, and one that becomes readable when it loses its daemon."""
        if self._socket is not None and self._lost is not None and self._pid == os.getpid():
            return self._socket, self._lost
        # After a fork the old socket belongs to the parent's threads: it is left alone, not closed.
        self._socket, self._pid = zmq.Context.instance().socket(zmq.DEALER), os.getpid()
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        secure(self._socket, self._credentials)
        self._lost = _monitor(self._socket)
        try:
            self._socket.connect(self.endpoint)
        except zmq.ZMQError as error:
            self._drop()
            raise ConfigError(f"endpoint {self.endpoint!r}: {error.strerror}; {_EXPECTED}") from None
        self._poller = zmq.Poller()
        for source in (self._socket, self._lost):
            self._poller.register(source, zmq.POLLIN)
        return self._socket, self._lost

    def _drop(self) -> None:
        if self._socket is not None and self._lost is not None and self._pid == os.getpid():
            self._socket.monitor(None, 0)
            self._lost.close()
            self._socket.close()
        self._socket = self._lost = None


def _monitor(watched: "zmq.Socket[bytes]") -> "zmq.Socket[bytes]":
    address = f"inproc://lost-{watched.FD}"
    watched.monitor(address, _EVENTS)
    lost: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PAIR)
    # Without a limit: where an idle client lets events fill a queue, libzmq waits, and with it every socket here.
    lost.setsockopt(zmq.RCVHWM, 0)
    lost.connect(address)
    return lost


def secure(socket: "zmq.Socket[Any]", credentials: Credentials | None) -> None:
    """Have a socket that is not connected yet speak CURVE, if there are keys."""
    if credentials is not None:
        socket.setsockopt(zmq.CURVE_SERVERKEY, credentials.server_public.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, credentials.public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, credentials.secret.encode())


def _deadline_ms(left_s: float) -> int:
    return max(1, min(int(left_s * 1000 * DAEMON_SHARE), protocol.MAX_DEADLINE_MS))


def _header(request: protocol.Request) -> bytes:
    header = protocol.encode(request)
    if len(header) > protocol.MAX_HEADER_BYTES:
        # The daemon could not even read which request it refuses.
        raise RequestError(
            f"request has a header of {len(header)} bytes; expected at most {protocol.MAX_HEADER_BYTES}: send less"
        )
    return header


def _checked(frames: Sequence[Any]) -> Sequence[Any]:
    """Refuse a frame that would only make the daemon close the connection, without a word."""
    for frame in frames:
        if (size := memoryview(frame).nbytes) > protocol.MAX_FRAME_BYTES:
            raise RequestError(f"frame has {size} bytes; expected at most {protocol.MAX_FRAME_BYTES}: send a crop")
    return frames


# The service first: a root who serves by hand leaves it files that it may not write.
_START = "start the daemon with `systemctl start reidd` or, where it is no service, `reidd serve`"


def obstacle(endpoint: str) -> str | None:
    """Why nobody listens at an ipc address, and what to do; None when somebody does, or when it cannot be seen."""
    if not endpoint.startswith("ipc://"):
        return None
    path = Path(endpoint.removeprefix("ipc://"))
    with socket.socket(socket.AF_UNIX) as probe:
        # Where a hung daemon accepts nobody, connecting would wait for ever.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno == errno.ECONNREFUSED and not path.is_socket():
                return f"that is no socket; {_EXPECTED}"
            reasons = {
                errno.ENOENT: f"there is no such socket; {_START}",
                errno.ECONNREFUSED: f"the socket is there but nobody listens; {_START}",
                errno.EAGAIN: "it accepts nobody: it hangs, or too many come at once",
                errno.EACCES: f"you may not use the socket; join the group of {path}, then log in again",
            }
            return reasons.get(error.errno or 0, str(error))
    return None
