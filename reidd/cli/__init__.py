"""The command line: every error is one line and an exit status, never a traceback."""

import sys
from typing import Annotated

import typer

from reidd import __version__, errors
from reidd.cli import bench, demo, doctor, gallery, install_service, keys, machine, mending, models, privacy, service

EXIT_STATUS: dict[type[errors.ReiddError], int] = {
    # sysexits.h: systemd is told not to restart on 78, and scripts can tell these apart.
    errors.ConfigError: 78,
    # The store is another model's, or takes another key: that is for the operator to mend, too.
    errors.FeatureSpaceError: 78,
    errors.GalleryKeyError: 78,
    errors.ConnectionError: 69,
    errors.RequestError: 65,
    errors.ReiddError: 70,
}
EX_IOERR = 74

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would double the time it takes
)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"reidd {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Say the version and end.")
    ] = False,
) -> None:
    """Who is this? Re-identification of people, faces, vehicles and other objects, on the device."""


for commands in (service, gallery, mending, privacy, machine, models, demo, doctor, keys, bench, install_service):
    commands.register(app)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except errors.ReiddError as error:
        sys.stderr.write(f"reidd: {error}\n")
        sys.exit(next(status for kind, status in EXIT_STATUS.items() if isinstance(error, kind)))
    except BrokenPipeError:
        # The reader of our output went away, as `head` does.
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        # A file or folder that is not there or may not be touched; any other is a fault of ours, to be seen whole.
        if error.filename is None:
            raise
        sys.stderr.write(f"reidd: {error.filename}: {error.strerror}\n")
        sys.exit(EX_IOERR)


if __name__ == "__main__":
    main()
