"""What is started for a stranger's file can do little harm."""

import errno
import json
import os
import resource
import socket
import subprocess
import sys

import pytest

from reidd import confinement
from reidd.confinement import CLONE_NEWNET, CLONE_NEWUSER, NETWORK, cut_network

LOOK = """
import json, os, resource, socket
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=5).close()
    reached = True
except OSError:
    reached = False
limits = [resource.getrlimit(kind)[0] for kind in {kinds}]
print(json.dumps([reached, os.environ.get("{name}"), limits]))
"""


def looked(*, network: bool, port: int = 9) -> tuple[bool, str | None, dict[int, int]]:
    """Whether a confined program reaches a server on this machine, what it was told, and its limits."""
    code = LOOK.format(port=port, kinds=list(confinement.LIMITS), name=NETWORK)
    command = confinement.command(sys.executable, "-c", code, network=network)
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    reached, told, limits = json.loads(said.stdout)
    return reached, told, dict(zip(confinement.LIMITS, limits, strict=True))


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_it_reaches_nobody_or_says_why_not(port):
    reached, told, _ = looked(network=False, port=port)
    assert (reached, told) == (False, "cut") or (reached, told) == (True, "Operation not permitted")


def test_where_the_network_is_wanted_it_stays(port):
    assert looked(network=True, port=port)[:2] == (True, None)


def test_it_is_bounded():
    limits = looked(network=True)[2]
    assert limits[resource.RLIMIT_CORE] == 0
    assert all(limits[kind] <= most for kind, most in confinement.LIMITS.items())


def test_too_much_memory_is_refused():
    code = f"bytes({confinement.LIMITS[resource.RLIMIT_DATA]})"
    command = confinement.command(sys.executable, "-c", code, network=True)
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "MemoryError" in said.stderr


@pytest.mark.parametrize(
    ("allowed", "told"),
    [
        ({CLONE_NEWNET}, "cut"),
        ({CLONE_NEWNET | CLONE_NEWUSER}, "cut"),
        (set(), "Operation not permitted"),
    ],
)
def test_what_the_kernel_does_not_allow_is_said(allowed, told):
    assert cut_network(lambda flags: 0 if flags in allowed else errno.EPERM) == told


def test_a_program_that_comes_too_late_to_be_killed_with_its_parent_ends_at_once():
    code = "from reidd.confinement import end_with; end_with(1); print('went on')"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (1, "")
    assert "is gone" in said.stderr
