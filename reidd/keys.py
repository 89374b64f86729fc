"""Who may come in over tcp: the server's key pair, the allow-list of clients' public keys, and what each may do.

A folder holds `server.key` and, for each client, `clients/NAME.key`; taking a client's file away locks that client out.
Keys are CurveZMQ's (RFC 26), in Z85.
"""

import grp
import os
import pwd
import re
import stat
import struct
import time
from collections.abc import Collection
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from reidd.errors import ConfigError
from reidd.key_files import check_only_ours, write_text

SERVER, CLIENTS, SUFFIX = "server.key", "clients", ".key"
_NAME = re.compile(r"[\w][\w.@-]{0,63}")
_T = TypeVar("_T", bound=msgspec.Struct)


class Role(str, Enum):
    """What a key may do."""

    QUERY = "query"
    """Ask who is on an image."""
    ENROL = "enrol"
    """Add, remove and label ids; `query` too."""
    ADMIN = "admin"
    """Everything but exact distances."""
    SUBSCRIBE = "subscribe"
    """Hear events."""
    SCORES = "scores"
    """See exact distances, which are biometric data: enough of them rebuild a stored feature."""

    def __str__(self) -> str:
        return self.value


class User(NamedTuple):
    """Whoever holds a key."""

    name: str
    roles: frozenset[Role]


class ServerKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The daemon's key pair."""

    public: str
    secret: str


class ClientKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the allow-list; the client's secret key is not in it."""

    name: str
    public: str
    roles: list[Role]


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client needs to come in: its own key pair and the server's public key."""

    server_public: str
    public: str
    secret: str


class Keyring(NamedTuple):
    """The keys of a folder as they were when it was read."""

    server: ServerKey
    users: dict[str, User]
    """By public key."""

    @classmethod
    def read(cls, folder: Path, *, empty: bool = False) -> "Keyring":
        """Read a folder of keys; `empty` says that it is fine when nobody is allowed in.

        Raises ConfigError when it would leave the door open: a key is missing, damaged, double, without a role or in a
        file others may read or change; or nobody is allowed in.
        """
        check_only_ours(folder, 0o022)
        check_only_ours(folder / CLIENTS, 0o022)
        server = _read(folder / SERVER, ServerKey, may_not=0o037, owner=_other_owner(folder))
        _check_pair(folder / SERVER, server.public, server.secret)
        users: dict[str, User] = {}
        for path in _client_files(folder):
            client = _read(path, ClientKey, may_not=0o022)
            _check_client(path, client, users, server)
            users[client.public] = User(client.name, frozenset(client.roles))
        if not users and not empty:
            raise ConfigError(f"{folder / CLIENTS}: nobody is allowed in; make a key with `reidd keys new NAME`")
        return cls(server, users)


def new(folder: Path, name: str, roles: Collection[Role]) -> Credentials:
    """Let a new key pair in, and return what its client needs; makes the folder and the server's key if need be."""
    import zmq

    if not _NAME.fullmatch(name):
        raise ConfigError(f"name is {name!r}; expected letters, digits, and . _ @ -, at most 64")
    if not roles:
        raise ConfigError(f"a key needs a role; there are {', '.join(Role)}")
    path = folder / CLIENTS / f"{name}{SUFFIX}"
    if path.exists():
        raise ConfigError(f"{path}: there is a key of that name; revoke it first")
    for home in (folder, path.parent):
        if not home.is_dir():
            if home.exists():
                raise ConfigError(f"{home}: is a file; expected a folder of keys: choose another with --folder")
            home.mkdir(parents=True)
            # The daemon's group reads it and nobody else does, whatever the umask is.
            home.chmod(0o750 | home.stat().st_mode & stat.S_ISGID)
    server = _server_key(folder)
    public, secret = (half.decode() for half in zmq.curve_keypair())
    write(path, ClientKey(name=name, public=public, roles=sorted(set(roles))), mode=0o640)
    return Credentials(server_public=server.public, public=public, secret=secret)


def listed(folder: Path) -> list[ClientKey]:
    """Everybody on the allow-list, by name."""
    return [_read(path, ClientKey, may_not=0) for path in _client_files(folder)]


def changed_within(folder: Path, seconds: float) -> bool:
    """Whether a key was made or revoked just now."""
    try:
        return abs(time.time() - (folder / CLIENTS).stat().st_mtime) < seconds
    except OSError:
        return False


def revoke(folder: Path, name: str) -> None:
    """Take a key off the allow-list: a running daemon stops answering it within a second, on open connections too."""
    path = folder / CLIENTS / f"{name}{SUFFIX}"
    if not _NAME.fullmatch(name) or not path.exists():
        names = ", ".join(key.name for key in listed(folder)) or "none"
        raise ConfigError(f"there is no key of the name {name!r}; there are: {names}")
    path.unlink()
    # Else a power cut within the next seconds could let it in again.
    home = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    os.fsync(home)
    os.close(home)


def credentials(path: Path) -> Credentials:
    """Read what `reidd keys new` gave a client."""
    found = _read(path, Credentials, may_not=0o077)
    _check_pair(path, found.public, found.secret)
    return found


def write(path: Path, key: msgspec.Struct, *, mode: int) -> None:
    """Write a key to a new file that only those named by `mode` may read."""
    write_text(path, msgspec.json.format(msgspec.json.encode(key)).decode(), mode)


def daemon_of(folder: Path) -> int | None:
    """Uid of the daemon that a folder of root's is for: where it hands its group on, the user's of that name."""
    status = folder.stat()
    # In a folder of somebody else's the server's key may be a link, and root would give away where it leads.
    if status.st_uid or not status.st_mode & stat.S_ISGID:
        return None
    try:
        return pwd.getpwnam(grp.getgrgid(status.st_gid).gr_name).pw_uid or None
    except KeyError:
        return None


def _client_files(folder: Path) -> list[Path]:
    # Not `glob`, to which a folder that may not be read is an empty one: "nobody is let in" must not be said of it.
    try:
        return sorted(path for path in (folder / CLIENTS).iterdir() if path.suffix == SUFFIX)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{folder / CLIENTS}: cannot be read: {error.strerror}") from None


def _server_key(folder: Path) -> ServerKey:
    import zmq

    path, daemon = folder / SERVER, daemon_of(folder)
    if not path.exists():
        public, secret = (half.decode() for half in zmq.curve_keypair())
        by_group = folder.stat().st_mode & stat.S_ISGID and (daemon is None or os.geteuid())
        write(path, ServerKey(public, secret), mode=0o640 if by_group else 0o600)
    if daemon is not None and os.geteuid() == 0:
        # Its group has local clients in it, none of which shall pass for it.
        os.chown(path, daemon, -1)
        path.chmod(0o600)
    return _read(path, ServerKey, may_not=0o037, owner=daemon)


def _other_owner(folder: Path) -> int | None:
    """Uid of the daemon, where the server's key is neither root's nor ours."""
    # Not asked otherwise: a running daemon reads its keys twice a second, and a directory service may be slow.
    with suppress(OSError):
        if (folder / SERVER).stat().st_uid not in (0, os.geteuid()):
            return daemon_of(folder)
    return None


def _read(path: Path, kind: type[_T], *, may_not: int, owner: int | None = None) -> _T:
    check_only_ours(path, may_not, owner=owner)
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is no {kind.__name__}: {error}") from None


def _check_pair(path: Path, public: str, secret: str) -> None:
    import zmq

    try:
        matches = zmq.curve_public(secret.encode()).decode() == public
    except (ValueError, zmq.ZMQError):
        matches = False
    if not matches:
        raise ConfigError(f"{path}: the two halves are no CURVE key pair; make a new one")


def _check_client(path: Path, client: ClientKey, users: dict[str, User], server: ServerKey) -> None:
    from zmq.utils import z85

    try:
        whole = len(client.public) == 40 and len(z85.decode(client.public)) == 32
    except (KeyError, ValueError, struct.error):
        whole = False
    if not whole:
        raise ConfigError(f"{path}: public is no CURVE key of 40 characters; make a new one")
    if client.public in users or client.public == server.public:
        raise ConfigError(f"{path}: another name has the same key, so neither could be revoked; make a new one")
    if not client.roles:
        raise ConfigError(f"{path}: has no role; there are {', '.join(Role)}")
    if client.name != path.name.removesuffix(SUFFIX):
        raise ConfigError(f"{path}: holds the name {client.name!r}; revoking would miss it")
