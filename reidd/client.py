"""`Client`: the published API over ZeroMQ, answered by a running daemon."""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, SupportsIndex

import msgspec
import numpy as np
import zmq
from zmq.utils.monitor import parse_monitor_message

from reidd import places, protocol
from reidd.arguments import counted, member, seconds_of
from reidd.channel import Channel, secure
from reidd.colors import checked_colors
from reidd.engines import Accelerator, Engine
from reidd.errors import ForbiddenError, RequestError, UnknownModelError
from reidd.identifier import Identifier
from reidd.keys import Credentials, credentials
from reidd.model import ModelConfig

DEFAULT_TIMEOUT_S = 5.0
LOAD_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_MS = 2000
HANDSHAKES = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH
"""What a subscriber waits for."""


class Client(Identifier):
    """A daemon's gallery and network, with the methods, results and exceptions of `ReIdentification`.

    Threads may share one; it outlives the daemon's restarts.

    Args:
        endpoint: the daemon's address, such as `ipc:///run/reidd/reidd.sock`; by default this user's daemon's, else
            the machine's.
        timeout: seconds that a request may take before it raises `ConnectionError`, or `DeadlineError` when the daemon
            is there but late. A long list of images is several requests.
        key: the file that `reidd keys new` wrote, without which nobody gets in over tcp.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT_S,
        key: str | os.PathLike[str] | None = None,
    ):
        self._credentials = None if key is None else credentials(Path(key))
        self._channel = Channel(
            endpoint or places.default_endpoint(), seconds_of(timeout, "timeout"), self._credentials
        )
        self._colors: np.ndarray | None = None

    def load(self, engine: Engine = Engine.DNN, accelerator: Accelerator = Accelerator.DEFAULT) -> None:
        """Have the daemon change its engine/accelerator pair, for all its clients.

        Raises:
            BackendUnavailableError: that pair cannot run there; the daemon goes on with the one it has.
        """
        request = protocol.Load(engine=member(Engine, engine), accelerator=member(Accelerator, accelerator))
        self._channel.ask(request, timeout=max(self._channel.timeout, LOAD_TIMEOUT_S))

    def status(self) -> protocol.StatusReply:
        """How the daemon is: its model, engine, workers, gallery, uptime."""
        return self._reply(protocol.StatusReply, protocol.Status())

    def events(self, after: SupportsIndex = 0) -> protocol.EventList:
        """The recent events after a sequence number: what a subscriber missed."""
        return self._reply(protocol.EventList, protocol.Events(after=counted(after, "after", least=0)))

    def audit(self) -> Iterator[str]:
        """The entries of the daemon's audit log, oldest first, each one line of JSON.

        Each holds the SHA-256 of the line before, in hexadecimal; `reidd audit --verify` follows that chain.
        """
        for page in self.audit_pages():
            yield from page.lines

    def audit_pages(self) -> Iterator[protocol.AuditReply]:
        """The same, as the daemon gives it: with the number and the hash of the latest entry."""
        after = 0
        while True:
            page = self._reply(protocol.AuditReply, protocol.Audit(after=after))
            yield page
            if not page.lines:
                return
            after = page.last

    def analytics_endpoint(self) -> str:
        """The address that this client hears the daemon's events at.

        Raises:
            RequestError: the daemon sends none over tcp.
        """
        return _seen_from_here(self.status().analytics, self._channel.endpoint)

    def watch(self, *types: str, timeout: float | None = None) -> Generator[dict[str, Any], None, None]:
        """Subscribe to the daemon's events, such as "identified" or "published"; without types, to all.

        Hears what happens from the first `next` on. Ends when nothing came for `timeout` seconds; without one, never.
        It outlives the daemon's restarts, which begin another "epoch". "seq" counts events of all types: where one is
        missing, `events` has it.
        """
        with subscribed(self.analytics_endpoint(), *types, timeout=timeout, key=self._credentials) as events:
            yield from events

    @property
    def endpoint(self) -> str:
        """The daemon's address."""
        return self._channel.endpoint

    @property
    def timeout(self) -> float:
        """Seconds that a request may take before it raises `ConnectionError` or `DeadlineError`."""
        return self._channel.timeout

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self._channel.timeout = seconds_of(seconds, "timeout")

    @property
    def engine(self) -> Engine | None:
        """The engine that runs the daemon's network."""
        return self.status().engine

    @property
    def accelerator(self) -> Accelerator | None:
        """The accelerator that runs the daemon's network."""
        return self.status().accelerator

    @property
    def model_id(self) -> str:
        """The daemon's model."""
        return self.status().model

    @property
    def model_config(self) -> ModelConfig:
        """The folder of the daemon's model, as this machine has it.

        Raises:
            UnknownModelError: this machine does not have it, or has another network of that id.
        """
        status = self.status()
        found = ModelConfig.from_model_id(status.model)
        if found.feature_space().hex() != status.space:
            raise UnknownModelError(f"{found.base_dir} is not the network that the daemon runs as {status.model}")
        return found

    @property
    def model_purpose(self) -> str:
        """What the daemon's model is for: "ReIdentification"."""
        return self.status().purpose

    @property
    def labels(self) -> list[str] | None:
        """The class names of the daemon's model, or None."""
        return self.status().model_labels

    @property
    def colors(self) -> np.ndarray | None:
        """One BGR row per label, or None without labels. Setting them changes this client's only."""
        if self._colors is not None:
            return self._colors
        given = self.status().model_colors
        return None if given is None else np.array(given, np.uint8)

    @colors.setter
    def colors(self, colors: Any) -> None:
        self._colors = checked_colors(colors, self.labels)

    def close(self) -> None:
        """Close the connection; a later call opens it again."""
        self._channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _space(self) -> tuple[bytes, int]:
        status = self.status()
        return bytes.fromhex(status.space), status.dim

    def _ask(self, request: protocol.Request, frames: Sequence[Any] = ()) -> tuple[protocol.AnyReply, list[Any]]:
        return self._channel.ask(request, frames)


@contextmanager
def subscribed(
    endpoint: str, *types: str, timeout: float | None = None, key: Credentials | None = None
) -> Iterator[Iterator[dict[str, Any]]]:
    """Subscribe to an analytics socket, and return once the subscription stands; yields the events as they come.

    The iterator ends when nothing came for `timeout` seconds; without one, never.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    with closing(context.socket(zmq.SUB)) as subscriber:
        secure(subscriber, key)
        monitor = subscriber.get_monitor_socket(HANDSHAKES)
        for kind in types or ("",):
            subscriber.subscribe(kind)
        subscriber.connect(endpoint)
        said = monitor.recv_multipart() if monitor.poll(CONNECT_TIMEOUT_MS) else None
        subscriber.disable_monitor()
        monitor.close()
        check_welcome(said, endpoint)
        yield _events(subscriber, timeout)


def check_welcome(said: list[bytes] | None, endpoint: str) -> None:
    """Raise a ForbiddenError when a subscriber's monitor tells that its key was refused: nothing would ever come."""
    if said and parse_monitor_message(said)["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        raise ForbiddenError(f"the daemon sends this key no events at {endpoint}: it takes the role admin or subscribe")


def _events(subscriber: "zmq.Socket[bytes]", timeout: float | None) -> Iterator[dict[str, Any]]:
    while subscriber.poll(None if timeout is None else int(timeout * 1000)):
        yield msgspec.json.decode(subscriber.recv_multipart()[1])


def _seen_from_here(analytics: str, endpoint: str) -> str:
    """Turn the address that a daemon is bound to, such as tcp://0.0.0.0:7341, into one that can be connected to.

    Raises:
        RequestError: the daemon sends no events over tcp.
    """
    if not analytics:
        raise RequestError("this daemon sends no events over tcp; ask its operator to set tcp_analytics")
    host = endpoint.removeprefix("tcp://").rpartition(":")[0]
    return analytics.replace("//0.0.0.0:", f"//{host}:").replace("//[::]:", f"//{host}:")
