"""What `opencl.sh` runs in its chroot: an inference through OpenCL, and a device that OpenCV does not take."""

import sys

import cv2
import numpy as np

from reidd import Accelerator, Engine, places
from reidd.errors import BackendUnavailableError
from reidd.features import Extractor
from reidd.model import ModelConfig
from reidd.plugins import Registry


def features(accelerator: Accelerator) -> np.ndarray:
    images = [cv2.imread(str(path)) for path in sorted(places.sample_folder().glob("queries/*.jpg"))[:4]]
    with Extractor.load(ModelConfig.from_model_id("reidd/person"), Engine.DNN, accelerator, registry=Registry()) as net:
        return net.features(images)


def refused() -> None:
    """OpenCV's networks take GPUs only, unless told otherwise; then it warns and takes the CPU, and we refuse."""
    try:
        features(Accelerator.GPU)
    except BackendUnavailableError as error:
        assert "took the CPU in place of OpenCL" in str(error), error
        print(f"OpenCL: refused: {error}")
        return
    raise AssertionError("DNN/GPU ran on the CPU")


def runs() -> None:
    device = cv2.ocl.Device.getDefault()
    worst = (features(Accelerator.CPU) * features(Accelerator.GPU)).sum(axis=1).min()
    assert worst > 0.9999, worst
    print(f"OpenCL: OpenCV {cv2.__version__} on {device.name()}: worst cosine to the CPU {worst:.6f}")


if __name__ == "__main__":
    {"refused": refused, "runs": runs}[sys.argv[1]]()
