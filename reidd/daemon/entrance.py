"""Where clients come in: a listening socket, which rests for a while when there is no room for another."""

import logging
import math
import select
import socket
import time

log = logging.getLogger(__name__)

REST_S = 1.0
SAY_EVERY_S = 600.0


class Complaint:
    """A warning that is said now and then, but not each time: what it is about may go on for months."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def say(self, words: str) -> None:
        """Say it, unless it was said just now."""
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + SAY_EVERY_S
            log.warning("%s", words)


class Entrance:
    """Those who come while it rests wait in the kernel: they neither keep the loop busy nor fill the log."""

    def __init__(self, listener: socket.socket, epoll: select.epoll):
        self.listener, self._epoll = listener, epoll
        self._rests_until, self._full = math.inf, Complaint()
        listener.setblocking(False)
        epoll.register(listener, select.EPOLLIN)

    def fileno(self) -> int:
        """Where somebody waits who may come in."""
        return self.listener.fileno()

    def newcomer(self) -> socket.socket | None:
        """Whoever has waited longest, if anybody waits."""
        try:
            return self.listener.accept()[0]
        except BlockingIOError:
            pass
        except OSError as error:
            self.rest(f"a client could not come in: {error.strerror}")
        return None

    def rest(self, reason: str) -> None:
        """Let nobody in for a while, and say why."""
        self._epoll.unregister(self.listener)
        self._rests_until = time.monotonic() + REST_S
        self._full.say(reason)

    def wake(self) -> None:
        """End a rest that was long enough."""
        if time.monotonic() >= self._rests_until:
            self._epoll.register(self.listener, select.EPOLLIN)
            self._rests_until = math.inf

    def close(self) -> None:
        """Listen no more. Twice is fine."""
        self.listener.close()
