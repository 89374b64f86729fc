"""A checkpoint becomes files: ONNX from torch, TFLite from the same network built again in Keras.

The Keras network gets the folded weights by copying, so no converter guesses layouts; `agreement` measures that
the files still say what the checkpoint says.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from training.description import describe
from training.golden import golden_crops
from training.network import StripeNet, tensor_of

if TYPE_CHECKING:
    import keras

ONNX_NAME, FLOAT_NAME, INT8_NAME, GOLDEN_NAME = "person.onnx", "person_fp32.tflite", "person_int8.tflite", "golden.npz"
_OPSET = 13  # what OpenCV 4 and 5, and older runtimes, all read


def export(network: StripeNet, int8_network: StripeNet, folder: Path, *, calibration: np.ndarray) -> None:
    """Write a model folder: ONNX, TFLite float32, TFLite full int8, golden vectors and their description.

    Both networks are folded; one file is made of `int8_network`, whose weights may have been tuned for it.
    `calibration` holds real crops (n, height, width, 3) uint8 RGB of the size that the files take; the int8 ranges are
    taken from them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    height, width = calibration.shape[1:3]
    write_onnx(network, folder / ONNX_NAME, height=height, width=width)
    (folder / FLOAT_NAME).write_bytes(float_tflite(keras_network(network, height=height, width=width)))
    (folder / INT8_NAME).write_bytes(int8_tflite(keras_network(int8_network, height=height, width=width), calibration))
    crops = golden_crops(height, width)
    np.savez_compressed(folder / GOLDEN_NAME, crops=crops, embeddings=answers(network, crops))
    files = {ONNX_NAME: "float32", FLOAT_NAME: "float32", INT8_NAME: "int8"}
    describe(folder, files, height=height, width=width, dim=network.plan.dim, golden=GOLDEN_NAME)


def answers(network: StripeNet, images: np.ndarray) -> np.ndarray:
    """Run the network on (n, h, w, 3) uint8 RGB images: (n, dim) float32, not normalised."""
    with torch.inference_mode():
        return network(tensor_of(images)).numpy()


def write_onnx(network: StripeNet, path: Path, *, height: int, width: int) -> None:
    """Raw RGB (batch, 3, h, w) in, features (batch, dim) out."""
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, height, width),),
        str(path),
        opset_version=_OPSET,
        dynamo=False,
        input_names=["input"],
        output_names=["embedding"],
        dynamic_axes={"input": {0: "batch"}, "embedding": {0: "batch"}},
    )


def float_tflite(model: "keras.Model") -> bytes:
    """Convert to float32."""
    import tensorflow as tf

    return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def int8_tflite(model: "keras.Model", calibration: np.ndarray) -> bytes:
    """Convert to full int8 that takes uint8 pixels as they are."""
    import tensorflow as tf

    def samples() -> Iterator[list[np.ndarray]]:
        ramp = np.linspace(0, 255, calibration[0].size, dtype=np.float32)
        yield [ramp.reshape(1, *calibration.shape[1:])]  # pins the input range to 0-255
        for image in calibration:
            yield [image[None].astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    return bytes(converter.convert())


def keras_network(network: StripeNet, *, height: int, width: int) -> "keras.Model":
    """Build the folded network in Keras, channels last, batch of one."""
    import tensorflow as tf

    layers = tf.keras.layers
    inputs = x = tf.keras.Input((height, width, 3), batch_size=1, name="input")
    x = _convolve(_convolve(x, network.stem[0], relu=True), network.stem2[0], relu=True)
    for block in network.blocks:
        y = _convolve(_convolve(x, block.reduce[0], relu=True), block.spatial[0], relu=True)
        y = _convolve(y, block.expand[0], relu=False)
        x = layers.AveragePooling2D(2)(x) if block.pool is not None else x
        x = _convolve(x, block.shortcut[0], relu=False) if block.shortcut is not None else x
        x = layers.ReLU()(layers.Add()([x, y]))
    x = _convolve(x, network.head[0], relu=True)
    stripes, channels = network.plan.stripes, x.shape[3]
    # an int8 average pool keeps the scale of its input, which the small averages hardly fill; a convolution has its own
    stripe = (x.shape[1] // stripes, x.shape[2])
    average = layers.DepthwiseConv2D(stripe, stripe, use_bias=False)
    x = average(x)
    average.set_weights([np.full((*stripe, channels, 1), 1 / (stripe[0] * stripe[1]))])
    dense = layers.Dense(network.plan.dim, name="embedding")
    outputs = dense(layers.Reshape((stripes * channels,))(x))
    # torch flattens channel by channel, Keras stripe by stripe
    kernel = network.embed.weight.detach().numpy().reshape(-1, channels, stripes)
    kernel = kernel.transpose(2, 1, 0).reshape(stripes * channels, -1)
    dense.set_weights([kernel, network.embed.bias.detach().numpy()])
    return tf.keras.Model(inputs, outputs)


def _convolve(x: Any, convolution: torch.nn.Conv2d, *, relu: bool) -> Any:
    import tensorflow as tf

    layer = tf.keras.layers.Conv2D(
        convolution.out_channels,
        convolution.kernel_size,
        convolution.stride,
        "same",
        activation="relu" if relu else None,
    )
    x = layer(x)
    kernel = convolution.weight.detach().numpy().transpose(2, 3, 1, 0)
    layer.set_weights([kernel, convolution.bias.detach().numpy()])
    return x
