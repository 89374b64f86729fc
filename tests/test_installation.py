"""The steps of installing the service, as far as they can be seen without being root; test_install.py does them."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from reidd import places
from reidd.cli import installation
from reidd.cli.install_service import install_service
from reidd.cli.installation import DropIn, Source
from reidd.cli.steps import Copy, Link, Remove, Run
from reidd.errors import ConfigError

PYTHON = Path("/usr/bin/python3")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Everything that the steps touch, in a folder of our own."""
    for name in ("ENVIRONMENT", "CONFIGURATION", "KEY", "UNITS", "SYSUSERS", "UDEV", "COMMAND", "RUNTIME"):
        monkeypatch.setattr(installation, name, tmp_path / getattr(installation, name).relative_to("/"))
    return tmp_path


def take(steps, *kinds):
    for step in steps:
        if isinstance(step, kinds):
            step.do()


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_what_is_installed_is_taken_away_but_not_what_people_made(root):
    take(installation.install(None, PYTHON, list(DropIn)), Link)
    for step in installation.install(None, PYTHON, list(DropIn)):
        if isinstance(step, Copy):
            Copy(step.source, step.path, step.mode, keep=step.keep).do()
    installed = files(root)
    assert {"etc/systemd/system/reidd.service", "etc/systemd/system/reidd@.service.d/10-tcp.conf"} <= installed
    assert {path.name for path in places.service_folder().iterdir()} - {Path(path).name for path in installed} == {
        "reidd.sysusers", *(f"reidd-{drop_in.value}.conf" for drop_in in DropIn)
    }  # fmt: skip
    override = root / "etc/systemd/system/reidd.service.d/override.conf"
    override.write_text("[Service]\n")
    take(installation.uninstall(), Remove)
    assert files(root) == {"etc/reidd/reidd.toml", str(override.relative_to(root))}


def test_a_configuration_that_is_there_is_kept(tmp_path):
    source, ours = tmp_path / "new", tmp_path / "ours"
    source.write_text("new")
    ours.write_text("ours")
    Copy(source, ours, keep=True).do()
    assert ours.read_text() == "ours"
    Copy(source, ours).do()
    assert ours.read_text() == "new"


def test_a_command_of_somebody_else_is_left_alone(root):
    installation.COMMAND.parent.mkdir(parents=True)
    installation.COMMAND.write_text("theirs")
    take(installation.install(None, PYTHON, []), Link)
    take(installation.uninstall(), Remove)
    assert installation.COMMAND.read_text() == "theirs"


@pytest.mark.parametrize("steps", [installation.uninstall, lambda: installation.install(Source("reidd"), PYTHON, [])])
def test_a_folder_in_the_way_is_not_touched(root, steps):
    installation.ENVIRONMENT.mkdir(parents=True)
    with pytest.raises(ConfigError, match="no Python environment"):
        steps()


def test_instances_of_the_template_are_stopped_too(root):
    wants = installation.UNITS / "sockets.target.wants"
    wants.mkdir(parents=True)
    (wants / "reidd@face.socket").symlink_to("../reidd@.socket")
    disabled, stopped = (str(step) for step in installation.uninstall()[:2])
    assert "disable --now reidd.service reidd.socket reidd@face.socket" in disabled
    assert "stop reidd@*.socket reidd@*.service" in stopped


def test_an_upgrade_restarts_every_daemon(root):
    assert "systemctl restart reidd.service\nsystemctl try-restart reidd@*.service" in steps_said(root)


@pytest.mark.parametrize("drop_in", DropIn)
def test_only_what_is_asked_for_is_opened(root, drop_in):
    said = "\n".join(map(str, installation.install(None, PYTHON, [drop_in])))
    assert [other for other in DropIn if f"{other.value}.conf" in said] == [drop_in]
    assert ("udev" in said) == drop_in.value.startswith("coral")


def test_what_the_operator_edits_comes_after_what_is_installed():
    # systemd reads drop-ins in the order of their names; `IPAddressDeny=` in that of tcp empties the list before it.
    assert [drop_in for drop_in in DropIn if drop_in.installed_name > "override.conf"] == []


def test_what_was_asked_for_once_is_brought_up_to_date(root, capsys):
    left = installation.UNITS / "reidd.service.d/10-tcp.conf"
    left.parent.mkdir(parents=True)
    left.write_text("of an earlier reidd")
    install_service(python=PYTHON, dry_run=True)
    said = capsys.readouterr().out
    assert f"write {left}" in said
    assert ",tcp]" in said


def test_no_key_is_made_unasked_for(root):
    left = installation.UNITS / "reidd.service.d/10-encryption.conf"
    left.parent.mkdir(parents=True)
    left.write_text("with a key that only this board reads")
    assert installation.present() == set()
    installation.KEY.parent.mkdir(parents=True)
    installation.KEY.touch()
    assert installation.present() == {DropIn.ENCRYPTION}


def test_a_systemd_that_hands_no_key_on_is_refused():
    with pytest.raises(ConfigError, match=r"systemd 245 hands no key to a service.*247 or newer.*gallery_key"):
        installation.check_systemd("systemd 245 (245.4-4ubuntu3.24)\n+PAM +AUDIT")
    installation.check_systemd("systemd 247 (247.3-7+deb11u7)\n+PAM +AUDIT")


def test_a_gallery_key_is_made_once(root):
    made = "reidd keys gallery /etc/reidd/gallery.key"
    assert made not in steps_said(root)
    assert made in steps_said(root, DropIn.ENCRYPTION)
    installation.CONFIGURATION.mkdir(parents=True)
    (installation.CONFIGURATION / "gallery.key").touch()
    assert made not in steps_said(root, DropIn.ENCRYPTION)


def steps_said(root, *drop_ins):
    return "\n".join(map(str, installation.install(None, PYTHON, drop_ins))).replace(str(root), "")


def test_a_jetson_uses_the_opencv_of_its_system(root):
    assert "--system-site-packages" in str(installation.install(Source("reidd"), PYTHON, [DropIn.JETSON])[0])
    assert "--system-site-packages" not in str(installation.install(Source("reidd"), PYTHON, [])[0])


def test_a_folder_of_wheels_needs_no_network(tmp_path):
    with pytest.raises(ConfigError, match="pip wheel"):
        installation.source(tmp_path, "standard")
    wheel = tmp_path / "reidd-9-py3-none-any.whl"
    wheel.touch()
    assert installation.source(tmp_path, "opencv") == Source(
        "reidd[opencv]", ("--no-index", "--find-links", str(tmp_path)), again=True
    )
    assert installation.source(wheel, "opencv").requirement == f"reidd[opencv] @ {wheel.as_uri()}"
    with pytest.raises(ConfigError, match="no such file"):
        installation.source(tmp_path / "other.whl", "opencv")


def test_a_folder_with_a_space_in_its_name_is_found_again(tmp_path, monkeypatch):
    folder = tmp_path / "my reidd"
    folder.mkdir()
    origin = SimpleNamespace(read_text=lambda name: json.dumps({"url": folder.as_uri(), "dir_info": {}}))
    monkeypatch.setattr(installation.importlib.metadata, "distribution", lambda name: origin)
    assert installation.source(None, "standard").requirement == f"reidd[standard] @ {folder.as_uri()}"
    folder.rmdir()
    with pytest.raises(ConfigError, match="is gone"):
        installation.source(None, "standard")


def test_a_python_that_the_service_cannot_see_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--python /usr/bin/python3"):
        installation.python(Path("/root/python3"))


def test_a_python_that_makes_no_environments_is_told_its_own_package(monkeypatch):
    monkeypatch.setattr(installation.sys, "base_prefix", "/usr")
    monkeypatch.setattr(installation, "find_spec", lambda name: None)
    # python3-venv is that of the system's python3, which may be another.
    with pytest.raises(ConfigError, match=r"apt install python3\.\d+-venv"):
        installation.python(None)


def test_where_no_environment_is_made_none_has_to_be_possible(root, monkeypatch, capsys):
    monkeypatch.setattr(installation, "find_spec", lambda name: None)
    monkeypatch.setattr(installation.sys, "base_prefix", "/usr")
    monkeypatch.setattr(installation.sys, "prefix", str(installation.ENVIRONMENT))
    install_service(dry_run=True)
    said = capsys.readouterr().out
    assert "systemctl restart reidd.service" in said
    assert "venv" not in said


def test_a_program_that_fails_says_why_and_what_to_do():
    with pytest.raises(ConfigError, match=r"sh -c .*: an Error; do this"):
        Run(["sh", "-c", "echo; echo an Error; echo more; exit 3"], "do this").do()
    with pytest.raises(ConfigError, match="No such file or directory; do this"):
        Run(["/no/such"], "do this").do()
    Run(["false"], None).do()
