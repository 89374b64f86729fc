"""What can go wrong, by whose fault it is, each with a stable code for programs and a sentence for people."""

import builtins


class ReiddError(Exception):
    """Anything reidd raises on purpose."""

    code: str = "internal-error"

    def __str__(self) -> str:
        # KeyError, which some of these also are, would show the repr of its text.
        return str(self.args[0]) if self.args else self.code


class RequestError(ReiddError):
    """The caller asked for something that cannot be."""

    code = "bad-request"


class UnknownOpError(RequestError):
    """The request names no operation of this daemon."""

    code = "unknown-op"


class UnknownVersionError(RequestError):
    """The request is written in a version of the protocol that this daemon does not speak."""

    code = "unknown-version"


class ForbiddenError(RequestError, PermissionError):
    """The caller's key does not allow that."""

    code = "forbidden"


class ImageError(RequestError, ValueError):
    """That is no image reidd can use."""

    code = "bad-image"


class FeatureError(RequestError, ValueError):
    """That is no feature of this gallery's kind: wrong length, not finite, or zero."""

    code = "bad-feature"


class IdError(RequestError, ValueError):
    """An id is an integer in [0, 2^63 - 1]."""

    code = "bad-id"


class UnknownIdError(RequestError, KeyError):
    """The gallery holds no instance of that id."""

    code = "unknown-id"


class NotLoadedError(RequestError, RuntimeError):
    """The call needs the network, and no engine was loaded."""

    code = "not-loaded"


class PublishError(RequestError):
    """The record cannot be published as it is."""

    code = "cannot-publish"


class BusyError(RequestError):
    """The daemon has more requests waiting than it takes; try again after `retry_after_s`."""

    code = "busy"

    def __init__(self, text: str, retry_after_s: float | None = None):
        super().__init__(text)
        self.retry_after_s = retry_after_s


class DeadlineError(RequestError, TimeoutError):
    """The answer was not there in time."""

    code = "deadline-passed"


class BackendError(ReiddError):
    """The machine, a model or a plugin failed."""

    code = "backend-failed"


class BackendUnavailableError(BackendError):
    """No backend runs that engine/accelerator pair here."""

    code = "backend-unavailable"


class GalleryError(ReiddError):
    """The gallery or its durable copy cannot do that."""

    code = "gallery-error"


class FeatureSpaceError(GalleryError):
    """The gallery belongs to another feature space: another network or preprocessing."""

    code = "other-feature-space"


class GalleryKeyError(GalleryError):
    """The stored gallery is encrypted, and the key is missing or another one."""

    code = "wrong-gallery-key"


class CapacityError(GalleryError):
    """More instances are stored than the configured capacity has room for."""

    code = "gallery-too-small"


class StorageUnavailableError(GalleryError):
    """The change could not be written to disk, so it was not made."""

    code = "storage-unavailable"


class ConfigError(ReiddError, ValueError):
    """The operator's configuration, or a model folder, is not right."""

    code = "bad-configuration"


class UnknownModelError(ConfigError):
    """No model folder of that id on the search path."""

    code = "unknown-model"


class ConnectionError(ReiddError, builtins.ConnectionError):
    """No daemon answers."""

    code = "no-daemon"


def shown(value: object) -> str:
    """A value in a message; of a long one only what it is, for whoever mixes up arguments hands in a whole image."""
    text = repr(value)
    return text if len(text) <= 80 and "\n" not in text else f"a long {type(value).__name__}"


def located(error: Exception) -> tuple[str, str]:
    """What msgspec says is wrong, and the key at which it is, such as "size[0]"; "" for the whole document."""
    what, _, where = str(error).partition(" - at `$")
    return what, where.strip("`").lstrip(".")


def codes() -> dict[str, type[ReiddError]]:
    """Every error by its code: how a client turns a reply back into an exception."""
    found: dict[str, type[ReiddError]] = {}
    waiting: list[type[ReiddError]] = [ReiddError]
    while waiting:
        kind = waiting.pop()
        # An application's own subclass inherits a code, and is not what a daemon raised.
        found.setdefault(kind.code, kind)
        waiting.extend(kind.__subclasses__())
    return found
