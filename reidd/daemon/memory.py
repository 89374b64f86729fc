"""How much memory the core may take: what a flood of messages is stopped by.

ZeroMQ's own limits bound one frame and one queue, but not a message of endlessly many frames. Where memory ends, it
closes the connection that asked for more, and no other.
"""

import logging
import resource

log = logging.getLogger(__name__)

BASE_BYTES = 512 << 20
"""The core itself, about 60 MiB resident, and room for the largest request and its copy."""
PER_INSTANCE_BYTES = 1024
"""What the core remembers of an instance beside its feature."""


def bound(capacity: int, dim: int) -> None:
    """Limit this process's private memory, which its workers lift again, and leave no core files."""
    wanted = BASE_BYTES + capacity * (PER_INSTANCE_BYTES + 4 * dim)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = [limit for limit in (wanted, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(allowed), hard))
    # A core file would hold features and images; workers inherit this.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    log.debug("at most %d MiB of private memory", min(allowed) >> 20)


def lift() -> None:
    """Allow this process as much as the machine's administrator allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
