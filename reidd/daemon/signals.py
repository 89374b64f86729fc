"""Signals that ask the daemon to end: a flag, and a socket that ends a poll."""

import signal
import socket
from contextlib import ExitStack


class Stopped(Exception):  # noqa: N818  (no error: somebody asked)
    """A signal asked the daemon to end before it was ready."""


class Signals:
    """Whether a signal has asked the process to end."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self) -> bool:
        """Say whether one has come."""
        return self._asked

    def heed(self, *_: object) -> None:
        """Remember that one has come. No more, for it may interrupt anything, a line of the log too."""
        self._asked = True


def heed_signals(stack: ExitStack) -> tuple[Signals, socket.socket]:
    """SIGTERM, SIGINT and SIGHUP set a flag; these and SIGCHLD make the wake-up socket readable, which ends a poll."""
    asked = Signals()
    receiver, sender = socket.socketpair()
    for end in (receiver, sender):
        end.setblocking(False)
        stack.callback(end.close)
    signal.signal(signal.SIGTERM, asked.heed)
    signal.signal(signal.SIGINT, asked.heed)
    # A terminal that closes sends this one, unless `nohup` forbade it.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, asked.heed)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False))
    return asked, receiver
