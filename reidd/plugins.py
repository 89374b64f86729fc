"""Finding backends: pluggy hooks, asked once; a broken plugin is reported and breaks nothing else."""

import logging
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from inspect import getattr_static
from typing import Any, NamedTuple

import pluggy

from reidd.backend import Backend
from reidd.engines import Accelerator, Engine
from reidd.errors import BackendUnavailableError
from reidd.model import ModelConfig

GROUP = "reidd"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

log = logging.getLogger(__name__)


@hookspec
def reidd_backends() -> Iterable[type[Backend]]:  # type: ignore[empty-body]
    """The backend classes that this plugin brings."""


@hookspec(firstresult=True)
def reidd_choose_backend(model: ModelConfig, candidates: Sequence[type[Backend]]) -> type[Backend] | None:
    """Choose among several backends of the pair that was asked for; None leaves it to the next plugin."""


class Problem(NamedTuple):
    """A plugin that could not be used, and why."""

    plugin: str
    reason: str


class InstalledPair(NamedTuple):
    """An engine and an accelerator, the backend that runs it, and what is in its way here, if anything."""

    engine: Engine
    accelerator: Accelerator
    backend: type[Backend]
    obstacle: str | None

    def __str__(self) -> str:
        return f"{self.engine}/{self.accelerator}"

    def load(self, model: ModelConfig, *, threads: int) -> Backend:
        """Load the model's network; a TypeError says what the plugin returned in place of a backend."""
        loaded: Any = self.backend.load(model, self.accelerator, threads=threads)
        if not isinstance(loaded, Backend):
            raise TypeError(f"{self.backend.__name__}.load returned {loaded!r}; expected a Backend")
        return loaded


class Registry:
    """All backends of the installed plugins."""

    def __init__(self, plugins: Iterable[EntryPoint] | None = None):
        self.problems: list[Problem] = []
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(sys.modules[__name__])
        for plugin in entry_points(group=GROUP) if plugins is None else plugins:
            self._register(plugin)
        self.backends = self._collect()

    def pairs(self, model: ModelConfig | None = None) -> list[InstalledPair]:
        """Every engine/accelerator pair that some plugin brings; with a model, whether it can run that one."""
        return [self._pair(backend, a, model) for backend in self.backends for a in backend.accelerators]

    def choose(self, model: ModelConfig, engine: Engine, accelerator: Accelerator) -> InstalledPair:
        """The backend for a pair; `DEFAULT` becomes the engine's first accelerator that is ready.

        Raises:
            BackendUnavailableError: nothing runs that pair here; says why, and which pairs are ready.
        """
        backends = [b for b in self.backends if b.engine is engine]
        wanted = [(b, a) for b in backends for a in b.accelerators if accelerator in (a, Accelerator.DEFAULT)]
        mine: list[InstalledPair] = []
        # Only these are asked: one that hangs or crashes over its own device must not cost a pair that works.
        for place in dict.fromkeys(a for _, a in wanted):
            asked = [self._pair(b, a, model) for b, a in wanted if a is place]
            if ready := [p for p in asked if p.obstacle is None]:
                return self._chosen(model, ready)
            mine += asked
        broken = "".join(f"; plugin {p.plugin!r} is broken: {p.reason}" for p in self.problems)
        reason = mine[0].obstacle if mine else f"no installed plugin brings {engine}/{accelerator}{broken}"
        able = ", ".join(str(p) for p in self.pairs(model) if p.obstacle is None) or "none"
        raise BackendUnavailableError(f"no backend runs {engine}/{accelerator} here: {reason}; ready: {able}")

    def _pair(self, backend: type[Backend], accelerator: Accelerator, model: ModelConfig | None) -> InstalledPair:
        return InstalledPair(backend.engine, accelerator, backend, self._obstacle(backend, accelerator, model))

    def _chosen(self, model: ModelConfig, ready: Sequence[InstalledPair]) -> InstalledPair:
        """Of several backends of one pair, the one that a plugin chooses, else the first."""
        try:
            chosen = self._manager.hook.reidd_choose_backend(model=model, candidates=[p.backend for p in ready])
        except (Exception, SystemExit):  # the net around one plugin
            log.exception("a plugin failed to choose among backends; the first one is taken")
            chosen = None
        return next((p for p in ready if p.backend is chosen), ready[0])

    def _register(self, plugin: EntryPoint) -> None:
        # For the operator whose log ends here.
        log.debug("plugin %r is imported", plugin.name)
        if self._manager.has_plugin(plugin.name):
            self._report(
                plugin.name, TypeError(f"another plugin has this name; rename the entry point of {plugin.value}")
            )
            return
        try:
            module = plugin.load()
            self._manager.register(module, name=plugin.name)
            self._check_names()
            if not self._manager.get_hookcallers(module):
                raise TypeError(
                    "brings no hook; expected a function reidd_backends marked with @reidd.plugins.hookimpl"
                )
        except (Exception, SystemExit) as error:  # the net around one plugin
            if self._manager.has_plugin(plugin.name):
                self._manager.unregister(name=plugin.name)
            self._report(plugin.name, error)

    def _check_names(self) -> None:
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            known = ", ".join(sorted(name for name, hook in vars(self._manager.hook).items() if hook.spec))
            raise TypeError(f"{str(error).partition(' in plugin')[0]}; there are: {known}") from error

    def _collect(self) -> list[type[Backend]]:
        found: list[type[Backend]] = []
        for hook in self._manager.hook.reidd_backends.get_hookimpls():
            try:
                backends: Any = hook.function()
                if backends is None or isinstance(backends, type):
                    what = "None" if backends is None else f"the class {backends.__name__} itself"
                    raise TypeError(f"reidd_backends returned {what}; expected a list of Backend classes")
                brought = [checked(b) for b in backends]
            except (Exception, SystemExit) as error:  # the net around one plugin
                self._report(hook.plugin_name, error)
                continue
            for backend in brought:
                self._report_rivals(hook.plugin_name, backend, found)
            found += brought
        return sorted(found, key=_order)

    def _report(self, plugin: str, error: BaseException) -> None:
        log.warning("plugin %r cannot be used: %s", plugin, error, exc_info=log.isEnabledFor(logging.DEBUG))
        self.problems.append(Problem(plugin, f"{type(error).__name__}: {error}"))

    def _report_rivals(self, plugin: str, backend: type[Backend], others: Sequence[type[Backend]]) -> None:
        """Two backends of one pair are no error, for a plugin may choose between them, but they may be a mistake."""
        for other in others:
            for accelerator in set(backend.accelerators) & set(other.accelerators):
                if backend.engine is other.engine:
                    first, second = sorted((backend, other), key=_order)
                    pair = f"{backend.engine}/{accelerator}"
                    reason = (
                        f"{pair} is brought twice: {_name(first)} runs it, {_name(second)} only if a plugin chooses it"
                    )
                    log.warning("plugin %r: %s", plugin, reason)
                    self.problems.append(Problem(plugin, reason))

    def _obstacle(self, backend: type[Backend], accelerator: Accelerator, model: ModelConfig | None) -> str | None:
        if model is not None and model.file(backend.formats) is None:
            return f"model {model.id} has no file in the format {' or '.join(sorted(backend.formats))}"
        try:
            return obstacle(backend, accelerator)
        except (Exception, SystemExit) as error:  # the net around one plugin
            return f"its plugin failed: {type(error).__name__}: {error}"


def obstacle(backend: type[Backend], accelerator: Accelerator) -> str | None:
    """What is in a backend's way here, as it says; a TypeError says when that is neither words nor None."""
    found: Any = backend.obstacle(accelerator)
    if found is not None and not (isinstance(found, str) and found):
        raise TypeError(f"obstacle() returned {found!r}; expected words, or None when there is none")
    return found


def checked(backend: type[Backend]) -> type[Backend]:
    """Return a backend class that says what it is; a TypeError says what is wrong with another, and what is right."""
    if not (isinstance(backend, type) and issubclass(backend, Backend)):
        raise TypeError(f"{backend!r} is not a subclass of reidd.backend.Backend")
    engine, accelerators = getattr(backend, "engine", None), getattr(backend, "accelerators", None)
    formats = getattr(backend, "formats", None)
    name = backend.__name__
    if not isinstance(engine, Engine):
        raise TypeError(f"{name}.engine is {engine!r}; expected a member of Engine, such as Engine.ONNX_RT")
    if not (isinstance(accelerators, tuple) and accelerators and all(isinstance(a, Accelerator) for a in accelerators)):
        raise TypeError(f"{name}.accelerators is {accelerators!r}; expected a tuple such as (Accelerator.CPU,)")
    if not (isinstance(formats, (set, frozenset)) and formats and all(isinstance(f, str) for f in formats)):
        raise TypeError(f'{name}.formats is {formats!r}; expected a set such as frozenset({{"onnx"}})')
    if missing := getattr(backend, "__abstractmethods__", None):
        raise TypeError(f"{name} does not define {', '.join(sorted(missing))}")
    for method in ("obstacle", "load"):
        if not isinstance(getattr_static(backend, method), (classmethod, staticmethod)):
            raise TypeError(
                f"{name}.{method} is asked of the class, before there is a backend; put @classmethod above it"
            )
    return backend


def _order(backend: type[Backend]) -> tuple[str, int, str]:
    """By engine, plainer accelerators first, then by name: not by the order in which packages were installed."""
    return backend.engine.value, list(Accelerator).index(backend.accelerators[0]), _name(backend)


def _name(backend: type[Backend]) -> str:
    return f"{backend.__module__}.{backend.__name__}"
