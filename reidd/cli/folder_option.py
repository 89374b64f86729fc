"""Folders on the command line: an empty name, as of a variable that is not set, is not the present folder."""

from pathlib import Path
from typing import Any

import typer


def _folder(name: str) -> Path:
    """Read the name of a folder."""
    if not name:
        raise typer.BadParameter("the name is empty; expected a folder, such as . for the present one")
    return Path(name)


def folder_option(help: str, *names: str) -> Any:
    """An option that names a folder."""
    return typer.Option(*names, parser=_folder, help=help)
