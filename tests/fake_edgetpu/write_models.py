"""Write the two networks of the stand-in for an Edge TPU: each averages 8x8 blocks of a 32x64 image into 96 values.

`pool_edgetpu.tflite` is shaped like the output of the Edge TPU's compiler, one custom op with quantised input and
output; `pool.tflite` computes the same on the CPU in float. `python write_models.py` writes both beside this file.
"""

from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

WIDTH, HEIGHT, SIDE = 32, 64, 8
DIM = (HEIGHT // SIDE) * (WIDTH // SIDE) * 3
BUILTIN = schema.BuiltinOperator


def tensor(name: str, shape: list[int], kind: int, scale: float | None = None) -> schema.TensorT:
    made = schema.TensorT()
    made.name, made.shape, made.type, made.buffer = name, shape, kind, 0
    if scale is not None:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [scale], [0]
    return made


def operator(code: int, inputs: list[int], outputs: list[int]) -> schema.OperatorT:
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = code, inputs, outputs
    return made


def code(builtin: int, custom: str | None = None) -> schema.OperatorCodeT:
    made = schema.OperatorCodeT()
    made.builtinCode = made.deprecatedBuiltinCode = builtin
    made.customCode, made.version = custom, 1
    return made


def network(codes: list, tensors: list, operators: list) -> bytes:
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, operators, [0], [len(tensors) - 1]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, codes, [graph]
    model.buffers = [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def edge_tpu(float_output: bool = False) -> bytes:
    image = tensor("image", [1, HEIGHT, WIDTH, 3], schema.TensorType.UINT8, 1.0)
    kind = schema.TensorType.FLOAT32 if float_output else schema.TensorType.UINT8
    feature = tensor("feature", [1, DIM], kind, None if float_output else 1.0)
    op = operator(0, [0], [1])
    op.customOptions = list(b"fake")
    return network([code(BUILTIN.CUSTOM, "edgetpu-custom-op")], [image, feature], [op])


def cpu() -> bytes:
    image = tensor("image", [1, HEIGHT, WIDTH, 3], schema.TensorType.FLOAT32)
    blocks = tensor("blocks", [1, HEIGHT // SIDE, WIDTH // SIDE, 3], schema.TensorType.FLOAT32)
    feature = tensor("feature", [1, DIM], schema.TensorType.FLOAT32)
    pool, reshape = operator(0, [0], [1]), operator(1, [1], [2])
    pool.builtinOptionsType, pool.builtinOptions = schema.BuiltinOptions.Pool2DOptions, schema.Pool2DOptionsT()
    pool.builtinOptions.padding = schema.Padding.VALID
    pool.builtinOptions.strideW = pool.builtinOptions.strideH = SIDE
    pool.builtinOptions.filterWidth = pool.builtinOptions.filterHeight = SIDE
    reshape.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    reshape.builtinOptions = schema.ReshapeOptionsT()
    reshape.builtinOptions.newShape = [1, DIM]
    codes = [code(BUILTIN.AVERAGE_POOL_2D), code(BUILTIN.RESHAPE)]
    return network(codes, [image, blocks, feature], [pool, reshape])


if __name__ == "__main__":
    folder = Path(__file__).parent
    (folder / "pool_edgetpu.tflite").write_bytes(edge_tpu())
    (folder / "pool_edgetpu_float.tflite").write_bytes(edge_tpu(float_output=True))
    (folder / "pool.tflite").write_bytes(cpu())
