"""Google's Coral Edge TPU as a backend: libedgetpu as a delegate of TensorFlow Lite, tried in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from reidd_tflite import NO_RUNTIME, TFLite, has_runtime, interpreter, runtime

from reidd.backend import Backend
from reidd.confinement import end_with, signal_name
from reidd.engines import Accelerator
from reidd.model import ModelConfig
from reidd.plugins import hookimpl

LIBRARY = "REIDD_EDGETPU_LIBRARY"
"""Environment variable: the path of libedgetpu, when it is not the installed libedgetpu.so.1."""
DEVICE = "REIDD_EDGETPU_DEVICE"
"""Environment variable: which device of several, as libedgetpu names them: `usb`, `pci`, `:0`, `usb:1`."""
ROOT = "REIDD_EDGETPU_ROOT"
"""Environment variable: the folder that holds `sys` and `dev`; another one than / stands in for hardware in tests."""
PROBE_S = "REIDD_EDGETPU_PROBE_S"
"""Environment variable: seconds that the device may take for its first inference, 15 unless set."""

USB_IDS = {("1a6e", "089a"), ("18d1", "9302")}
"""Of a stick before its first use, when it has no firmware yet, and after it, when it has come back as another."""
CUSTOM_OP = b"edgetpu-custom-op"
UDEV_RULE = 'SUBSYSTEM=="usb", ATTRS{idVendor}=="1a6e|18d1", GROUP="plugdev", MODE="0660"'


class Device(NamedTuple):
    """One Edge TPU: "usb" or "pci", and the node through which it is reached."""

    bus: str
    node: Path


class EdgeTPU(TFLite):
    """Files compiled by `edgetpu_compiler`, one image at a time; what the compiler left over runs on the CPU."""

    accelerators: ClassVar[tuple[Accelerator, ...]] = (Accelerator.EDGE_TPU,)
    formats: ClassVar[frozenset[str]] = frozenset({"edgetpu"})

    @classmethod
    def obstacle(cls, accelerator: Accelerator) -> str | None:
        """A missing runtime, library or device, or a device that this user may not open."""
        del accelerator
        if not has_runtime():
            return NO_RUNTIME
        if not is_installed(library()):
            return f"{library()} is not installed; see https://coral.ai/software for the vendor's apt repository"
        return device_obstacle(list(devices()), os.environ.get(DEVICE, ""))

    @classmethod
    def load(cls, model: ModelConfig, accelerator: Accelerator, *, threads: int) -> "EdgeTPU":
        """Try the file on the device in a throw-away process, then load it here.

        Raises:
            RuntimeError: the device or its library failed; says how, and what to do.
        """
        del accelerator
        file = model.file(cls.formats)
        if file is None:
            raise ValueError(
                f"{model.id} has no file compiled for the Edge TPU; run `edgetpu_compiler` on its int8 file"
            )
        content = model.read(file)
        if CUSTOM_OP not in content:
            raise ValueError(f"{file.file} is not compiled for the Edge TPU; run `edgetpu_compiler` on it")
        try_apart(content)
        return cls(with_delegate(content, threads))

    @property
    def remark(self) -> str:
        """How many ops the compiler left over for the CPU: many make it slow."""
        names = [op["op_name"] for op in self._interpreter._get_ops_details()]
        left = sum(name not in ("DELEGATE", CUSTOM_OP.decode()) for name in names)
        return f"the CPU runs {left} ops that the compiler left over" if left else "all of it on the Edge TPU"


def library() -> str:
    """The library that drives the device."""
    return os.environ.get(LIBRARY, "libedgetpu.so.1")


def is_installed(name: str) -> bool:
    """Whether the loader is likely to find a library; loads nothing, for a mismatched one would end the process."""
    if "/" in name:
        return Path(name).is_file()
    folders = [Path(f) for f in os.environ.get("LD_LIBRARY_PATH", "").split(":") if f]
    folders += [Path(f) for f in ("/lib", "/usr/lib", "/usr/local/lib")]
    return any((folder / name).exists() or any(folder.glob(f"*-linux-gnu*/{name}")) for folder in folders)


def devices() -> Iterator[Device]:
    """Every Edge TPU that the kernel knows, on USB and on PCIe."""
    root = Path(os.environ.get(ROOT, "/"))
    for entry in sorted((root / "sys/bus/usb/devices").glob("*/idVendor")):
        folder = entry.parent
        if (_read(entry), _read(folder / "idProduct")) in USB_IDS:
            bus, number = _read(folder / "busnum"), _read(folder / "devnum")
            yield Device("usb", root / f"dev/bus/usb/{bus:>03}/{number:>03}")
    for node in sorted((root / "dev").glob("apex_*")):
        yield Device("pci", node)


def device_obstacle(found: list[Device], wanted: str) -> str | None:
    """Why the device that is wanted (`usb`, `pci`, `:0`, `usb:1` or anything, "") cannot be used, or None."""
    bus, _, place = wanted.partition(":")
    of_bus = [device for device in found if bus in ("", device.bus)]
    if place and not place.isdigit():
        return f"{DEVICE} is {wanted!r}; expected usb, pci, :0, usb:1 or the like"
    if len(of_bus) <= int(place or 0):
        there = ", ".join(f"{d.bus}:{i}" for i, d in enumerate(found)) or "none"
        return f"no Edge TPU {wanted or 'on USB or PCIe'}: plug it in, or look at `lsusb`; there is: {there}"
    chosen = of_bus[int(place or 0)]
    if not os.access(chosen.node, os.R_OK | os.W_OK):
        return f"no permission to use {chosen.node}: {_permission_advice(chosen)}"
    return None


def with_delegate(content: bytes, threads: int) -> Any:
    """Build an interpreter that hands the compiled op to the Edge TPU.

    Raises:
        RuntimeError: says which of the ways to fail it was.
    """
    wanted = os.environ.get(DEVICE)
    try:
        delegate = runtime().load_delegate(library(), {"device": wanted} if wanted else {})
    except OSError as error:
        raise RuntimeError(f"{library()} cannot be loaded: {error}; install the vendor's libedgetpu1-std") from error
    except AttributeError as error:
        raise RuntimeError(f"{library()} is no TFLite delegate: {error}; install libedgetpu1-std") from error
    except ValueError as error:
        raise RuntimeError("the Edge TPU did not open: unplugged, or in use by another process") from error
    try:
        return interpreter(content, num_threads=threads, experimental_delegates=[delegate])
    except RuntimeError as error:
        raise RuntimeError(f"the Edge TPU does not take this file: {error}; compile it again, or update") from error


def try_apart(content: bytes) -> None:
    """Run the file once in a throw-away process: a mismatched libedgetpu, or a failing bus, ends the process it is in.

    Raises:
        RuntimeError: it did not work; says how it failed.
    """
    limit_s = float(os.environ.get(PROBE_S, "15"))
    try:
        probe = subprocess.run(  # noqa: S603  (our own interpreter and module)
            [sys.executable, "-m", __name__, str(os.getpid())],
            input=content,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        reason = f"the Edge TPU hangs: no answer within {limit_s:g} s; unplug it and plug it in again"
        raise RuntimeError(reason) from None
    if probe.returncode < 0:
        name = signal_name(-probe.returncode)
        advice = "its version may not fit the TFLite runtime's, or the USB connection failed"
        raise RuntimeError(f"{library()} crashed ({name}): {advice}; try another port, cable or version")
    if probe.returncode:
        said = probe.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise RuntimeError(said[-1])


def main() -> None:
    """Load the file on standard input and run it once: what `try_apart` starts, and what ends with it."""
    end_with(int(sys.argv[1]))
    try:
        EdgeTPU(with_delegate(sys.stdin.buffer.read(), threads=1)).run_once()
    except RuntimeError as error:
        sys.exit(str(error))


def _permission_advice(device: Device) -> str:
    if device.bus == "usb":
        return f"write the udev rule {UDEV_RULE} and join the group plugdev"
    return 'write the udev rule SUBSYSTEM=="apex", GROUP="apex", MODE="0660" and join the group apex'


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""  # unplugged between two looks


@hookimpl
def reidd_backends() -> Iterable[type[Backend]]:
    """The one backend of this plugin."""
    return [EdgeTPU]


if __name__ == "__main__":
    main()
