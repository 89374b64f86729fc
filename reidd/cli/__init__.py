"""The command line: every error is one line and an exit status, never a traceback."""

import errno
import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from reidd import __version__, errors
from reidd.cli import (
    bench,
    calibrate,
    demo,
    doctor,
    gallery,
    install_service,
    keys,
    machine,
    mending,
    models,
    privacy,
    service,
)

EXIT_STATUS: dict[type[errors.ReiddError], int] = {
    # sysexits.h: systemd is told not to restart on 78, and scripts can tell these apart.
    errors.ConfigError: 78,
    # The store is another model's, takes another key, or is too large: that is for the operator to mend, too.
    errors.FeatureSpaceError: 78,
    errors.GalleryKeyError: 78,
    errors.CapacityError: 78,
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


for commands in (
    service,
    gallery,
    calibrate,
    mending,
    privacy,
    machine,
    models,
    demo,
    doctor,
    keys,
    bench,
    install_service,
):
    commands.register(app)


def main() -> None:
    """Run the command line."""
    _have_streams()
    # Else the processes that it starts import what lies in this folder, be it a download. Python 3.10 heeds it not.
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        app()
    except errors.ReiddError as error:
        sys.stderr.write(f"reidd: {error}\n")
        sys.exit(next(status for kind, status in EXIT_STATUS.items() if isinstance(error, kind)))
    except OSError as error:
        # A file or folder that is not there or may not be touched, or a full disk; any other is a fault of ours, to be
        # seen whole.
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        sys.stderr.write(f"reidd: {error.filename or 'what was to be written'}: {error.strerror}\n")
        if error.filename is None:
            # Else Python tries again at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(EX_IOERR)


def _have_streams() -> None:
    """Open those that whoever started us has closed; what an encoding has no letter for is shown by its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Its number too is taken: a runtime that writes there would write into the next file that is opened.
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
