"""Start a program that is not left behind; one that may do harm also bounded in memory, time, files and network.

This module is run by its path, with nothing but the standard library, and becomes the program: a process may leave
its user name space only while it has one thread, and numpy starts more.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

NETWORK = "REIDD_CONFINED_NETWORK"
"""Environment variable that the program finds: "cut", or why the network could not be cut off."""
# linux/sched.h and linux/prctl.h
CLONE_NEWUSER, CLONE_NEWNET, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG = 0x10000000, 0x40000000, 38, 1
LIMITS = {
    resource.RLIMIT_CORE: 0,
    # More than any model for an edge device needs: 1,000 times the embedded one.
    resource.RLIMIT_DATA: 4 << 30,
    resource.RLIMIT_CPU: 120,
    # A runtime may keep compiled kernels; it shall not fill the disk.
    resource.RLIMIT_FSIZE: 256 << 20,
    resource.RLIMIT_NOFILE: 256,
}


def command(*program: str, network: bool) -> list[str]:
    """The command line that starts a program so, from this process; with `network` it keeps its network."""
    return _command("keep" if network else "cut", program)


def ending(*program: str) -> list[str]:
    """The command line that starts a program which does no harm, and is not left behind either."""
    return _command("free", program)


def _command(mode: str, program: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), mode, *program]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Start programs that do not hear Ctrl-C, which a terminal sends to all: whoever started them ends them."""
    # Blocked, not ignored, so that this process hears of it when the block ends.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with(parent: int) -> None:
    """Have the kernel kill this process when the one that started it ends, or the thread there that did.

    What hangs in a driver looks at nothing itself, and a program that this process becomes is killed all the same.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("whoever started this process is gone")


def signal_name(number: int) -> str:
    """What a signal is called; nearly all of the real-time ones, which a runtime may use, have only a number."""
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def cut_network(unshare: Callable[[int], int]) -> str:
    """Leave the network's name space; return "cut", or why the kernel does not allow it.

    `unshare` is the C library's: it returns 0, or an errno. Root needs no user name space of its own, others do.
    """
    error = unshare(CLONE_NEWNET) and unshare(CLONE_NEWNET | CLONE_NEWUSER)
    return os.strerror(error) if error else "cut"


def confine(*, network: bool) -> None:
    """Bound this process for good, and cut it from the network unless it may keep that."""
    libc = ctypes.CDLL(None, use_errno=True)
    for kind, limit in LIMITS.items():
        hard = resource.getrlimit(kind)[1]
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (bound, bound))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if not network:
        os.environ[NETWORK] = cut_network(lambda flags: ctypes.get_errno() if libc.unshare(flags) else 0)


def main() -> None:
    """Confine this process unless it is free, then become the program that the arguments name."""
    parent, mode, *program = sys.argv[1:]
    if mode != "free":
        confine(network=mode == "keep")
    # Last, for a process that changes its rights loses it.
    end_with(int(parent))
    os.execv(program[0], program)  # noqa: S606  (a command line without a shell is the point)


if __name__ == "__main__":
    main()
