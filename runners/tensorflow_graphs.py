#!/usr/bin/env python3
"""TensorFlow on the CPU: frozen graphs (`.pb`) and SavedModels (`saved_model.pb` with the files of its `variables`)."""

import os
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
import numpy as np
import tensorflow as tf
from seatrial_runner import Loaded, Runner, RunnerError, Value, serve, tensor

KINDS = {tf.float32: "f32", tf.float64: "f64", tf.float16: "f16", tf.int8: "i8", tf.uint8: "u8", tf.int16: "i16",
         tf.uint16: "u16", tf.int32: "i32", tf.uint32: "u32", tf.int64: "i64", tf.uint64: "u64", tf.bool: "bool"}  # fmt: skip
TYPES = {name: kind for kind, name in KINDS.items()}


class TensorFlow(Runner):
    runtime, version, formats = "tensorflow", tf.__version__, ["frozen_graph", "saved_model"]
    build = getattr(tf.version, "COMPILER_VERSION", "")

    def load(self, request):
        if request.accelerator != "cpu":
            raise RunnerError("no_device", f"this runner computes on the CPU, not on {request.accelerator}")
        if request.precision not in ("", "fp32"):
            raise RunnerError("no_device", f"this runner computes as the model says, not in {request.precision}")
        try:
            tf.config.threading.set_intra_op_parallelism_threads(request.threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError as error:
            # Set once in the life of a process; a second model gets the same.
            if tf.config.threading.get_intra_op_parallelism_threads() != request.threads:
                raise RunnerError("internal", str(error)) from error
        if request.format == "frozen_graph":
            self.owner, self.function, inputs, outputs = frozen(request.file("model"))
        else:
            self.owner, self.function, inputs, outputs = saved(request)
        self.inputs = [described(name, spec) for name, spec in inputs]
        self.names = [name for name, _ in outputs]
        # Each operator computes in the types that the graph gives it.
        return Loaded(inputs=self.inputs, outputs=[described(name, spec) for name, spec in outputs],
                      precision="as in the model",
                      threads=tf.config.threading.get_intra_op_parallelism_threads())  # fmt: skip

    def set_inputs(self, inputs):
        self.given = {}
        for one in self.inputs:
            value = inputs[one.name]
            if value.kind != one.kind:
                raise RunnerError("bad_input", f"input {one.name!r} is {value.kind} and should be {one.kind}")
            array = np.frombuffer(value.content, TYPES[value.kind].as_numpy_dtype).reshape(value.shape)
            self.given[one.name] = tf.constant(array)

    def infer(self):
        # Asking for the values waits for them.
        self.values = [value.numpy() for value in self.function(self.given)]

    def outputs(self):
        return [Value(name, KINDS[tf.as_dtype(value.dtype)], list(value.shape), np.ascontiguousarray(value).tobytes())
                for name, value in zip(self.names, self.values)]  # fmt: skip

    def unload(self):
        self.owner = self.function = self.given = self.values = None


def plain(name):
    return name.split(":")[0]


def described(name, spec):
    if spec.dtype not in KINDS:
        raise RunnerError("unsupported_op", f"{name!r} is {spec.dtype.name}, which is not read")
    axes = [] if spec.shape.rank is None else [-1 if axis is None else axis for axis in spec.shape.as_list()]
    return tensor(name, KINDS[spec.dtype], axes)


def refusing(read, what):
    """What goes wrong while a file is read, told by its kind."""
    try:
        return read()
    except tf.errors.NotFoundError as error:
        raise RunnerError("unsupported_op", f"{what}: {error}") from error
    except MemoryError:
        raise
    except Exception as error:
        kind = "unsupported_op" if "Op type not registered" in str(error) else "bad_input"
        raise RunnerError(kind, f"{what}: {type(error).__name__}: {error}") from error


def frozen(path):
    graph = tf.compat.v1.GraphDef()
    with open(path, "rb") as file:
        content = file.read()
    refusing(lambda: graph.ParseFromString(content), "the file is no frozen graph")
    consumed = {plain(name).lstrip("^") for node in graph.node for name in node.input}
    inputs = [node.name + ":0" for node in graph.node if node.op == "Placeholder"]
    outputs = [node.name + ":0" for node in graph.node
               if node.name not in consumed and node.op not in ("Const", "NoOp", "Placeholder")]  # fmt: skip
    if not outputs:
        raise RunnerError("bad_input", "the graph has no node that nobody consumes, and so no output")
    wrapped = refusing(
        lambda: tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), []),
        "the graph cannot be imported",
    )
    function = wrapped.prune(inputs, outputs)
    names = [plain(name) for name in inputs]

    def run(given):
        result = function(*(given[name] for name in names))
        return result if isinstance(result, (list, tuple)) else [result]

    specs = list(zip(names, function.inputs))
    return wrapped, run, specs, [(plain(name), one) for name, one in zip(outputs, function.outputs)]


def saved(request):
    # A variant's files lie beside each other; the framework wants a folder.
    folder = os.path.join(request.cache_folder, "saved_model")
    os.makedirs(os.path.join(folder, "variables"), exist_ok=True)
    for _, path in request.files:
        shutil.copy(path, folder_of(folder, os.path.basename(path)))
    model = refusing(lambda: tf.saved_model.load(folder), "the SavedModel cannot be read")
    function = model.signatures.get("serving_default")
    if function is None:
        raise RunnerError("bad_input", f"there is no signature serving_default (there are {sorted(model.signatures)})")
    inputs = sorted(function.structured_input_signature[1].items())
    outputs = sorted(function.structured_outputs.items())

    def run(given):
        result = function(**given)
        return [result[name] for name, _ in outputs]

    return model, run, inputs, outputs


def folder_of(folder, name):
    return os.path.join(folder, "variables") if name.startswith("variables.") else folder


if __name__ == "__main__":
    serve(TensorFlow())
