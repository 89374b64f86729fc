"""`reidd install-service`: from a package to a running service, and back."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reidd.cli.folder_option import folder_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reidd.cli.steps import Step

KEPT = (
    "kept: the gallery in /var/lib/reidd, configuration and keys in /etc/reidd, and the user reidd, whose they are; "
    "`rm -r /var/lib/reidd /etc/reidd && userdel reidd` erases them too"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("install-service")(install_service)


def install_service(
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Take it away again; the gallery stays.")] = False,
    wheel: Annotated[
        Path | None,
        folder_option(
            "A wheel of reidd, or a folder of wheels, from which all is taken and nothing is downloaded.", "--from"
        ),
    ] = None,
    coral_usb: Annotated[bool, typer.Option("--coral-usb", help="Let it reach a Coral on USB.")] = False,
    coral_pcie: Annotated[bool, typer.Option("--coral-pcie", help="Let it reach a Coral on PCIe or M.2.")] = False,
    jetson: Annotated[bool, typer.Option("--jetson", help="Let it reach a Jetson's GPU and DLA.")] = False,
    tcp: Annotated[bool, typer.Option("--tcp", help="Let it serve other machines, once keys are made.")] = False,
    encryption: Annotated[
        bool, typer.Option("--encryption", help="Encrypt the stored gallery, with a key that is made for it.")
    ] = False,
    extra: Annotated[
        str | None,
        typer.Option(help="The runtimes to install, such as standard, jetson or tflite-runtime; by default as here."),
    ] = None,
    python: Annotated[
        Path | None, typer.Option(help="The Python that the service runs on; by default this one.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Install reidd as a systemd service, as root. It goes into /opt/reidd; run it again to upgrade."""
    from reidd.cli import installation
    from reidd.cli.installation import DropIn

    _check_machine(dry_run=dry_run)
    if uninstall:
        _take(installation.uninstall(), dry_run=dry_run)
        typer.echo(KEPT)
        return
    asked = {
        DropIn.CORAL_USB: coral_usb, DropIn.CORAL_PCIE: coral_pcie, DropIn.JETSON: jetson, DropIn.TCP: tcp,
        DropIn.ENCRYPTION: encryption,
    }  # fmt: skip
    drop_ins = {drop_in for drop_in in DropIn if asked[drop_in]} | installation.present()
    if DropIn.ENCRYPTION in drop_ins and not dry_run:
        installation.check_systemd(subprocess.check_output(["systemctl", "--version"], text=True))  # noqa: S607
    # Run from /opt/reidd itself, there is nothing to fetch.
    there = wheel is None and Path(sys.prefix) == installation.ENVIRONMENT
    extras = ",".join(
        [
            extra or ("jetson" if DropIn.JETSON in drop_ins else installation.extra()),
            *(["encryption"] if DropIn.ENCRYPTION in drop_ins else []),
            *(["tcp"] if DropIn.TCP in drop_ins else []),
        ]
    )
    source = None if there else installation.source(wheel, extras)
    # The environment that is there has its interpreter, and nobody makes another.
    runs_on = installation.python(python) if source else Path(sys.executable)
    _take(installation.install(source, runs_on, drop_ins), dry_run=dry_run)
    typer.echo("who may ask the daemon belongs to the group reidd: usermod -aG reidd YOU, then log in again")


def _check_machine(*, dry_run: bool) -> None:
    from reidd.errors import ConfigError

    if dry_run:
        return
    if os.geteuid() != 0:
        raise ConfigError("only root installs a service; run this with sudo, or look with --dry-run")
    if not Path("/run/systemd/system").is_dir():
        raise ConfigError("systemd does not run this machine; have `reidd serve` run by whatever does")


def _take(steps: "Sequence[Step]", *, dry_run: bool) -> None:
    from reidd.errors import ConfigError

    for step in steps:
        typer.echo(str(step))
        if dry_run:
            continue
        try:
            step.do()
        except OSError as error:
            raise ConfigError(f"{step}: {error.strerror}: {error.filename}") from None
