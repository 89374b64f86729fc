"""Commands about keys: who may come in over tcp, and what the stored gallery is encrypted with."""

from pathlib import Path
from typing import Annotated

import typer

from reidd.cli import show
from reidd.cli.daemon_options import ConfigFile
from reidd.cli.folder_option import folder_option
from reidd.keys import Role

Folder = Annotated[
    Path | None,
    folder_option(
        "The daemon's folder of keys; by default as its reidd.toml says, else the machine's or yours.", "--folder"
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="What the key is called: a machine, a program, a person.")]

commands = typer.Typer(
    help="Who may come in over tcp, and the key of the gallery.", no_args_is_help=True, rich_markup_mode=None
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="keys")


@commands.command()
def new(
    name: Name,
    role: Annotated[list[Role], typer.Option(help="What it may do; may be given several times.")] = [Role.QUERY],  # noqa: B006
    output: Annotated[Path | None, typer.Option(help="Where to write the client's file; by default NAME.key.")] = None,
    folder: Folder = None,
    config: ConfigFile = None,
) -> None:
    """Make a key, let it in, and write the file that its client needs."""
    from reidd import keys
    from reidd.errors import ConfigError

    path = output or Path(f"{name}.key")
    if path.exists():
        raise ConfigError(f"{path}: is there already; name another file with --output")
    home = _folder(folder, config)
    given = keys.new(home, name, role)
    try:
        keys.write(path, given, mode=0o600)
    except OSError as error:
        # Nobody has its secret half, so nobody is to be let in with it.
        keys.revoke(home, name)
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; name another place with --output") from None
    typer.echo(f"{path}: take it to the client, over a channel you trust; it is in nobody else's hands")
    # Of another user's daemon it is another folder.
    typer.echo(f"let in by a daemon whose folder of keys is {home}")


@commands.command("list")
def list_(json: show.Json = False, folder: Folder = None, config: ConfigFile = None) -> None:
    """Show who is let in."""
    from reidd import keys

    home = _folder(folder, config)
    listed = keys.listed(home)
    if json:
        show.as_json([{"name": key.name, "roles": key.roles, "public": key.public} for key in listed])
        return
    if not listed:
        typer.echo(f"{home} lets nobody in over tcp; `reidd keys new NAME` makes a key")
        return
    show.table(("name", "roles", "public key"), [(key.name, ", ".join(key.roles), key.public) for key in listed])


@commands.command()
def revoke(name: Name, folder: Folder = None, config: ConfigFile = None) -> None:
    """Let a key in no more. Within a second, on connections that are open too."""
    from reidd import keys

    keys.revoke(_folder(folder, config), name)
    typer.echo(f"{name} is let in no more")


@commands.command()
def gallery(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write, such as gallery.key.")],
) -> None:
    """Make a key that the stored gallery is encrypted with."""
    from reidd.gallery import key

    key.new(path)
    typer.echo(f"{path}: keep a copy elsewhere, and not with the gallery: without the key nobody reads it any more")


def _folder(given: Path | None, config: Path | None) -> Path:
    from reidd import places
    from reidd.daemon.config import read

    return given or read(config, places.configuration_files()).keys
