"""`aio.Client`: the published API over ZeroMQ for asyncio programs."""

import asyncio
import functools
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
import zmq
import zmq.asyncio

from reidd import client
from reidd.arguments import counted
from reidd.channel import secure
from reidd.keys import credentials
from reidd.results import ReIdentificationResults

_P = ParamSpec("_P")
_R = TypeVar("_R")

MAX_AT_ONCE = 8


def _awaitable(
    method: Callable[Concatenate[client.Client, _P], _R],
) -> Callable[Concatenate["Client", _P], Coroutine[Any, Any, _R]]:
    @functools.wraps(method)
    async def call(self: "Client", /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return await self._in_thread(functools.partial(_on, method, args, kwargs))

    return call


def _on(method: Callable[..., _R], args: tuple[Any, ...], kwargs: dict[str, Any], connected: client.Client) -> _R:
    return method(connected, *args, **kwargs)


class Client:
    """The methods of `reidd.Client`, each to be awaited. Many may be under way at once.

    Encoding and waiting happen in threads, so the event loop never blocks. Cancelling a call stops the wait for it; the
    daemon may carry it out all the same.

    Args:
        endpoint: the daemon's address, as for `reidd.Client`.
        timeout: seconds that a request may take before it raises `ConnectionError`, or `DeadlineError` when the daemon
            is there but late. A long list of images is several requests.
        key: the file that `reidd keys new` wrote, without which nobody gets in over tcp.
        at_once: calls that may be under way; more wait for one to end.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        timeout: float = client.DEFAULT_TIMEOUT_S,
        key: str | os.PathLike[str] | None = None,
        at_once: int = MAX_AT_ONCE,
    ):
        self._key = None if key is None else credentials(Path(key))
        self._connect = functools.partial(client.Client, endpoint, timeout=timeout, key=key)
        # Made now, so that a wrong timeout is said here.
        self._idle = [self._connect()]
        self._new_threads = functools.partial(
            ThreadPoolExecutor, counted(at_once, "at_once"), thread_name_prefix="reidd-client"
        )
        self._threads = self._new_threads()

    extract_features = _awaitable(client.Client.extract_features)
    get_distances = _awaitable(client.Client.get_distances)
    set_per_id_gallery_limit = _awaitable(client.Client.set_per_id_gallery_limit)
    add_to_gallery = _awaitable(client.Client.add_to_gallery)
    add_features_to_gallery = _awaitable(client.Client.add_features_to_gallery)
    remove_from_gallery = _awaitable(client.Client.remove_from_gallery)
    forget = _awaitable(client.Client.forget)
    re_id_image = _awaitable(client.Client.re_id_image)
    re_id_images = _awaitable(client.Client.re_id_images)
    re_id_features = _awaitable(client.Client.re_id_features)
    id_records = _awaitable(client.Client.id_records)
    ids = _awaitable(client.Client.ids)
    count = _awaitable(client.Client.count)
    clear = _awaitable(client.Client.clear)
    set_label = _awaitable(client.Client.set_label)
    pin = _awaitable(client.Client.pin)
    unpin = _awaitable(client.Client.unpin)
    rename = _awaitable(client.Client.rename)
    merge = _awaitable(client.Client.merge)
    move = _awaitable(client.Client.move)
    undo = _awaitable(client.Client.undo)
    set_ttl = _awaitable(client.Client.set_ttl)
    explain = _awaitable(client.Client.explain)
    id_labels = _awaitable(client.Client.id_labels)
    save_gallery = _awaitable(client.Client.save_gallery)
    load_gallery = _awaitable(client.Client.load_gallery)
    load = _awaitable(client.Client.load)
    status = _awaitable(client.Client.status)
    events = _awaitable(client.Client.events)

    async def publish_analytics(
        self, results: ReIdentificationResults | Sequence[ReIdentificationResults], tag: Any = None, **kwargs: Any
    ) -> None:
        """Send a record to the daemon's subscribers, as `reidd.Client.publish_analytics` does."""
        await self._in_thread(lambda connected: connected.publish_analytics(results, tag, **kwargs))

    async def audit(self) -> list[str]:
        """The entries of the daemon's audit log, oldest first, each one line of JSON."""
        return await self._in_thread(lambda connected: list(connected.audit()))

    async def watch(self, *types: str, timeout: float | None = None) -> AsyncGenerator[dict[str, Any], None]:
        """Subscribe to the daemon's events, such as "identified" or "published"; without types, to all.

        Hears what happens from the first `anext` on. Ends when nothing came for `timeout` seconds; without one, never.
        """
        endpoint = await self._in_thread(client.Client.analytics_endpoint)
        with zmq.asyncio.Context.instance().socket(zmq.SUB) as subscriber:
            secure(subscriber, self._key)
            for kind in types or ("",):
                subscriber.subscribe(kind)
            monitor = subscriber.get_monitor_socket(client.HANDSHAKES)
            subscriber.connect(endpoint)
            said = await monitor.recv_multipart() if await monitor.poll(client.CONNECT_TIMEOUT_MS) else None
            subscriber.disable_monitor()
            monitor.close()
            client.check_welcome(said, endpoint)
            while await subscriber.poll(None if timeout is None else int(timeout * 1000)):
                _, event = await subscriber.recv_multipart()
                yield msgspec.json.decode(event)

    async def close(self) -> None:
        """Wait for the calls under way and close the connections. A later call opens them again."""
        threads, self._threads = self._threads, self._new_threads()
        await asyncio.get_running_loop().run_in_executor(None, threads.shutdown)
        while self._idle:
            self._idle.pop().close()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _in_thread(self, call: Callable[[client.Client], _R]) -> _R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._with_client, call)

    def _with_client(self, call: Callable[[client.Client], _R]) -> _R:
        try:
            connected = self._idle.pop()
        except IndexError:
            connected = self._connect()
        try:
            return call(connected)
        finally:
            self._idle.append(connected)
