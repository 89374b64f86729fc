"""Write one small network in the kinds of TFLite files that backends meet, with golden vectors of the float one.

`python write.py` writes them beside this file; it takes the packages of the dependency group `training`. A change of
TensorFlow's version may change the bytes. Dense layers are left out: since TensorFlow 2.18 or so their dynamic-range
form is FULLY_CONNECTED of version 12, which tflite-runtime 2.14 does not know.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import flatbuffers
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

HERE = Path(__file__).parent
WIDTH, HEIGHT = 32, 64
REFUSED_FROM = 256.0
"""The ratio of input times weight to output scale from which XNNPACK takes no convolution."""


def network(batch: int | None) -> tf.keras.Model:
    """Three convolutions and an average: 128 values of a 32x64 image, the same weights every time."""
    tf.keras.utils.set_random_seed(4)
    layers = tf.keras.layers
    inputs = tf.keras.Input((HEIGHT, WIDTH, 3), batch_size=batch)
    x = layers.Conv2D(16, 4, 4, activation="relu")(inputs)
    x = layers.Conv2D(32, 3, 2, "same", activation="relu")(x)
    x = layers.Conv2D(16, 3, 1, "same")(x)
    return tf.keras.Model(inputs, layers.Reshape((128,))(layers.AveragePooling2D((2, 2))(x)))


def channels_first() -> tf.keras.Model:
    """The same network behind an input (n, 3, h, w), as PyTorch's converter writes it."""
    inputs = tf.keras.Input((3, HEIGHT, WIDTH), batch_size=1)
    return tf.keras.Model(inputs, network(1)(tf.keras.layers.Permute((2, 3, 1))(inputs)))


def converted(model: tf.keras.Model, adjust: Callable[[tf.lite.TFLiteConverter], None] = lambda _: None) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    adjust(converter)
    return bytes(converter.convert())


def dynamic_range(converter: tf.lite.TFLiteConverter) -> None:
    """Weights in int8, everything between the layers in float."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def half_weights(converter: tf.lite.TFLiteConverter) -> None:
    """Weights in float16, everything between the layers in float."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def full_int8(converter: tf.lite.TFLiteConverter) -> None:
    """Integers throughout: uint8 pixels in, int8 out."""

    def samples() -> Iterator[list[np.ndarray]]:
        for image in golden_crops():
            yield [image[None].astype(np.float32)]

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8


def refused_by_xnnpack(content: bytes) -> bytes:
    """The int8 file with one silent channel of huge weights' scale: XNNPACK refuses it, the plain kernels run it."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    graph = model.subgraphs[0]
    convolution = next(op for op in graph.operators if op.builtinOptionsType == schema.BuiltinOptions.Conv2DOptions)
    image, weights, bias = (graph.tensors[i] for i in convolution.inputs)
    output = graph.tensors[convolution.outputs[0]]
    scale = 2 * REFUSED_FROM * output.quantization.scale[0] / image.quantization.scale[0]
    for tensor, first in ((weights, scale), (bias, scale * image.quantization.scale[0])):
        tensor.quantization.scale = [first, *tensor.quantization.scale[1:]]
        values = model.buffers[tensor.buffer].data.copy()
        values[: len(values) // len(weights.quantization.scale)] = 0
        model.buffers[tensor.buffer].data = values
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def golden_crops() -> np.ndarray:
    """`(8, 64, 32, 3)` uint8: blocks of colour."""
    coarse = np.random.default_rng(9).integers(0, 256, (8, HEIGHT // 8, WIDTH // 8, 3), np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


if __name__ == "__main__":
    int8 = converted(network(1), full_int8)
    files = {
        "float": converted(network(1)),
        "batch_of_four": converted(network(4)),
        "any_batch": converted(network(None)),
        "channels_first": converted(channels_first()),
        "float16": converted(network(1), half_weights),
        "dynamic_range": converted(network(1), dynamic_range),
        "int8": int8,
        "refused_by_xnnpack": refused_by_xnnpack(int8),
    }
    for name, content in files.items():
        (HERE / f"{name}.tflite").write_bytes(content)
    crops = golden_crops()
    embeddings = network(None)(crops.astype(np.float32)).numpy()
    np.savez_compressed(HERE / "golden.npz", crops=crops, embeddings=embeddings)
