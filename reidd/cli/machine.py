"""Commands that say what this machine can run."""

from typing import TYPE_CHECKING, Annotated

import typer

from reidd.cli import show

if TYPE_CHECKING:
    from reidd.model import ModelConfig
    from reidd.plugins import InstalledPair


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(backends)


def backends(
    json: show.Json = False,
    check: Annotated[bool, typer.Option("--check", help="Load a model on each ready pair, each in a process.")] = False,
    model: Annotated[str, typer.Option(help="The model that --check loads.")] = "reidd/person",
) -> None:
    """List engine/accelerator pairs: ready here, or why not."""
    from importlib.metadata import entry_points

    from reidd.cli.fatal_plugins import fatal_plugins
    from reidd.engines import Engine
    from reidd.model import ModelConfig
    from reidd.plugins import GROUP, Registry

    fatal = fatal_plugins()
    left_out = {problem.plugin for problem in fatal}
    registry = Registry(plugin for plugin in entry_points(group=GROUP) if plugin.name not in left_out)
    config = ModelConfig.from_model_id(model) if check else None
    pairs = registry.pairs(config)
    rows = [(p.engine.value, p.accelerator.value, p.backend.__module__, _state(p, config)) for p in pairs]
    brought = {p.engine for p in pairs}
    rows += [(e.value, "", "", "no installed plugin brings it") for e in Engine if e not in brought]
    rows += [("", "", problem.plugin, f"problem: {problem.reason}") for problem in (*registry.problems, *fatal)]
    columns = ("engine", "accelerator", "plugin", "state")
    if json:
        show.as_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        show.table(columns, rows)


def _state(pair: "InstalledPair", model: "ModelConfig | None") -> str:
    """What is in a pair's way, as far as it says, or with a model as far as a trial shows."""
    from reidd import trials
    from reidd.errors import BackendError

    file = None if model is None else model.file(pair.backend.formats)
    if pair.obstacle is not None or model is None or file is None:
        return pair.obstacle or "ready"
    try:
        found = trials.examine(model, file, pair.engine, pair.accelerator)
    except BackendError as error:
        return f"fails: {error}"
    return f"works, {found.ms:.1f} ms an image" + (found.remark and f"; {found.remark}")
