"""Makes the models of the agent's tests: `pip install onnx numpy`, then run this in its folder.

Weights are small whole numbers, so that every output is exact and can be written down in a test.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = [helper.make_opsetid("", 13)]


def save(name, nodes, inputs, outputs, initializers=(), **options):
    graph = helper.make_graph(nodes, name, inputs, outputs, list(initializers))
    model = helper.make_model(graph, opset_imports=OPSET, ir_version=8)
    onnx.save(model, f"{name}.onnx", **options)


def value(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


# output = input · W + B, with a named batch axis: [1, 2, 3, 4] gives [35, 35, 45].
weights = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3) % 5 + 1, "W")
bias = numpy_helper.from_array(np.array([0, 10, 20], dtype=np.float32), "B")
linear = [helper.make_node("Gemm", ["input", "W", "B"], ["output"], name="gemm")]
save("linear", linear, [value("input", ["batch", 4])], [value("output", ["batch", 3])], [weights, bias])

# The same with its weights in a file beside it.
save(
    "external",
    linear,
    [value("input", ["batch", 4])],
    [value("output", ["batch", 3])],
    [weights, bias],
    save_as_external_data=True,
    location="external.data",
    size_threshold=0,
)

# An operator that no engine knows.
fancy = [helper.make_node("Fancy", ["input"], ["output"], name="fancy")]
save("unknown_operator", fancy, [value("input", [1, 4])], [value("output", [1, 4])])

# Not a number for any negative input.
root = [helper.make_node("Log", ["input"], ["output"], name="log")]
save("logarithm", root, [value("input", [1, 4])], [value("output", [1, 4])])

# Text, which no tensor of ours holds.
words = [helper.make_tensor_value_info(name, TensorProto.STRING, [1]) for name in ("input", "output")]
save("text", [helper.make_node("Identity", ["input"], ["output"], name="copy")], words[:1], words[1:])

# output = 2 · input, of two and of three axes of any size: what a dataset's example holds is half of what is answered.
two = numpy_helper.from_array(np.array([2], dtype=np.float32), "two")
for axes in (["rows", "columns"], ["planes", "rows", "columns"]):
    twice = helper.make_node("Mul", ["input", "two"], ["output"], name="mul")
    save(f"double{len(axes)}", [twice], [value("input", axes)], [value("output", axes)], [two])

# Versions of the format and of the operators that no engine of today knows.
for name, operators, version in [("newer_format", 13, 99), ("newer_operators", 99, 8)]:
    graph = helper.make_graph(linear, name, [value("input", ["batch", 4])], [value("output", ["batch", 3])], [weights, bias])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", operators)], ir_version=version)
    onnx.save(model, f"{name}.onnx")

# Half a gigabyte between its input and its output: 2^25 copies of each number, of which the largest is kept.
copies = numpy_helper.from_array(np.array([1 << 25, 4], dtype=np.int64), "copies")
greedy = [
    helper.make_node("Expand", ["input", "copies"], ["much"], name="expand"),
    helper.make_node("ReduceMax", ["much"], ["output"], name="max", axes=[0], keepdims=1),
]
save("hungry", greedy, [value("input", [1, 4])], [value("output", [1, 4])], [copies])

# The same as linear, with its weights in four bits: ONNX Runtime knows that type, and the engine that is built in does
# not.
nibbles = helper.make_tensor("W4", TensorProto.INT4, [4, 3], (np.arange(12) % 5 + 1).astype(np.int8))
one = numpy_helper.from_array(np.array(1, dtype=np.float32), "one")
unpacked = [
    helper.make_node("DequantizeLinear", ["W4", "one"], ["W"], name="unpack"),
    helper.make_node("Gemm", ["input", "W", "B"], ["output"], name="gemm"),
]
graph = helper.make_graph(
    unpacked, "four_bits", [value("input", ["batch", 4])], [value("output", ["batch", 3])], [nibbles, one, bias]
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
onnx.checker.check_model(model, full_check=True)
onnx.save(model, "four_bits.onnx")
