"""Ways of leaving the door open by its keys, all refused; and making, listing and revoking keys."""

import grp
import json
import os
import pwd
import stat

import pytest
import zmq

from reidd import keys
from reidd.errors import ConfigError
from reidd.key_files import check_only_ours
from reidd.keys import ClientKey, Keyring, Role


@pytest.fixture
def folder(tmp_path):
    """A folder of keys that lets one client in."""
    made = tmp_path / "keys"
    keys.new(made, "cam1", [Role.QUERY])
    return made


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def change(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def nobody_is_allowed_in(folder):
    keys.revoke(folder, "cam1")


def there_is_no_server_key(folder):
    (folder / "server.key").unlink()


def there_is_no_folder(folder):
    folder.rename(folder.with_name("elsewhere"))


def everybody_may_read_the_server_key(folder):
    (folder / "server.key").chmod(0o644)


def everybody_may_add_clients(folder):
    (folder / "clients").chmod(0o777)


def everybody_may_replace_the_folders(folder):
    folder.chmod(0o777)


def a_group_may_change_a_client(folder):
    (folder / "clients" / "cam1.key").chmod(0o664)


def the_halves_of_the_server_key_do_not_match(folder):
    change(folder / "server.key", public=zmq.curve_keypair()[0].decode())


def the_server_key_is_cut_short(folder):
    (folder / "server.key").write_text((folder / "server.key").read_text()[:50])


def a_client_key_is_no_key(folder):
    change(folder / "clients" / "cam1.key", public="é" * 40)


def a_client_key_is_too_large_a_number(folder):
    change(folder / "clients" / "cam1.key", public="#" * 40)


def a_client_has_no_role(folder):
    change(folder / "clients" / "cam1.key", roles=[])


def a_client_has_a_role_that_there_is_not(folder):
    change(folder / "clients" / "cam1.key", roles=["root"])


def two_names_have_one_key(folder):
    twin = folder / "clients" / "cam2.key"
    twin.write_text((folder / "clients" / "cam1.key").read_text())
    change(twin, name="cam2")


def a_client_has_the_servers_own_key(folder):
    change(folder / "clients" / "cam1.key", public=Keyring.read(folder).server.public)


def the_folder_belongs_to_somebody_else(folder):
    os.chown(folder, 4321, -1)


def a_file_is_named_after_somebody_else(folder):
    (folder / "clients" / "cam1.key").rename(folder / "clients" / "cam7.key")


OPEN_DOORS = [
    nobody_is_allowed_in,
    there_is_no_server_key,
    there_is_no_folder,
    everybody_may_read_the_server_key,
    everybody_may_add_clients,
    everybody_may_replace_the_folders,
    a_group_may_change_a_client,
    the_halves_of_the_server_key_do_not_match,
    the_server_key_is_cut_short,
    a_client_key_is_no_key,
    a_client_key_is_too_large_a_number,
    a_client_has_no_role,
    a_client_has_a_role_that_there_is_not,
    two_names_have_one_key,
    a_client_has_the_servers_own_key,
    pytest.param(
        the_folder_belongs_to_somebody_else,
        marks=pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to give it away"),
    ),
    a_file_is_named_after_somebody_else,
]


@pytest.mark.parametrize("leave_open", OPEN_DOORS, ids=lambda way: way.__name__)
def test_a_door_left_open_is_refused(folder, leave_open):
    assert Keyring.read(folder).users
    leave_open(folder)
    with pytest.raises(ConfigError, match=str(folder)):
        Keyring.read(folder)


def test_the_mode_that_is_advised_leaves_the_daemons_group_what_it_needs(folder):
    folder.chmod(0o2775)
    with pytest.raises(ConfigError, match=f"`chmod 2755 {folder}`"):
        Keyring.read(folder)
    (folder / "server.key").chmod(0o664)
    folder.chmod(0o2750)
    with pytest.raises(ConfigError, match=f"`chmod 640 {folder}/server.key`"):
        Keyring.read(folder)


def test_a_new_key_is_let_in_with_its_roles(folder):
    given = keys.new(folder, "desk", [Role.ADMIN, Role.SCORES])
    ring = Keyring.read(folder)
    assert ring.users[given.public] == ("desk", {Role.ADMIN, Role.SCORES})
    assert given.server_public == ring.server.public
    assert zmq.curve_public(given.secret.encode()).decode() == given.public
    assert [key.name for key in keys.listed(folder)] == ["cam1", "desk"]


def test_no_secret_of_a_client_stays_on_the_server(folder):
    given = keys.new(folder, "desk", [Role.QUERY])
    assert not [path for path in folder.rglob("*.key") if given.secret in path.read_text()]
    assert mode(folder / "server.key") == 0o600
    assert mode(folder / "clients") == 0o750


def test_in_a_folder_that_hands_its_group_on_the_group_may_read_the_servers_key(tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys").chmod(0o2750)
    keys.new(tmp_path / "keys", "desk", [Role.QUERY])
    assert mode(tmp_path / "keys" / "server.key") == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to give a file away")
@pytest.mark.parametrize("mode_before", [None, 0o640])
def test_where_the_group_is_a_users_only_that_user_may_read_the_servers_key(tmp_path, mode_before):
    user = pwd.getpwnam("daemon")
    (tmp_path / "keys").mkdir()
    os.chown(tmp_path / "keys", 0, user.pw_gid)
    (tmp_path / "keys").chmod(0o2750)
    keys.new(tmp_path / "keys", "desk", [Role.QUERY])
    path = tmp_path / "keys" / "server.key"
    if mode_before:
        os.chown(path, 0, user.pw_gid)
        path.chmod(mode_before)
        keys.new(tmp_path / "keys", "camera", [Role.QUERY])
    assert (path.stat().st_uid, mode(path)) == (user.pw_uid, 0o600)
    assert Keyring.read(tmp_path / "keys").users


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to give a file away")
def test_every_owner_that_would_do_is_named(folder):
    path = folder / "server.key"
    os.chown(path, 4321, -1)
    with pytest.raises(ConfigError, match=r"belongs to uid 4321; expected root or uid 0$"):
        check_only_ours(path, 0o077)
    with pytest.raises(ConfigError, match=r"belongs to uid 4321; expected root, uid 0 or 77$"):
        check_only_ours(path, 0o077, owner=77)
    check_only_ours(path, 0o077, owner=4321)


def test_a_daemon_that_reads_its_own_key_asks_no_directory_who_anybody_is(folder, monkeypatch):
    folder.chmod(0o2750)
    asked = []
    monkeypatch.setattr(grp, "getgrgid", asked.append)
    assert Keyring.read(folder).users
    assert asked == []


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to give a folder away")
def test_root_gives_nothing_away_by_a_link_in_somebodys_folder(tmp_path):
    user = pwd.getpwnam("daemon")
    (tmp_path / "roots").touch(0o600)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "server.key").symlink_to(tmp_path / "roots")
    os.chown(tmp_path / "keys", user.pw_uid, user.pw_gid)
    (tmp_path / "keys").chmod(0o2750)
    with pytest.raises(ConfigError):
        keys.new(tmp_path / "keys", "desk", [Role.QUERY])
    assert (tmp_path / "roots").stat().st_uid == 0


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_keys_have_their_modes_whatever_the_umask(tmp_path, umask):
    (tmp_path / "home").mkdir()
    (tmp_path / "home").chmod(0o2750)
    folder, before = tmp_path / "home" / "keys", os.umask(umask)
    try:
        keys.new(folder, "desk", [Role.QUERY])
    finally:
        os.umask(before)
    assert {mode(folder), mode(folder / "clients")} == {0o2750}
    assert {mode(folder / "server.key"), mode(folder / "clients" / "desk.key")} == {0o640}
    assert Keyring.read(folder).users


@pytest.mark.parametrize("name", ["", "..", "../cam", "a/b", "-x", "x" * 65, "a\nb", "cam1"])
def test_a_name_that_is_none_or_taken_is_refused(folder, name):
    with pytest.raises(ConfigError):
        keys.new(folder, name, [Role.QUERY])


@pytest.mark.parametrize("name", ["cam2", "../server", "", "*"])
def test_only_a_key_that_is_there_can_be_revoked(folder, name):
    with pytest.raises(ConfigError, match="cam1"):
        keys.revoke(folder, name)
    assert (folder / "server.key").exists()


def test_what_is_revoked_is_off_the_disk_too_before_that_is_said(folder, monkeypatch):
    synced = []

    def fsync(handle):
        synced.append((os.fstat(handle).st_ino, (folder / "clients/cam1.key").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    keys.revoke(folder, "cam1")
    assert synced == [((folder / "clients").stat().st_ino, False)]


def test_a_client_reads_its_file_only_when_nobody_else_can(tmp_path, folder):
    path = tmp_path / "desk.key"
    given = keys.new(folder, "desk", [Role.QUERY])
    keys.write(path, given, mode=0o600)
    assert keys.credentials(path) == given
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read"):
        keys.credentials(path)


def test_a_key_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.key"
    keys.write(path, ClientKey("a", "x", [Role.QUERY]), mode=0o600)
    with pytest.raises(FileExistsError):
        keys.write(path, ClientKey("b", "y", [Role.QUERY]), mode=0o600)
    assert json.loads(path.read_text())["name"] == "a"
    assert list(tmp_path.iterdir()) == [path]
