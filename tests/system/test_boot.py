"""A real systemd boots with the installed unit and its hardening, and the service is treated badly."""

import json
import shutil
import sysconfig
from pathlib import Path

import machine
import pytest
from figures import note

from reidd import places

ROOT = Path(__file__).parents[2]

REIDD = """#!/bin/sh
export PYTHONPATH=/opt/reidd/src:/opt/reidd/src/backends:/opt/reidd/lib
exec /usr/bin/python3 -m reidd "$@"
"""


WHAT = {
    "kill_s": "booted unit: a waiting client after kill -9",
    "hang_s": "booted unit: a waiting client after a hang (watchdog 10 s)",
    "bomb_s": "booted unit: image bomb refused",
    "stop_s": "booted unit: stop",
}


@pytest.fixture
def installed(debian):
    """A Debian with our units; the program runs from this checkout."""
    folder = debian
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
    shutil.copy(next((places.sample_folder() / "gallery").glob("*.jpg")), folder / "image.jpg")
    machine.enable(folder, "multi-user", "reidd.service")
    machine.enable(folder, "sockets", "reidd.socket")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(machine.BUILD_S + machine.BOOT_S)
def test_the_installed_service_survives_what_machines_do_to_it(installed):
    seen = machine.booted(
        installed,
        "/opt/reidd/src/tests/system/boot_probe.py",
        binds={ROOT: "/opt/reidd/src", sysconfig.get_path("purelib"): "/opt/reidd/lib"},
        settings="Environment=PYTHONPATH=/opt/reidd/src:/opt/reidd/src/backends:/opt/reidd/src/tests:/opt/reidd/lib",
    )
    print(json.dumps({key: value for key, value in seen.items() if key != "journal"}, indent=1))
    for what, bar in (("kill_s", "< 2"), ("hang_s", "< 20"), ("bomb_s", "< 0.01"), ("stop_s", "< 1")):
        note(WHAT[what], f"{seen.get(what, -1):.3f} s", f"{bar} s")
    assert "error" not in seen, seen
    assert (seen["named"], seen["user"]) == (7, "reidd")
    # The quickest of three: on two shared cores one may meet with whatever else is at work.
    assert seen["kill_s"] < 2
    assert seen["hung_was_replaced"]
    assert seen["hang_s"] < 20
    assert "30000x30000" in seen["bomb"]
    assert seen["bomb_s"] < 1
    assert (seen["count"], seen["count_after_waking"]) == (1, 1)
    assert seen["stop_s"] < 1
    # Said at once and at every try, and not tried without a rest though a client waits all the time.
    assert 2 <= seen["starts_with_a_wrong_configuration"] <= 8
    assert seen["count_once_mended"] == 1
