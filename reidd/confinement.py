"""Start a program that may do harm: bounded in memory, time and files, and cut from the network.

This module is run by its path, with nothing but the standard library, and becomes the program: a process may leave
its user name space only while it has one thread, and numpy starts more.
"""

import ctypes
import os
import resource
import sys
from collections.abc import Callable

NETWORK = "REIDD_CONFINED_NETWORK"
"""Environment variable that the program finds: "cut", or why the network could not be cut off."""
# linux/sched.h and linux/prctl.h
CLONE_NEWUSER, CLONE_NEWNET, PR_SET_NO_NEW_PRIVS = 0x10000000, 0x40000000, 38
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
    """The command line that starts a program so; with `network` it keeps its network."""
    return [sys.executable, "-I", "-S", __file__, "keep" if network else "cut", *program]


def cut_network(unshare: Callable[[int], int]) -> str:
    """Leave the network's name space; return "cut", or why the kernel does not allow it.

    `unshare` is the C library's: it returns 0, or an errno. Root needs no user name space of its own, others do.
    """
    error = unshare(CLONE_NEWNET) and unshare(CLONE_NEWNET | CLONE_NEWUSER)
    return os.strerror(error) if error else "cut"


def main() -> None:
    """Confine this process, then become the program that the arguments name."""
    network, *program = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    for kind, limit in LIMITS.items():
        hard = resource.getrlimit(kind)[1]
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (bound, bound))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if network == "cut":
        os.environ[NETWORK] = cut_network(lambda flags: ctypes.get_errno() if libc.unshare(flags) else 0)
    os.execv(program[0], program)  # noqa: S606  (a command line without a shell is the point)


if __name__ == "__main__":
    main()
