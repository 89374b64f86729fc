"""The options that name a daemon or its configuration, and the client they give."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reidd.client import Client

Endpoint = Annotated[
    str | None,
    typer.Option(envvar="REIDD_ENDPOINT", help="The daemon's address; by default this user's, else the machine's."),
]
ConfigFile = Annotated[
    Path | None,
    # Read by us: what typer finds unreadable would be status 2, and systemd would start it again and again.
    typer.Option(
        "--config", readable=False, envvar="REIDD_CONFIG", help="A reidd.toml; by default the machine's or yours."
    ),
]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")]


def client(endpoint: str | None, timeout: float) -> "Client":
    """Connect to a daemon, with the key that `REIDD_KEY` names; say at once when nobody listens, for a person waits."""
    from reidd import places
    from reidd.channel import KEY, obstacle
    from reidd.client import Client
    from reidd.errors import ConnectionError

    endpoint = endpoint or places.default_endpoint()
    if reason := obstacle(endpoint):
        raise ConnectionError(f"no daemon at {endpoint}: {reason}")
    return Client(endpoint, timeout=timeout, key=os.environ.get(KEY))
