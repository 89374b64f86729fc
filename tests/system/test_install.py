"""A new user with a clean Debian does what docs/operations.md says, step by step, and takes it all away again."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import machine
import pytest
from figures import note

from reidd import places

ROOT = Path(__file__).parents[2]
WHEELS_S = 180


@pytest.fixture
def wheels(tmp_path):
    """A folder of wheels, of reidd as it is here and all that it takes."""
    if reason := machine.missing():
        pytest.skip(f"NO SYSTEMD WAS BOOTED: {reason}")
    folder = tmp_path / "wheels"
    for command in (
        ["build", "--wheel", "--outdir", folder, ROOT],
        ["pip", "download", "--quiet", "--dest", folder, "--find-links", folder, "reidd[standard,encryption,tcp]"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *map(str, command)], capture_output=True, text=True, timeout=WHEELS_S, check=False
        )
        if done.returncode:
            pytest.skip(f"NOTHING WAS INSTALLED: {command[0]}: {(done.stdout + done.stderr)[-300:]}")
    return folder


@pytest.fixture
def desk(debian):
    """What the user has: a few photos of Ann and of five others."""
    home = debian / "root/try"
    for path in (places.sample_folder() / "gallery").glob("*.jpg"):
        person = path.name[0]
        folder = home / "photos" / ("ann" if person == "1" else person)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    shutil.copy(next((places.sample_folder() / "queries").glob("1_*.jpg")), home / "door.jpg")
    home.parent.chmod(0o755)
    for name in ("wheels", "docs", "probe"):
        (debian / name).mkdir()
    return debian


@pytest.mark.slow
@pytest.mark.timeout(machine.BUILD_S + WHEELS_S + machine.BOOT_S)
def test_the_operators_page_works_step_by_step_on_a_clean_machine(desk, wheels):
    binds = {wheels: "/wheels", ROOT / "docs": "/docs", ROOT / "tests/system": "/probe"}
    seen = machine.booted(desk, "/probe/install_probe.py", binds=binds)
    assert "error" not in seen, seen
    steps = seen["steps"]
    assert [(step["block"], step["said"]) for step in steps if step["status"]] == []
    note("install-service on a clean Debian, wheels at hand", f"{steps[0]['s']} s", "60 s")
    note("steps of operations.md that work there", f"{len(steps)} of {len(steps)}")
    assert seen["modes"] == {
        "/etc/reidd": "750 reidd",
        "/etc/reidd/reidd.toml": "640 reidd",
        "/run/reidd/reidd.sock": "660 reidd",
        "/var/lib/reidd": "750 reidd",
    }
    # The key lies where only root reads it, and systemd hands it to the service.
    assert json.loads(seen["status"]["said"])["encrypted"]
    assert seen["key"] == {"/etc/reidd/gallery.key": "600 root"}
    assert json.loads(seen["ann"]["said"])[0]["predictions"][0]["id"] == 1
    assert (seen["bob"]["status"], "join the group" in seen["bob"]["said"]) == (69, True)
    assert (seen["bob installs"]["status"], "only root" in seen["bob installs"]["said"]) == (78, True)
    # A typing mistake in the configuration: said with the nearest right key, and not tried again and again.
    assert "ExecMainStatus=78" in seen["wrong"]["said"]
    assert "NRestarts=0" in seen["wrong"]["said"]
    assert "/etc/reidd/reidd.toml: unknown key 'wrokers'; did you mean 'workers'?" in seen["journal"]
    assert "journalctl -u reidd" in seen["again"]["said"]
    assert seen["mended"]["said"] == seen["ids"]["said"]
    assert seen["other"]["status"] == 0, seen["other"]["said"]
    assert seen["left"] == ["/etc/reidd", "/var/lib/reidd"]
    assert seen["units left"] == ""
