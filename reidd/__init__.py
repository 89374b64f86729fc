"""reidd answers one question on the device, who is this, by ranking a gallery of features."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Imported on first use, so that `reidd --help` and the core need not wait for what they do not touch.
_HOMES = {
    "Accelerator": "engines",
    "Backend": "backend",
    "BackendError": "errors",
    "BackendUnavailableError": "errors",
    "BusyError": "errors",
    "Client": "client",
    "ConfigError": "errors",
    "ConnectionError": "errors",
    "DeadlineError": "errors",
    "Engine": "engines",
    "FeatureError": "errors",
    "FeatureSpaceError": "errors",
    "ForbiddenError": "errors",
    "GalleryError": "errors",
    "GalleryKeyError": "errors",
    "IdError": "errors",
    "ImageError": "errors",
    "ModelConfig": "model",
    "NotLoadedError": "errors",
    "PublishError": "errors",
    "ReIdentification": "reidentification",
    "ReIdentificationPrediction": "results",
    "ReIdentificationResults": "results",
    "ReiddError": "errors",
    "RequestError": "errors",
    "StorageUnavailableError": "errors",
    "UnknownIdError": "errors",
    "UnknownModelError": "errors",
    "UnknownOpError": "errors",
    "UnknownVersionError": "errors",
    "Verdict": "results",
    "hookimpl": "plugins",
}

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604  (these are strings)

if TYPE_CHECKING:
    from reidd.backend import Backend as Backend
    from reidd.client import Client as Client
    from reidd.engines import Accelerator as Accelerator
    from reidd.engines import Engine as Engine
    from reidd.errors import BackendError as BackendError
    from reidd.errors import BackendUnavailableError as BackendUnavailableError
    from reidd.errors import BusyError as BusyError
    from reidd.errors import ConfigError as ConfigError
    from reidd.errors import ConnectionError as ConnectionError
    from reidd.errors import DeadlineError as DeadlineError
    from reidd.errors import FeatureError as FeatureError
    from reidd.errors import FeatureSpaceError as FeatureSpaceError
    from reidd.errors import ForbiddenError as ForbiddenError
    from reidd.errors import GalleryError as GalleryError
    from reidd.errors import GalleryKeyError as GalleryKeyError
    from reidd.errors import IdError as IdError
    from reidd.errors import ImageError as ImageError
    from reidd.errors import NotLoadedError as NotLoadedError
    from reidd.errors import PublishError as PublishError
    from reidd.errors import ReiddError as ReiddError
    from reidd.errors import RequestError as RequestError
    from reidd.errors import StorageUnavailableError as StorageUnavailableError
    from reidd.errors import UnknownIdError as UnknownIdError
    from reidd.errors import UnknownModelError as UnknownModelError
    from reidd.errors import UnknownOpError as UnknownOpError
    from reidd.errors import UnknownVersionError as UnknownVersionError
    from reidd.model import ModelConfig as ModelConfig
    from reidd.plugins import hookimpl as hookimpl
    from reidd.reidentification import ReIdentification as ReIdentification
    from reidd.results import ReIdentificationPrediction as ReIdentificationPrediction
    from reidd.results import ReIdentificationResults as ReIdentificationResults
    from reidd.results import Verdict as Verdict


if not TYPE_CHECKING:  # where any name would pass for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'reidd' has no attribute {name!r}")
        return getattr(import_module(f"reidd.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
