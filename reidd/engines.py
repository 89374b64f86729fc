"""The names of what runs a network: engines (software) and accelerators (hardware)."""

from enum import Enum


class Engine(str, Enum):
    """The software that runs a network. A member without an installed backend is still a valid name."""

    DNN = "DNN"
    DNN_CUDA = "DNN_CUDA"
    DNN_OPENVINO = "DNN_OPENVINO"
    TENSOR_RT = "TENSOR_RT"
    HAILO_RT = "HAILO_RT"
    QAIC_RT = "QAIC_RT"
    ONNX_RT = "ONNX_RT"
    PYTORCH = "PYTORCH"
    TFLITE = "TFLITE"

    def __str__(self) -> str:
        return self.value


class Accelerator(str, Enum):
    """The hardware that a network runs on; `DEFAULT` is the engine's first."""

    DEFAULT = "DEFAULT"
    CPU = "CPU"
    GPU = "GPU"
    MYRIAD = "MYRIAD"
    NVIDIA = "NVIDIA"
    NVIDIA_FP16 = "NVIDIA_FP16"
    NVIDIA_DLA_0 = "NVIDIA_DLA_0"
    NVIDIA_DLA_1 = "NVIDIA_DLA_1"
    HAILO = "HAILO"
    QAIC = "QAIC"
    EDGE_TPU = "EDGE_TPU"

    def __str__(self) -> str:
        return self.value
