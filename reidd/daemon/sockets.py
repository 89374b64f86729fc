"""The daemon's listening sockets: its files, made here or opened before us by systemd (sd_listen_fds(3)), and tcp's.

At systemd's, clients wait while the daemon starts or restarts.
"""

import os
import resource
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from reidd.errors import ConfigError

FIRST_FD = 3
BACKLOG = 256
FEWEST_FILES = 192
"""Open files without which hardly a client could come in, beside those that we need ourselves."""
MAX_IPC_PATH = 107  # the size of sockaddr_un.sun_path, less its final zero


class Addresses(NamedTuple):
    """Where the door stands, such as `tcp://0.0.0.0:7340`."""

    requests: str
    analytics: str | None = None


def check_files() -> None:
    """Raise ConfigError when this process may have so few open files that clients could not come in."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < FEWEST_FILES:
        raise ConfigError(
            f"only {files} files may be open, and {FEWEST_FILES} are the fewest to serve with; set LimitNOFILE=1024 in "
            "the unit or, by hand, `ulimit -n 1024`"
        )


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


def bound(stack: ExitStack, path: Path, mode: int, given: Mapping[Path, int] | None = None) -> socket.socket:
    """Bind a socket file of that mode, or take over the one that the service manager opened; closed with the stack."""
    if given and path in given:
        # The service manager made the file and keeps it when we are gone.
        return stack.enter_context(socket.socket(fileno=given[path]))
    if len(os.fsencode(path)) > MAX_IPC_PATH:
        raise ConfigError(
            f"{path}: a socket's path has at most {MAX_IPC_PATH} characters; choose a shorter runtime folder"
        )
    listener = stack.enter_context(socket.socket(socket.AF_UNIX))
    before = os.umask(0o777 & ~mode)
    try:
        # Of a daemon that was killed.
        path.unlink(missing_ok=True)
        listener.bind(os.fspath(path))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.umask(before)
    stack.callback(path.unlink, missing_ok=True)
    listener.listen(BACKLOG)
    return listener


def host_and_port(address: str) -> tuple[str, int]:
    """The two halves of `tcp://HOST:PORT`. Raises ConfigError when it is no such address."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    if not (address.startswith("tcp://") and host and port.isdecimal() and int(port) < 1 << 16):
        raise ConfigError(f"address is {address!r}; expected tcp://HOST:PORT")
    return host, int(port)


def bound_tcp(stack: ExitStack, address: str) -> socket.socket:
    """Listen at `tcp://HOST:PORT`; closed with the stack. Raises ConfigError when the address cannot be had."""
    host, port = host_and_port(address)
    try:
        family, _, _, _, where = socket.getaddrinfo(
            None if host == "*" else host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return stack.enter_context(socket.create_server(where[:2], family=family, backlog=BACKLOG))
    except UnicodeError:
        raise ConfigError(f"{address}: cannot be bound: no host has such a name; choose another address") from None
    except OSError as error:
        raise ConfigError(f"{address}: cannot be bound: {error.strerror}; choose another address") from None


def address_of(listener: socket.socket) -> str:
    """Where a socket listens on tcp, its port included."""
    host, port = listener.getsockname()[:2]
    return f"tcp://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"tcp://{host}:{port}"
