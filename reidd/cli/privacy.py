"""Commands about what is kept of people: erase an id for good, and see who did what."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reidd.cli import show
from reidd.cli.daemon_options import Endpoint, Timeout, client
from reidd.cli.folder_option import folder_option
from reidd.cli.id_argument import Id, IdCommand

if TYPE_CHECKING:
    from reidd.gallery import Head


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (forget, audit):
        app.command(cls=IdCommand)(command)


def forget(id: Id, endpoint: Endpoint = None, timeout: Timeout = 5.0) -> None:
    """Erase an id for good, and print a receipt. No `undo` and no old backup brings it back."""
    import msgspec

    with client(endpoint, timeout) as daemon:
        receipt = msgspec.to_builtins(daemon.forget(id))
    for key in ("v", "request", "reply"):
        receipt.pop(key)
    show.as_json({"forgotten": receipt.pop("id"), "count": len(receipt["instances"]), **receipt})


def audit(
    verify: Annotated[
        bool, typer.Option("--verify", help="Follow the chain of hashes instead of printing it.")
    ] = False,
    holds: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="Verify, and say whether the entry that a receipt names is in it."),
    ] = None,
    state_folder: Annotated[
        Path | None, folder_option("Read the store of a stopped daemon, in this folder, in place of asking one.")
    ] = None,
    endpoint: Endpoint = None,
    timeout: Timeout = 5.0,
) -> None:
    """Print the audit log, one JSON object a line. It says who changed the gallery, or took features out of it."""
    from reidd.errors import GalleryError
    from reidd.gallery import Check, Head

    # Asked for none, as by a script that lost it, the answer is no.
    verify = verify or holds is not None
    check, head = Check(), Head()
    for page in _pages(state_folder, endpoint, timeout):
        head = page[1]
        for line in page[0]:
            check.take(line)
            if not verify:
                typer.echo(line)
    if not verify:
        return
    if (flaw := check.end(head)) is not None:
        raise GalleryError(f"the audit log was changed: {flaw}")
    if holds is not None and holds not in check.hashes:
        raise GalleryError(f"the audit log holds no entry with the hash {holds!r}: it is another one, or begins later")
    typer.echo(f"whole: {check.entries} entries, the latest is number {head.seq}")


def _pages(folder: Path | None, endpoint: str | None, timeout: float) -> "Iterator[tuple[Sequence[str], Head]]":
    from reidd import places
    from reidd.gallery import Head, audit_pages

    if folder is not None:
        yield from audit_pages.pages(folder / places.STORE)
        return
    with client(endpoint, timeout) as daemon:
        for page in daemon.audit_pages():
            yield page.lines, Head(page.sequence, page.hash)
