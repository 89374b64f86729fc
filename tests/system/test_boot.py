"""A real systemd boots with the installed unit and its hardening, and the service is treated badly."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from reidd import places

ROOT = Path(__file__).parents[2]
BUILD_S, BOOT_S = 240, 200
DEBIAN = {(3, 11): "bookworm", (3, 13): "trixie"}

PROBE = """
[Unit]
After=multi-user.target reidd.service
[Service]
Type=oneshot
Environment=PYTHONPATH=/opt/reidd/src:/opt/reidd/src/backends:/opt/reidd/lib
ExecStart=/usr/bin/python3 /opt/reidd/src/tests/system/boot_probe.py /report.json /image.jpg
ExecStopPost=/usr/bin/systemctl poweroff --no-block
[Install]
WantedBy=multi-user.target
"""

REIDD = """#!/bin/sh
export PYTHONPATH=/opt/reidd/src:/opt/reidd/src/backends:/opt/reidd/lib
exec /usr/bin/python3 -m reidd "$@"
"""


def missing():
    """Why no machine can be booted here, or None."""
    if os.geteuid() != 0:
        return "only root can boot a machine"
    for tool in ("systemd-nspawn", "mmdebstrap"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    if sys.version_info[:2] not in DEBIAN:
        return "no Debian has this Python, whose packages the machine borrows"
    return None


@pytest.fixture
def machine(tmp_path):
    """A Debian with our units installed as docs/operations.md says."""
    if reason := missing():
        pytest.skip(f"NO SYSTEMD WAS BOOTED: {reason}")
    folder = tmp_path / "machine"
    include = "systemd,systemd-sysv,dbus,python3,libstdc++6"
    command = ["mmdebstrap", "--quiet", "--variant=essential", f"--include={include}", DEBIAN[sys.version_info[:2]]]
    built = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=BUILD_S, check=False)
    if built.returncode:
        pytest.skip(f"NO SYSTEMD WAS BOOTED: mmdebstrap failed: {built.stderr[-300:]}")
    install(folder)
    return folder


def install(folder):
    units = folder / "etc/systemd/system"
    for name in ("reidd.service", "reidd.socket"):
        shutil.copy(ROOT / "systemd" / name, units / name)
    shutil.copy(ROOT / "systemd/reidd.sysusers", folder / "usr/lib/sysusers.d/reidd.conf")
    (folder / "etc/reidd").mkdir()
    shutil.copy(ROOT / "systemd/reidd.toml", folder / "etc/reidd/reidd.toml")
    program = folder / "opt/reidd/bin/reidd"
    program.parent.mkdir(parents=True)
    program.write_text(REIDD)
    program.chmod(0o755)
    for name in ("src", "lib"):
        (folder / "opt/reidd" / name).mkdir()
    (units / "probe.service").write_text(PROBE)
    shutil.copy(next((places.sample_folder() / "gallery").glob("*.jpg")), folder / "image.jpg")
    for target, unit in (("multi-user", "reidd.service"), ("multi-user", "probe.service"), ("sockets", "reidd.socket")):
        wants = units / f"{target}.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / unit).symlink_to(f"../{unit}")


def booted(folder):
    """Boot it until it turns itself off; return what the probe saw."""
    command = ["systemd-nspawn", "--quiet", "--boot", "--private-network", "--register=no", f"--directory={folder}"]
    command += [f"--bind-ro={ROOT}:/opt/reidd/src", f"--bind-ro={sysconfig.get_path('purelib')}:/opt/reidd/lib"]
    # Without a systemd of its own the host has no scope to put the machine into.
    command += ["--keep-unit"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=BOOT_S, check=False, stdin=subprocess.DEVNULL)
    report = folder / "report.json"
    if not report.exists():
        pytest.fail(f"the machine left no report: {ran.stdout[-3000:]} {ran.stderr[-1000:]}")
    return json.loads(report.read_text())


@pytest.mark.slow
@pytest.mark.timeout(BUILD_S + BOOT_S)
def test_the_installed_service_survives_what_machines_do_to_it(machine):
    seen = booted(machine)
    print(json.dumps({key: value for key, value in seen.items() if key != "journal"}, indent=1))
    assert "error" not in seen, seen
    assert (seen["named"], seen["user"]) == (7, "reidd")
    assert (
        seen["kill_s"] < 5
    )  # the aim is 2, and the figure is printed; a gate on two shared cores must not trip over it
    assert seen["hung_was_replaced"]
    assert seen["hang_s"] < 20
    assert "30000x30000" in seen["bomb"]
    assert seen["bomb_s"] < 1
    assert (seen["count"], seen["count_after_waking"]) == (1, 1)
    assert seen["stop_s"] < 1
