"""Commands that run a daemon and watch it."""

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reidd.cli import show
from reidd.cli.daemon_options import ConfigFile, Endpoint, Timeout, client
from reidd.cli.folder_option import folder_option
from reidd.cli.gallery import WithForgotten

if TYPE_CHECKING:
    from reidd.daemon.config import Config
    from reidd.model import ModelConfig


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (serve, status, watch, restore):
        app.command()(command)


def serve(
    config: ConfigFile = None,
    model: Annotated[str | None, typer.Option(help="The model folder's <publisher>/<name>.")] = None,
    runtime_folder: Annotated[Path | None, folder_option("Where sockets and ring go.")] = None,
    state_folder: Annotated[Path | None, folder_option("Where the durable gallery goes.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Worker processes.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Run the daemon, until Ctrl-C or SIGTERM."""
    from reidd import places
    from reidd.daemon.allowance import Allowance
    from reidd.daemon.config import read
    from reidd.daemon.ladder import Rung
    from reidd.daemon.lifecycle import Settings
    from reidd.daemon.lifecycle import serve as run
    from reidd.daemon.sockets import Addresses

    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format="%(levelname)s: %(message)s")
    chosen = read(config, places.configuration_files())
    used = _model(model or chosen.model, chosen)
    run(
        Settings(
            model=used,
            runtime=runtime_folder or chosen.runtime,
            state=state_folder or chosen.state,
            rungs=[Rung((pair.engine, pair.accelerator), optional=pair.optional) for pair in chosen.engines],
            workers=workers or chosen.workers,
            threads=chosen.threads,
            capacity=chosen.capacity,
            max_distance=used.extras.max_distance if chosen.max_distance is None else 2 * chosen.max_distance,
            hang_s=chosen.hang_s,
            max_pause_s=chosen.max_pause_s,
            audit_days=chosen.audit_days,
            tcp=Addresses(chosen.tcp, chosen.tcp_analytics) if chosen.tcp else None,
            keys=chosen.keys,
            allowance=Allowance(chosen.tcp_rate, chosen.tcp_burst),
            gallery_key=_path(chosen.gallery_key) or places.credential("gallery-key"),
            old_gallery_key=_path(chosen.old_gallery_key) or places.credential("old-gallery-key"),
        )
    )


def restore(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What `reidd save` wrote.")],
    with_forgotten: WithForgotten = False,
    config: ConfigFile = None,
    model: Annotated[str | None, typer.Option(help="The model folder's <publisher>/<name>.")] = None,
    state_folder: Annotated[Path | None, folder_option("Where the durable gallery is.")] = None,
) -> None:
    """Put back a saved gallery in place of the present one. The daemon must be stopped."""
    from reidd import places
    from reidd.daemon import folders
    from reidd.daemon.config import read
    from reidd.errors import FeatureSpaceError
    from reidd.gallery import Act, Gallery, archive, key, without_forgotten

    chosen = read(config, places.configuration_files())
    saved = archive.load(path)
    if saved.space != _model(model or chosen.model, chosen).feature_space():
        raise FeatureSpaceError(f"{path} holds features of another network or preprocessing; enrol from images again")
    state = state_folder or chosen.state
    os.umask(0o027)
    folders.claim(state, "--state-folder")
    dim = saved.rows.features.shape[1]
    key_files = (
        _path(chosen.gallery_key) or places.credential("gallery-key"),
        _path(chosen.old_gallery_key) or places.credential("old-gallery-key"),
    )
    secret, old_secret = (key.read(file) if file else None for file in key_files)
    with Gallery.open(
        dim=dim,
        space=saved.space,
        capacity=chosen.capacity,
        store_path=state / places.STORE,
        key=secret,
        old_key=old_secret,
    ) as gallery:
        if not with_forgotten:
            saved, left_out = without_forgotten(saved, gallery.origin, gallery.forgotten())
            show.left_out(left_out)
        with gallery.transaction():
            change = gallery.restore(saved.rows, saved.labels, saved.retention)
            who = f"uid {os.getuid()}"
            gallery.note([Act(who=who, what="restore", added=len(change.added), removed=change.removed)])
    show.console().print(f"{len(change.added)} instances put back, in place of {change.removed}")


def status(json: show.Json = False, endpoint: Endpoint = None, timeout: Timeout = 5.0) -> None:
    """Say how the daemon is."""
    import msgspec
    from rich.text import Text

    with client(endpoint, timeout) as daemon:
        answer = msgspec.to_builtins(daemon.status())
    for key in ("v", "request", "reply"):
        answer.pop(key, None)
    if json:
        show.as_json(answer)
        return
    answer["uptime"] = f"{answer['uptime']:.0f} s"
    answer["limit"] = "{0[0]} per id, {0[1]}".format(answer["limit"]) if answer["limit"] else "none"
    answer["space"] = answer["space"][:16] + "…"
    answer["ttl_s"] = "for ever" if answer["ttl_s"] is None else f"{answer['ttl_s']:g} s of serving"
    answer["pairs"] = Text("\n".join(_pair_line(pair) for pair in answer["pairs"]))
    answer |= {key: "yes" if answer[key] else "no" for key in ("degraded", "encrypted")}
    answer["damage"] = Text("\n".join(answer["damage"]) or "none")
    answer["storage_failure"] = Text(answer["storage_failure"] or "none")
    show.table(("", "daemon"), [(key.replace("_", " "), value) for key, value in answer.items() if value is not None])


def watch(
    types: Annotated[
        list[str] | None, typer.Argument(metavar="TYPE", help='Only events of these types, such as "identified".')
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")] = False,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    endpoint: Endpoint = None,
    timeout: Timeout = 5.0,
) -> None:
    """Show events as they happen, until Ctrl-C."""
    import msgspec

    from reidd.errors import RequestError
    from reidd.protocol import EVENT_TYPES

    sent = [name for name in EVENT_TYPES if name != "redacted"]
    for wrong in set(types or ()) - set(sent):
        raise RequestError(f"no events of type {wrong!r} are sent; expected {', '.join(sent)}")
    with client(endpoint, timeout) as daemon:
        for number, event in enumerate(daemon.watch(*(types or ())), 1):
            if json:
                typer.echo(msgspec.json.encode(event).decode())
            else:
                typer.echo(_event_line(event))
            if number == count:
                return


def _model(model_id: str, chosen: "Config") -> "ModelConfig":
    from reidd import places
    from reidd.model import ModelConfig

    return ModelConfig.from_model_id(model_id, places.model_folders(_path(chosen.models)))


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _pair_line(pair: dict[str, Any]) -> str:
    state = f"{pair['workers']} workers" if pair["workers"] else pair["reason"] or "in reserve"
    return f"{pair['engine']}/{pair['accelerator']}: {state}"


def _event_line(event: dict[str, Any]) -> str:
    when = time.strftime("%H:%M:%S", time.localtime(event["time"]))
    rest = {
        k: v
        for k, v in event.items()
        if k not in {"type", "seq", "epoch", "time", "model", "results"} and v is not None
    }
    named = [
        f"{p['id']}{' (' + p['label'] + ')' if p.get('label') else ''} at {p['distance']:.3f}"
        f"{', ' + r['verdict'] if r.get('verdict') else ''}"
        for r in event.get("results", ())
        for p in r["predictions"][:1]
    ]
    details = [*named, *(f"{key}={value}" for key, value in rest.items())]
    return show.printable(f"{when} {event['seq']:>6} {event['type']:<11} {'; '.join(details)}")
