"""How much memory the core may take, so that a flood takes none from the rest of the machine."""

import ctypes
import logging
import math
import resource
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

BASE_BYTES = 512 << 20
"""The core itself, about 60 MiB resident, and room for the largest request and its copy."""
TCP_BYTES = 384 << 20
"""To decrypt the largest frame takes three more copies of it."""
PER_INSTANCE_BYTES = 1024
"""What the core remembers of an instance beside its feature."""

WORKERS_FIRST = 200
"""Of the machine's memory, in thousandths, what a worker counts for beyond what it holds (proc(5), oom_score_adj)."""

PR_SET_DUMPABLE = 4  # linux/prctl.h


def bound(capacity: int, dim: int, *, tcp: bool) -> None:
    """Limit this process's private memory, which its workers lift again."""
    wanted = BASE_BYTES + TCP_BYTES * tcp + capacity * (PER_INSTANCE_BYTES + 4 * dim)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = [limit for limit in (wanted, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(allowed), hard))
    log.debug("at most %d MiB of private memory", min(allowed) >> 20)


def keep_private() -> None:
    """Have the kernel dump this process's memory nowhere, for it holds features and images; workers do the same."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A dump that is piped to a program, as systemd-coredump, ignores the limit (core(5)).
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def go_first() -> None:
    """When memory runs out, have the kernel end this process and not the core, which has another take its place.

    To be called before `keep_private`, which makes the file root's.
    """
    file = Path("/proc/self/oom_score_adj")
    with suppress(OSError):
        file.write_text(str(min(1000, int(file.read_text()) + WORKERS_FIRST)))


def lift() -> None:
    """Allow this process as much as the machine's administrator allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def room_bytes() -> float:
    """How much more private memory this process may take, by its limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY:
        return math.inf
    pages = Path("/proc/self/statm").read_text().split()[5]  # proc(5): data and stack
    return float(soft - int(pages) * resource.getpagesize())


def give_back() -> None:
    """Return what is free to the kernel: after reading a large gallery the C library keeps 10 MiB that nobody needs."""
    # glibc's; musl does so by itself.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
