"""A terminal, as wide as a test wants it."""

import contextlib
import os
import pty
import struct
import subprocess
import sys
import termios
from fcntl import ioctl


def at_a_terminal(*words: object, columns: int) -> str:
    """What `reidd` prints on a terminal that is so wide."""
    end, terminal = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    command = [sys.executable, "-m", "reidd", *map(str, words)]
    # A dumb one would be taken for 80 columns wide.
    env = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(command, stdout=terminal, stdin=terminal, env=env) as process:
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # how the end of a terminal is told
            while piece := os.read(end, 65536):
                shown += piece
    os.close(end)
    assert process.returncode == 0
    return shown.decode()
