"""The daemon's socket files: made here, or opened before us by systemd (sd_listen_fds(3)).

At systemd's, clients wait while the daemon starts or restarts.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import zmq

from reidd import protocol
from reidd.daemon.door import HANDSHAKE_MS
from reidd.errors import ConfigError

FIRST_FD = 3
MAX_IPC_PATH = 107  # the size of sockaddr_un.sun_path, less its final zero


def inherited() -> dict[Path, int]:
    """The listening socket files that were handed to this process, by path. A second call finds none."""
    if os.environ.pop("LISTEN_PID", "") != str(os.getpid()):
        return {}
    count = int(os.environ.pop("LISTEN_FDS", "0"))
    os.environ.pop("LISTEN_FDNAMES", None)
    found = {}
    for fd in range(FIRST_FD, FIRST_FD + count):
        os.set_inheritable(fd, False)
        with socket.socket(fileno=os.dup(fd)) as handed:
            if handed.family == socket.AF_UNIX and handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                found[Path(handed.getsockname())] = fd
    return found


def bound(
    stack: ExitStack,
    context: "zmq.Context[zmq.Socket[bytes]]",
    kind: int,
    path: Path,
    mode: int,
    given: Mapping[Path, int] | None = None,
) -> "zmq.Socket[bytes]":
    """Bind a socket file of that mode, or take over the one that the service manager opened; closed with the stack."""
    if len(os.fsencode(path)) > MAX_IPC_PATH:
        raise ConfigError(
            f"{path}: a socket's path has at most {MAX_IPC_PATH} characters; choose a shorter runtime folder"
        )
    opened = context.socket(kind)
    stack.callback(opened.close, linger=200)
    opened.setsockopt(zmq.MAXMSGSIZE, protocol.MAX_FRAME_BYTES)
    # Whoever connects and says nothing must not use up our file descriptors.
    opened.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    if given and path in given:
        # The service manager made the file and keeps it when we are gone.
        opened.setsockopt(zmq.USE_FD, given[path])
        opened.bind(f"ipc://{path}")
        return opened
    before = os.umask(0o777 & ~mode)
    try:
        opened.bind(f"ipc://{path}")
    finally:
        os.umask(before)
    stack.callback(path.unlink, missing_ok=True)
    return opened
