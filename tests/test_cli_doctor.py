"""What `reidd doctor` finds, on a machine that is fit and on one that is not."""

import json
import os
import pwd
import subprocess
import sys

import msgspec
import pytest
from plugged import installed
from pools import LITE, STICK
from users import AS_ORDINARY, NOBODY

from reidd import keys, places, trials
from reidd.cli.doctor import _at_work, _daemon, _gallery_key, _keys, _libraries, _looked
from reidd.cli.finding import Finding
from reidd.cli.model_findings import look_at_model
from reidd.daemon.config import Config
from reidd.engines import Accelerator, Engine
from reidd.errors import BackendError
from reidd.gallery import Gallery, key
from reidd.model import ModelConfig
from reidd.protocol import PairRecord, StatusReply


def test_doctor_finds_this_machine_fit(start):
    done = start("doctor", "--json")
    findings = json.loads(done.stdout)
    assert [f for f in findings if f["fine"] is False] == []
    assert done.returncode == 0
    assert {"model reidd/person", "golden vectors on TFLITE/CPU", "daemon"} <= {f["what"] for f in findings}


def test_doctor_names_a_plugin_that_would_end_it(tmp_path, monkeypatch):
    installed(tmp_path, monkeypatch, "fancy", "import os; os._exit(0)")
    command = [sys.executable, "-m", "reidd", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    wrong = [finding["what"] for finding in json.loads(done.stdout) if finding["fine"] is False]
    assert (done.returncode, wrong) == (1, ["plugin fancy"])


def test_doctor_keeps_what_it_found_before_it_fell_ill():
    def look():
        yield Finding("model", True, "fine")
        raise ZeroDivisionError("x")

    assert [(f.what, f.fine) for f in _looked(look)] == [("model", True), ("look", False)]


@pytest.mark.parametrize(
    ("why", "advice"),
    [
        ("numpy.core.multiarray failed to import", "pip install 'numpy<2'"),
        ("libGL.so.1: cannot open shared object file", "pip install 'reidd[opencv]'"),
    ],
)
def test_doctor_says_why_opencv_cannot_be_imported(tmp_path, monkeypatch, why, advice):
    (tmp_path / "cv2.py").write_text(f"raise ImportError({why!r})")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    (found,) = [finding for finding in _libraries() if finding.what == "OpenCV"]
    assert (found.fine, found.words.endswith(f"{why}: {advice}")) == (False, True)


STATUS = StatusReply(
    version="", pid=1, uptime=1, model="a/b", purpose="", engine=LITE[0], accelerator=LITE[1], workers=1,
    waiting=0, count=0, id_count=0, capacity=1, dim=1, space="", limit=None, ring="", analytics="", epoch="", seq=0,
)  # fmt: skip


def test_doctor_says_what_a_daemon_has_to_do_without():
    pairs = [PairRecord(*STICK, 0, 2, "hung for more than 1 s"), PairRecord(*LITE, 1)]
    status = msgspec.structs.replace(STATUS, degraded=True, pairs=pairs)
    found = {f.what: (f.fine, f.words) for f in _daemon("ipc:///nowhere", status)}
    words = "a pair that ought to run does not: TFLITE/EDGE_TPU: hung for more than 1 s"
    assert found["degraded"] == (False, words)
    assert _at_work(status) == {LITE}
    by_default = [PairRecord(Engine.TFLITE, Accelerator.DEFAULT, 1)]
    assert {LITE, STICK} <= _at_work(msgspec.structs.replace(status, pairs=by_default))


def test_doctor_says_how_a_plain_gallery_becomes_encrypted_with_a_service_and_without():
    (found,) = (f for f in _daemon("ipc:///nowhere", STATUS) if f.what == "gallery")
    assert found.fine is None
    assert "`reidd install-service --encryption`" in found.words
    assert "gallery_key" in found.words


def test_a_device_that_the_daemon_has_to_itself_is_no_fault(monkeypatch):
    def refused(*_):
        raise BackendError("in use by another process")

    monkeypatch.setattr(trials, "examine", refused)
    found = {f.what: f.fine for f in look_at_model("reidd/person", Config(), {LITE})}
    assert (found["golden vectors on TFLITE/CPU"], found["golden vectors on DNN/CPU"]) == (None, False)


def test_doctor_looks_at_what_is_configured(run, tmp_path):
    config = tmp_path / "reidd.toml"
    config.write_text(f'model = "acme/nobody"\ntcp = "tcp://127.0.0.1:0"\nkeys_folder = "{tmp_path}/keys"\n')
    done = run("doctor", "--config", config, "--json")
    assert done.returncode == 1
    words = {f["what"]: f["words"] for f in json.loads(done.stdout) if f["fine"] is False}
    assert words.keys() == {"model acme/nobody", "keys"}
    assert "reidd keys new" in words["keys"]
    assert "encrypts tcp" in done.stdout
    assert run("keys", "new", "cam", "--config", config, "--output", tmp_path / "cam.key").returncode == 0
    assert "cam" in run("keys", "list", "--config", config).stdout
    assert "keys" not in [
        f["what"] for f in json.loads(run("doctor", "--config", config, "--json").stdout) if not f["fine"]
    ]
    config.write_text('engines = [{ engine = "ONNX_RT", accelerator = "GPU" }]\n')
    assert "ONNX_RT/GPU: no installed plugin brings it" in run("doctor", "--config", config, "--json").stdout
    config.write_text('engines = [{ engine = "DNN" }]\n')
    assert "engines" not in [f["what"] for f in json.loads(run("doctor", "--config", config, "--json").stdout)]
    config.write_text('tcp = "0.0.0.0:7340"\n')
    assert "expected tcp://HOST:PORT" in run("doctor", "--config", config, "--json").stdout
    config.write_text("wrokers = 2\n")
    assert "did you mean 'workers'?" in run("doctor", "--config", config, "--json").stdout


def test_doctor_says_when_the_stored_gallery_is_another_models(commands, tmp_path):
    def said():
        done = commands.run("doctor", "--config", config, "--json", env=os.environ)
        return {f["what"]: f["words"] for f in json.loads(done.stdout) if f["fine"] is False}

    config = tmp_path / "reidd.toml"
    config.write_text(f'state_folder = "{tmp_path}"\n')
    path = tmp_path / places.STORE
    space = ModelConfig.from_model_id("reidd/person").feature_space()
    Gallery.open(dim=256, space=space, capacity=8, store_path=path).close()
    assert said() == {}
    path.unlink()
    Gallery.open(dim=256, space=bytes(32), capacity=8, store_path=path).close()
    before = path.read_bytes()
    assert "holds features of another model than reidd/person" in said()["stored gallery"]
    assert path.read_bytes() == before


def test_a_store_that_another_daemon_would_have_is_not_held_against_one_that_serves(monkeypatch, tmp_path):
    monkeypatch.setattr(trials, "examine", lambda *_: trials.Examination(1.0, 1.0, ""))
    Gallery.open(dim=256, space=bytes(32), capacity=8, store_path=tmp_path / places.STORE).close()
    config = Config(state_folder=str(tmp_path))
    assert "stored gallery" in [f.what for f in look_at_model("reidd/person", config, served="me/other")]
    assert "stored gallery" not in [f.what for f in look_at_model("reidd/person", config, served="reidd/person")]


def test_doctor_says_which_folder_may_not_be_looked_into(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    config = tmp_path / "reidd.toml"
    config.write_text(f'state_folder = "{closed}/state"\n')
    command = [*AS_ORDINARY, sys.executable, "-m", "reidd", "doctor", "--config", str(config), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    words = {f["what"]: f["words"] for f in json.loads(done.stdout)}
    assert words["state folder"] == f"{closed}/state: this user cannot write to {closed}"


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to give files away")
def test_a_server_key_that_local_clients_may_read_is_told_and_what_is_told_to_type_mends_it(tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    os.chown(folder, 0, pwd.getpwnam("daemon").pw_gid)
    folder.chmod(0o2750)
    keys.new(folder, "cam", [keys.Role.QUERY])
    config = Config(tcp="tcp://127.0.0.1:0", keys_folder=str(folder))
    assert [finding.what for finding in _keys(config) if finding.fine is False] == []
    os.chown(folder / "server.key", 0, -1)
    (folder / "server.key").chmod(0o640)
    (found,) = [finding for finding in _keys(config) if finding.fine is False]
    assert (found.what, "can pass for the daemon" in found.words) == ("server key", True)
    subprocess.run(found.words.split("`")[1], shell=True, check=True)
    assert [finding.what for finding in _keys(config) if finding.fine is False] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to give files away")
def test_a_gallery_key_of_the_daemons_user_is_no_fault_to_whoever_else_asks(tmp_path):
    key.new(tmp_path / "gallery.key")
    for theirs in (tmp_path, tmp_path / "gallery.key"):
        os.chown(theirs, NOBODY, NOBODY)
    tmp_path.chmod(0o755)
    settings = {"gallery_key": f"{tmp_path}/gallery.key", "state_folder": str(tmp_path)}
    assert [finding.fine for finding in _gallery_key(Config(**settings))] == [True]
    program = (
        "from reidd.cli.doctor import _gallery_key\nfrom reidd.daemon.config import Config\n"
        f"print([finding.fine for finding in _gallery_key(Config(**{settings}))])"
    )
    done = subprocess.run([*AS_ORDINARY, sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "[None]\n"
