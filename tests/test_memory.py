"""What the core and its workers keep to themselves."""

import subprocess
import sys
from pathlib import Path

LOOK = """
import ctypes, resource
from reidd.daemon import memory
resource.setrlimit(resource.RLIMIT_CORE, (4096, 4096))
memory.keep_private()
PR_GET_DUMPABLE = 3
print(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_a_process_that_keeps_to_itself_is_dumped_nowhere():
    said = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["0", "(0,", "0)"]


def test_the_core_and_its_workers_leave_no_core_file(client, shared_daemon):
    core = shared_daemon.process.pid
    assert shared_daemon.workers()
    for pid in (core, *shared_daemon.workers()):
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file")] == [["0", "0"]]
