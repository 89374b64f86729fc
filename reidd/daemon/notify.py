"""Telling systemd that the service is ready, alive or stopping (sd_notify(3))."""

import logging
import math
import os
import socket

log = logging.getLogger(__name__)

TOLD_WITHIN_S = 1.0


def managed() -> bool:
    """Whether a service manager wants to be told."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(state: str) -> None:
    """Send one state, such as "READY=1", to the service manager; without one, nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            # The loop waits for nobody, but for a moment: without READY=1 the service would not have started.
            channel.settimeout(TOLD_WITHIN_S)
            # A leading @ stands for the zero byte of an abstract address.
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.send(state.encode())
    except OSError as error:
        log.warning("the service manager was not told %s: %s", state, error.strerror or error)


class Watchdog:
    """Says that this process is alive, in half of the time that systemd allows; if it does not watch, nothing."""

    def __init__(self) -> None:
        allowed_us = os.environ.get("WATCHDOG_USEC")
        ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._every_s = int(allowed_us) / 2e6 if allowed_us and ours else math.inf
        self._next = 0.0 if math.isfinite(self._every_s) else math.inf

    def feed(self, now: float) -> None:
        """Say so if it is time to; `now` is on the monotonic clock."""
        if now >= self._next:
            self._next = now + self._every_s
            notify("WATCHDOG=1")
