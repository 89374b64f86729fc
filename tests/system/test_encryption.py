"""A daemon with a key: from a file or from systemd, and nothing on its disk that anybody could read."""

import json
import os
import signal

import numpy as np
import pytest
from subjects import Daemon

from reidd import places
from reidd.gallery import Reader, key


@pytest.fixture
def key_file(short_folder):
    key.new(short_folder / "gallery.key")
    (short_folder / "reidd.toml").write_text(f'gallery_key = "{short_folder}/gallery.key"\n')
    return short_folder / "gallery.key"


@pytest.fixture
def encrypting(short_folder, key_file):
    with Daemon(short_folder, "--config", str(short_folder / "reidd.toml")) as started:
        yield started.wait_until_ready()


@pytest.fixture
def run(commands):
    return lambda *words, **variables: commands.run(*words, env={**os.environ, **variables})


def on_disk(daemon: Daemon) -> bytes:
    return b"".join(file.read_bytes() for file in [*daemon.state.iterdir(), daemon.log] if file.is_file())


def enrolled(daemon: Daemon) -> list[bytes]:
    with daemon.client() as client:
        client.add_features_to_gallery(np.random.default_rng(0).normal(size=(20, 256)).astype(np.float32), 7)
        client.set_label(7, "Annabelle")
        return [row.tobytes() for row in Reader(daemon.runtime / places.RING).rows().features]


def test_nothing_on_its_disk_can_be_read_and_a_kill_costs_nothing(encrypting, key_file):
    rows = enrolled(encrypting)
    text = key_file.read_text().strip()
    with encrypting.client() as client:
        client.add_features_to_gallery(np.eye(1, 256, dtype=np.float32), 8)
        client.remove_from_gallery(8)
        client.undo()
        files = on_disk(encrypting)
        assert client.status().encrypted
    encrypting.end(signal.SIGKILL)
    files += on_disk(encrypting)
    assert not [secret for secret in (*rows, b"Annabelle", text.encode(), bytes.fromhex(text)) if secret in files]
    encrypting.start()
    with encrypting.wait_until_ready().client() as client:
        assert (client.count(7), client.count(8), client.id_labels()) == (20, 1, {7: "Annabelle"})
        assert client.status().damage == []


def test_without_the_key_or_with_another_it_ends_and_touches_nothing(encrypting, key_file, short_folder, run):
    enrolled(encrypting)
    encrypting.end()
    before = (encrypting.state / places.STORE).read_bytes()
    folders = ("--runtime-folder", encrypting.runtime, "--state-folder", encrypting.state)
    without = run("serve", *folders)
    key.new(short_folder / "other.key")
    (short_folder / "reidd.toml").write_text(f'gallery_key = "{short_folder}/other.key"\n')
    other = run("serve", *folders, "--config", short_folder / "reidd.toml")
    assert (without.returncode, other.returncode) == (78, 78)
    assert "set gallery_key in reidd.toml" in without.stderr
    assert "encrypted with another key" in other.stderr
    assert (encrypting.state / places.STORE).read_bytes() == before
    assert not list(encrypting.state.glob("*damaged*"))


def test_a_key_that_others_may_read_stops_it(key_file, short_folder, run):
    key_file.chmod(0o644)
    started = run("serve", "--config", short_folder / "reidd.toml", "--runtime-folder", short_folder / "run")
    assert started.returncode == 78
    assert "`chmod 600 " in started.stderr
    assert "Traceback" not in started.stderr


def test_the_key_comes_as_a_credential_of_systemd(short_folder, run):
    credentials = short_folder / "credentials"
    credentials.mkdir()
    key.new(credentials / "gallery-key")
    with Daemon(short_folder, env={"CREDENTIALS_DIRECTORY": str(credentials)}) as daemon:
        rows = enrolled(daemon.wait_until_ready())
        with daemon.client() as client:
            assert client.status().encrypted
        assert not [row for row in rows if row in on_disk(daemon)]
    assert run("serve", "--runtime-folder", daemon.runtime, "--state-folder", daemon.state).returncode == 78


def test_a_plain_store_is_encrypted_at_the_start_with_a_key(daemon, short_folder):
    rows = enrolled(daemon)
    daemon.end()
    assert rows[0] in on_disk(daemon)
    key.new(short_folder / "gallery.key")
    (short_folder / "reidd.toml").write_text(f'gallery_key = "{short_folder}/gallery.key"\n')
    with Daemon(short_folder, "--config", str(short_folder / "reidd.toml")) as again:
        with again.client(timeout=30) as client:
            assert (client.count(7), client.status().encrypted) == (20, True)
        assert not [row for row in rows if row in on_disk(again)]


def test_commands_make_a_key_say_what_is_encrypted_and_what_is_not(encrypting, key_file, short_folder, run):
    made = run("keys", "gallery", short_folder / "new.key")
    assert "keep a copy elsewhere" in made.stdout
    assert (short_folder / "new.key").read_text().strip() not in made.stdout
    assert run("keys", "gallery", short_folder / "new.key").returncode == 78
    enrolled(encrypting)
    at = {"REIDD_ENDPOINT": encrypting.endpoint}
    assert json.loads(run("status", "--json", **at).stdout)["encrypted"]
    saved = run("save", short_folder / "saved", **at)
    assert "unlike the store it is not encrypted" in " ".join(saved.stdout.split())
    looked = json.loads(run("doctor", "--json", "--config", short_folder / "reidd.toml", **at).stdout)
    assert ["gallery key", True] in [[found["what"], found["fine"]] for found in looked]
    assert ["gallery", True, "encrypted on the disk"] in [[*found.values()] for found in looked]


def test_a_saved_gallery_is_restored_into_an_encrypted_store_whose_key_is_another_now(
    encrypting, key_file, short_folder, run
):
    rows = enrolled(encrypting)
    with encrypting.client() as client:
        client.save_gallery(short_folder / "saved")
        client.clear()
    encrypting.end()
    key.new(short_folder / "new.key")
    keys = f'gallery_key = "{short_folder}/new.key"\nold_gallery_key = "{key_file}"\n'
    (short_folder / "reidd.toml").write_text(keys)
    options = ("--config", short_folder / "reidd.toml", "--state-folder", encrypting.state)
    assert run("restore", short_folder / "saved", *options).returncode == 0
    assert not [row for row in rows if row in on_disk(encrypting)]
    encrypting.start()
    with encrypting.wait_until_ready().client() as client:
        assert (client.count(7), client.id_labels()) == (20, {7: "Annabelle"})
